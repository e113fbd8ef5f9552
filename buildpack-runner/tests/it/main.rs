#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "what a build tells is what a failed test is about")]

/// The maker of layers is a part of the host agent. Parts do not import one another, yet only real layers prove a
/// build, so this test binary compiles that one module itself.
#[path = "../../../containerd-lite/src"]
#[expect(unreachable_pub, unused_imports, reason = "it is a library elsewhere")]
mod agent {
    pub mod stack;
}
mod fuzz;
mod job;
mod refusals;
mod root;
mod stack;
