//! Where the time of a build went: steps that follow one another without gaps, so that they add up.

use std::time::Duration;

use stdx::Instant;
use types::stack::BuildPhase;

/// The steps so far.
#[derive(Clone, Debug)]
pub struct Phases {
    started: Instant,
    entered: Instant,
    name: String,
    cache: Option<String>,
    done: Vec<BuildPhase>,
}

/// Steps that are kept apart; a buildpack that prints more arrows has the rest counted as one.
const PHASES_MAX: usize = 40;

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Phases {
    /// Begin with the first step.
    #[must_use]
    pub fn begin(now: Instant, name: &str) -> Phases {
        Phases { started: now, entered: now, name: name.to_owned(), cache: None, done: Vec::new() }
    }

    /// End the step and begin the next.
    pub fn enter(&mut self, now: Instant, name: &str) {
        if self.done.len() + 1 >= PHASES_MAX {
            "more".clone_into(&mut self.name);
            return;
        }
        self.close(now);
        name.clone_into(&mut self.name);
    }

    /// The cache helped this step, or did not.
    pub fn cache(&mut self, said: &str) {
        self.cache = Some(said.to_owned());
    }

    /// The step that is going on.
    #[must_use]
    pub fn current(&self) -> &str {
        &self.name
    }

    /// End the last step; gives the steps and the whole time, which is their sum.
    #[must_use]
    pub fn end(mut self, now: Instant) -> (Vec<BuildPhase>, u64) {
        self.close(now);
        let total = self.done.iter().map(|phase| phase.millis).sum();
        (self.done, total)
    }

    fn close(&mut self, now: Instant) {
        // Both ends are rounded the same way from the same start, so that the sum is the whole.
        let end = millis(now.since(self.started));
        let begin = millis(self.entered.since(self.started));
        let name = std::mem::take(&mut self.name);
        self.done.push(BuildPhase { name, millis: end - begin, cache: self.cache.take() });
        self.entered = now;
    }
}

/// `850 ms`, `3.2 s` or `2 min 05 s`.
#[must_use]
pub fn duration(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => format!("{} min {:02} s", millis / 60_000, millis % 60_000 / 1_000),
    }
}

/// `12 B`, `3.4 KB`, `34.1 MB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{} KB", bytes / 1_000, bytes % 1_000 / 100),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

/// The lines of a summary.
#[must_use]
pub fn summary(phases: &[BuildPhase], total_millis: u64) -> Vec<String> {
    let wide = phases.iter().map(|phase| phase.name.chars().count()).max().unwrap_or(0).max(5);
    let row = |name: &str, millis: u64, cache: Option<&str>| {
        let cache = cache.map(|said| format!("   cache {said}")).unwrap_or_default();
        format!("{name:<wide$} {:>12}{cache}", duration(millis)).trim_end().to_owned()
    };
    let mut lines: Vec<String> =
        phases.iter().map(|phase| row(&phase.name, phase.millis, phase.cache.as_deref())).collect();
    lines.push(row("total", total_millis, None));
    lines
}
