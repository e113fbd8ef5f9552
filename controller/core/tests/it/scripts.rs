//! `tests/scripts/*.txt`: one deployment per file, told as commands and the effects they give.
//!
//! `begin STRATEGY OLD -> NEW [batch=N] [timeout=S]`, `up`, `gone`, `settle`, `crash N`, `unhealthy`,
//! `blocked on|off`, `after S`, `abort WHO`, `die` (another controller goes on), `run` (settle to the end).

use std::time::Duration;

use controller_core::deployment::{Deployer, Effect, Event, Order};
use stdx::{Instant, Machine};
use types::app::Strategy;
use types::job::DownReason;

use crate::cell::{Cell, State, Which, counts, show};

#[test]
fn scripts_every_strategy_and_failure() {
    testkit::script::run_sessions("tests/scripts", |_| {
        let mut session = Session::default();
        move |commands: &str| session.run(commands)
    });
}

#[derive(Default)]
struct Session {
    cell: Cell,
    order: Option<Order>,
    deployer: Option<Deployer>,
    back: Option<String>,
    now: Instant,
    out: String,
}

fn strategy(word: &str) -> Strategy {
    match word {
        "all-at-once" => Strategy::AllAtOnce,
        "one-by-one" => Strategy::OneByOne,
        "one-down-one-up" => Strategy::OneDownOneUp,
        "in-batches" => Strategy::InBatches,
        other => panic!("no strategy {other}"),
    }
}

impl Session {
    fn run(&mut self, commands: &str) -> String {
        self.out.clear();
        for line in commands.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            self.command(&words);
        }
        std::mem::take(&mut self.out)
    }

    fn command(&mut self, words: &[&str]) {
        match words {
            ["begin", name, old, "->", new, options @ ..] => self.begin(name, old, new, options),
            ["up"] => {
                self.cell.jobs.iter_mut().filter(|j| j.state == State::Starting).for_each(|j| j.state = State::Up)
            }
            ["gone"] => self.cell.jobs.retain(|job| job.state != State::Stopping),
            ["settle"] => self.cell.settle(),
            ["crash", count] => (0..count.parse().unwrap()).for_each(|_| {
                self.crash(DownReason::Exited { code: 1 }, Duration::from_millis(50));
                self.observe();
            }),
            ["unhealthy"] => self.crash(
                DownReason::Failed { reason: "nothing listens on port 8080 after 60 s".into() },
                Duration::from_secs(60),
            ),
            ["blocked", word] => self.cell.blocked = *word == "on",
            ["after", seconds] => {
                self.now = self.now.after(Duration::from_secs(seconds.parse().unwrap()));
                self.feed(Event::Tick);
                return;
            }
            ["abort", who] => drop(self.feed(Event::Abort { by: (*who).into() })),
            ["die"] => self.resume(),
            ["run"] => {
                for _ in 0..40 {
                    self.cell.settle();
                    self.observe();
                }
                return;
            }
            other => panic!("no command {other:?}"),
        }
        self.observe();
    }

    fn begin(&mut self, name: &str, old: &str, new: &str, options: &[&str]) {
        let option = |key: &str, default: u32| {
            let found = options.iter().find_map(|text| text.strip_prefix(key)?.strip_prefix('='));
            found.map_or(default, |text| text.parse().unwrap())
        };
        let order = Order {
            strategy: strategy(name),
            batch: option("batch", 1),
            timeout: Duration::from_secs(u64::from(option("timeout", 120))),
            start_timeout: Duration::from_secs(60),
            original: counts(old),
            target: counts(new),
            omni: [].into(),
        };
        self.cell.set(order.original.clone(), counts("-"));
        self.cell.settle();
        self.deployer = Some(Deployer::new(order.clone()));
        self.order = Some(order);
    }

    fn crash(&mut self, reason: DownReason, lived: Duration) {
        let at = self.cell.jobs.iter().rposition(|job| job.side == Which::New && job.state != State::Stopping);
        // None is left once it has gone back.
        if let Some(at) = at {
            self.cell.fail(at, reason, lived);
        }
    }

    fn resume(&mut self) {
        let order = self.order.clone().unwrap();
        self.deployer = Some(match self.back.clone() {
            Some(why) => Deployer::going_back(order, why),
            None => Deployer::new(order),
        });
    }

    fn observe(&mut self) {
        while self.feed(Event::Observed(self.cell.observed())) {}
    }

    /// Whether something was executed, so that the cell is to be looked at again.
    fn feed(&mut self, event: Event) -> bool {
        let mut effects = Vec::new();
        self.deployer.as_mut().unwrap().handle(self.now, event, &mut effects);
        let mut again = false;
        for effect in effects {
            let line = match effect {
                Effect::SetFormations { old, new } => {
                    again = true;
                    let line = format!("set old {} new {}", show(&old), show(&new));
                    self.cell.set(old, new);
                    line
                }
                Effect::Wait(waiting) => format!("wait {waiting}"),
                Effect::Rollback(reason) => {
                    again = true;
                    self.back = Some(reason.to_string());
                    format!("rollback: {reason}")
                }
                Effect::Finish => "finish".into(),
                Effect::Fail(reason) => format!("fail: {reason}"),
            };
            self.out.push_str(&line);
            self.out.push('\n');
        }
        again
    }
}
