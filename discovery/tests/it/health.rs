//! Scripts of a job's health.
//!
//! `job interval=100 timeout=50 threshold=3 start=1000 [well]` begins; `pass` and `fail WHY` answer the probe under
//! way, `stale` answers the one before it; `wait MS` lets time pass, deadline by deadline.

use std::fmt::Write as _;
use std::time::Duration;

use discovery::core::health::{Effect, Event, HealthMachine};
use stdx::{Instant, Machine};
use types::job::{CheckKind, HealthCheck};

#[test]
fn health_follows_its_scripts() {
    testkit::script::run_sessions("tests/scripts", |_| {
        let mut session = Session { now: Instant::START, machine: None, probe: 0 };
        move |commands: &str| session.run(commands)
    });
}

struct Session {
    now: Instant,
    machine: Option<HealthMachine>,
    probe: u64,
}

impl Session {
    fn run(&mut self, commands: &str) -> String {
        let mut trace = String::new();
        for line in commands.lines().filter(|line| !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "job" => self.begin(rest),
                "pass" => self.handle(Event::Passed { number: self.probe }, &mut trace),
                "fail" => self.handle(Event::Failed { number: self.probe, reason: rest.into() }, &mut trace),
                "stale" => self.handle(Event::Passed { number: self.probe - 1 }, &mut trace),
                "wait" => self.wait(rest.parse().unwrap(), &mut trace),
                other => panic!("no command {other:?}"),
            }
        }
        trace.trim_end().to_owned()
    }

    fn begin(&mut self, words: &str) {
        let number = |key: &str| {
            let found = words.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            found.unwrap().parse::<u64>().unwrap()
        };
        let check = HealthCheck {
            kind: CheckKind::Tcp,
            interval_ms: number("interval"),
            timeout_ms: number("timeout"),
            threshold: number("threshold").try_into().unwrap(),
            start_timeout_ms: number("start"),
        };
        let make = if words.ends_with("well") { HealthMachine::known_well } else { HealthMachine::new };
        self.machine = Some(make(self.now, &check));
    }

    fn handle(&mut self, event: Event, trace: &mut String) {
        let mut effects = Vec::new();
        self.machine.as_mut().unwrap().handle(self.now, event, &mut effects);
        for effect in effects {
            let text = match effect {
                Effect::Probe { number, .. } => {
                    self.probe = number;
                    format!("probe {number}")
                }
                Effect::Healthy => "healthy".into(),
                Effect::Unhealthy { reason } => format!("unhealthy: {reason}"),
                Effect::StartFailed { reason } => format!("start failed: {reason}"),
            };
            writeln!(trace, "{} {text}", self.now).unwrap();
        }
    }

    fn wait(&mut self, millis: u64, trace: &mut String) {
        let end = self.now.after(Duration::from_millis(millis));
        while let Some(next) = self.machine.as_ref().unwrap().deadline().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            let before = self.machine.clone();
            self.handle(Event::Tick, trace);
            assert_ne!(before, self.machine, "a tick at the deadline must move it");
        }
        self.now = end;
    }
}
