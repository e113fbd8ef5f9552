//! The init stage and nothing else: the smallest binary that [`runtime::StageBinary::Path`] can name. The tests of
//! this crate run with it, because a test harness has threads before its first test.

fn main() -> std::process::ExitCode {
    runtime::init_stage();
    std::process::ExitCode::FAILURE
}
