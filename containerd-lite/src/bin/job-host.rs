//! The smallest binary that a host agent can work with: the init stage of jobs and their shims. The tests of this crate
//! run with it, because a test harness has threads before its first test.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::init_stage();
    os::log::init(log::LevelFilter::Info);
    let mut args = std::env::args_os().skip(1);
    match (args.next(), args.next()) {
        (Some(role), Some(dir)) if role == "shim" => containerd_lite::shim::main(&PathBuf::from(dir)),
        _ => ExitCode::FAILURE,
    }
}
