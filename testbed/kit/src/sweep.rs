//! One closure, many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many seeds a sweep tries when `SIM_SEEDS` does not say.
const SEEDS: u64 = 256;

/// What one seeded run came to.
pub trait Verdict {
    /// `None` if all went well, else what went wrong.
    fn failure(self) -> Option<String>;
}

impl Verdict for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: std::fmt::Display> Verdict for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|e| e.to_string())
    }
}

/// Run `property` for many seeds. It fails by panicking or by an `Err`; either way the line that replays
/// the failing seed is printed. `name` is the name of the test function.
///
/// # Panics
/// On the first seed that fails.
pub fn sweep<V: Verdict>(name: &str, mut property: impl FnMut(u64) -> V) {
    let (first, count) = match number("SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (0, seed_count()),
    };
    for seed in first..first + count {
        match catch_unwind(AssertUnwindSafe(|| property(seed).failure())) {
            Ok(None) => {}
            Ok(Some(failure)) => panic!("{}\n{failure}", replay(name, seed)),
            Err(panic) => {
                say(&replay(name, seed));
                resume_unwind(panic);
            }
        }
    }
}

/// The first of at most `seeds` seeds for which `property` gives an `Err`: the proof that a sweep finds
/// a bug that was put in on purpose. Return `Err`, do not panic. How far it looks does not depend on the
/// environment: a bug that needs more seeds than a short sweep has must still be found.
pub fn find(seeds: u64, mut property: impl FnMut(u64) -> Result<(), String>) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| property(seed).err().map(|why| (seed, why)))
}

/// `SIM_STEPS`, or `default`: how long one run is.
#[must_use]
pub fn steps(default: u64) -> u64 {
    number("SIM_STEPS").unwrap_or(default)
}

/// `SIM_SEEDS`, or the default of a sweep.
#[must_use]
pub fn seed_count() -> u64 {
    number("SIM_SEEDS").unwrap_or(SEEDS)
}

fn replay(name: &str, seed: u64) -> String {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_else(|_| "<crate>".into());
    let length = number("SIM_STEPS").map(|n| format!(" SIM_STEPS={n}")).unwrap_or_default();
    format!("seed {seed:#x} failed; replay with: SIM_SEED={seed:#x}{length} cargo test -p {package} {name}")
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Some(parsed.unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

fn say(line: &str) {
    #[expect(clippy::print_stderr, reason = "the replay line is what a failed sweep is for")]
    {
        eprintln!("{line}");
    }
}
