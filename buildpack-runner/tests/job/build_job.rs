//! `build` and `start` as the platform's binary has them, small enough to be built with the tests of this crate.

use std::io::{self, Write};
use std::process::ExitCode;

use buildpack_runner::{Options, Target, launch, run};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let role = args.next().unwrap_or_default();
    match role.as_str() {
        "build" => {
            let mut options = Options::of_job();
            if let Some(seconds) = std::env::var("TEST_SECONDS_MAX").ok().and_then(|text| text.parse().ok()) {
                options.time_max = std::time::Duration::from_secs(seconds);
            }
            if let Some(bytes) = std::env::var("TEST_SLUG_BYTES_MAX").ok().and_then(|text| text.parse().ok()) {
                options.slug_bytes_max = bytes;
            }
            match run(&options, &mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr().lock()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(code) => ExitCode::from(code.exit_code()),
            }
        }
        "start" => {
            let mut words: Vec<String> = args.collect();
            let target = if words.first().is_some_and(|word| word == "--") {
                Target::Command(words.split_off(1))
            } else {
                Target::Type(words.join(" "))
            };
            let error = launch(&target);
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(127)
        }
        _ => ExitCode::from(2),
    }
}
