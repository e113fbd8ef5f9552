//! Stories: commands change the store, every block ends with reconciling until nothing is left to do, and the
//! trace says what was decided and why. Jobs are named a, b, c ... in the order in which they were placed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use scheduler_core::{Action, Execution, Mode, Stamp, View};
use stdx::{Instant, Rng};
use types::cell::{FormationSpec, OneOff, OneOffState};
use types::host::{Capacity, EndCause, HostState, StopOrder};
use types::job::{DownReason, JobSpec, JobState, Lifecycle, NetworkMode, ServiceSpec, Stdio, VolumeMount};
use types::{HostId, JobId};

use crate::model::{Store, Value, change, host, spec, status, want};

const MIB: u64 = 1 << 20;

struct Story {
    store: Store,
    view: View,
    fed: usize,
    now: Instant,
    rng: Rng,
    names: BTreeMap<JobId, String>,
    /// Commands that race with the next commit.
    race: Vec<String>,
    out: String,
}

#[test]
fn scripts() {
    testkit::script::run_sessions("tests/scripts", |_| {
        let mut story = Story::new();
        move |commands: &str| story.run(commands)
    });
}

impl Story {
    fn new() -> Story {
        let mut store = Store::default();
        store.put("leader", Value::Leader);
        Story {
            store,
            view: View::new(),
            fed: 0,
            now: Instant::START,
            rng: Rng::new(7),
            names: BTreeMap::new(),
            race: Vec::new(),
            out: String::new(),
        }
    }

    fn run(&mut self, commands: &str) -> String {
        self.out.clear();
        for line in commands.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix("race ") {
                Some(command) => self.race.push(command.to_owned()),
                None => self.command(line),
            }
        }
        self.settle();
        std::mem::take(&mut self.out)
    }

    fn settle(&mut self) {
        for _ in 0..50 {
            self.feed();
            let plan = self.view.plan(self.now, &mut self.rng);
            if plan.proposals.is_empty() {
                return;
            }
            let stamp = Stamp { wall_ms: self.now.millis(), leads_since: Some(1) };
            let mut execution = Execution::new(&self.view.cell, plan, Mode::Incremental, stamp);
            for command in std::mem::take(&mut self.race) {
                self.command(&command);
            }
            while let Some(transaction) = execution.next_transaction() {
                let outcome = self.store.transact(&transaction);
                execution.done(outcome);
            }
            for proposal in execution.committed() {
                for step in &proposal.steps {
                    self.trace(&step.action, &step.why.to_string());
                }
            }
            if self.store.revision_of("leader") != 1 {
                writeln!(self.out, "deposed").unwrap();
                return;
            }
            if !execution.refused().is_empty() {
                writeln!(self.out, "refused {}", execution.refused().len()).unwrap();
                self.view.touch(scheduler_core::commit::scope_of(execution.refused()));
            }
        }
        writeln!(self.out, "never settles").unwrap();
    }

    fn feed(&mut self) {
        while let Some((revision, key, value)) = self.store.log.get(self.fed).cloned() {
            self.fed += 1;
            if let Some(change) = change(revision, &key, value) {
                self.view.apply(self.now, change);
            }
        }
    }

    fn name(&mut self, job: &JobId) -> String {
        let next = self.names.len();
        let letter = char::from(b'a' + u8::try_from(next % 26).unwrap());
        let fresh = if next < 26 { letter.to_string() } else { format!("{letter}{}", next / 26) };
        self.names.entry(job.clone()).or_insert(fresh).clone()
    }

    fn trace(&mut self, action: &Action, why: &str) {
        let line = match action {
            Action::Place { spec, host, job, .. } => {
                format!("place {} {} {} on {host}", self.name(job), spec.app, spec.process_type)
            }
            Action::Stop { job, order, .. } => format!("stop {} {order:?}", self.name(job)),
            Action::End { record, .. } => {
                let cause = if record.cause == EndCause::Asked { "asked" } else { "unasked" };
                format!("end {} {cause}, {}", self.name(&record.job), record.reason)
            }
            Action::Settle { one_off, .. } => match &one_off.state {
                OneOffState::Blocked { .. } => format!("{} is blocked", one_off.id.uuid()),
                other => panic!("settles as {other:?}"),
            },
            Action::Close { id, record, .. } => {
                let record = record.as_ref().map_or(String::new(), |record| format!(", {}", record.reason));
                format!("close {}{record}", id.uuid())
            }
            Action::Sweep { host, .. } => format!("sweep a status of {host}"),
            Action::Forget { app, .. } => format!("forget a record of {app}"),
            Action::Report(trouble) => {
                let texts = trouble.processes.iter().map(|(process_type, trouble)| {
                    format!(
                        "{process_type} {} blocked, {} crashes, back-off {} ms",
                        trouble.blocked, trouble.crashes, trouble.backoff_ms
                    )
                });
                format!("report {}: {}", trouble.app, texts.collect::<Vec<_>>().join("; "))
            }
            Action::Clear { app, .. } => format!("clear {app}"),
        };
        writeln!(self.out, "{line} ({why})").unwrap();
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flag = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        match words[0] {
            "host" => {
                let capacity = Capacity {
                    memory_bytes: flag("mem").map_or(1 << 40, |text| text.parse::<u64>().unwrap() * MIB),
                    cpu_milli: flag("cpu").map_or(1_000_000, |text| text.parse().unwrap()),
                    jobs: flag("jobs").map_or(1_000, |text| text.parse().unwrap()),
                };
                let mut record = host(words[1], flag("zone").unwrap_or(""), capacity);
                if words.contains(&"draining") {
                    record.state = HostState::Draining;
                }
                if let Some((name, value)) = flag("tag").and_then(|tag| tag.split_once(':')) {
                    record.tags.insert(name.into(), value.into());
                }
                self.store.put(&format!("host/{}", words[1]), Value::Host(record));
                self.store.put(&format!("presence/{}", words[1]), Value::Presence);
            }
            "absent" => self.store.delete(&format!("presence/{}", words[1])),
            "present" => drop(self.store.put(&format!("presence/{}", words[1]), Value::Presence)),
            "removed" => self.store.delete(&format!("host/{}", words[1])),
            "formation" => self.formation(&words, &flag),
            "drop" => self.store.delete(&format!("formation/{}/{}", words[1], words[2])),
            "run" => self.one_off(&words, &flag),
            "cancel" => {
                let key = format!("oneoff/{}", OneOff::request_id(words[1]));
                let Some((_, Value::OneOff(one_off))) = self.store.keys.get(&key).cloned() else { panic!("{key}") };
                self.store.put(&key, Value::OneOff(OneOff { stop: Some(StopOrder::Kill), ..one_off }));
            }
            "up" | "starting" | "down" | "stray" => self.report(&words),
            "claim" => self.bootstrap(&words),
            "wait" => self.now = self.now.after(Duration::from_millis(words[1].parse().unwrap())),
            "restart" => {
                // A new scheduler: everything again from the store.
                self.view = View::new();
                for (key, (revision, value)) in self.store.keys.clone() {
                    if let Some(change) = change(revision, &key, Some(value)) {
                        self.view.apply(self.now, change);
                    }
                }
                self.fed = self.store.log.len();
            }
            "depose" => drop(self.store.put("leader", Value::Leader)),
            "jobs" => self.list(),
            other => panic!("no command {other}"),
        }
    }

    fn formation<'a>(&mut self, words: &[&'a str], flag: &dyn Fn(&str) -> Option<&'a str>) {
        let (app, release) = (words[1], words[2]);
        let lifecycle = if words.contains(&"system") { Lifecycle::System } else { Lifecycle::Service };
        let mut processes = BTreeMap::new();
        for word in &words[3..] {
            let Some((process_type, count)) = word.split_once(':').filter(|_| !word.contains('=')) else { continue };
            let mut spec = spec(app, Some(release), process_type, lifecycle);
            refine(&mut spec, flag);
            let mut want = want(count.parse().unwrap(), spec);
            want.template.omni = words.contains(&"omni");
            if let Some((name, value)) = flag("tag").and_then(|tag| tag.split_once(':')) {
                want.template.tags.insert(name.into(), value.into());
            }
            processes.insert(process_type.parse().unwrap(), want);
        }
        let formation = FormationSpec {
            app: app.parse().unwrap(),
            app_name: app.parse().unwrap(),
            release: release.parse().unwrap(),
            processes,
        };
        self.store.put(&format!("formation/{app}/{release}"), Value::Formation(formation));
    }

    fn one_off<'a>(&mut self, words: &[&'a str], flag: &dyn Fn(&str) -> Option<&'a str>) {
        let mut spec = spec(words[1], None, "run", Lifecycle::Batch);
        refine(&mut spec, flag);
        if words.contains(&"attached") {
            spec.stdio = Stdio::Attached;
        }
        let one_off = OneOff {
            id: OneOff::request_id(words[2]),
            spec,
            tags: BTreeMap::new(),
            wait_ms: 5_000,
            stop: None,
            state: OneOffState::Pending,
            created_ms: self.now.millis(),
        };
        self.store.put(&format!("oneoff/{}", one_off.id), Value::OneOff(one_off));
    }

    /// `up a b`, `down a exit=1`, `down a asked`: what hosts say of jobs.
    fn report(&mut self, words: &[&str]) {
        let code = words.iter().find_map(|word| word.strip_prefix("exit=")).map(|code| code.parse().unwrap());
        for word in &words[1..] {
            let Some(job) = self.names.iter().find(|(_, name)| name == word).map(|(job, _)| job.clone()) else {
                continue;
            };
            let host = job.host().unwrap();
            let state = match words[0] {
                "up" => JobState::Up,
                "starting" => JobState::Starting,
                _ => JobState::Down(DownReason::Exited { code: code.unwrap_or(0) }),
            };
            let ended = if state.is_down() { self.now.millis() } else { 0 };
            let status = status(&job, state, 1, ended);
            self.store.put(&format!("status/{host}/{job}"), Value::Status(status));
        }
    }

    /// `claim HOST APP RELEASE TYPE`: what bootstrap does.
    fn bootstrap(&mut self, words: &[&str]) {
        let host: HostId = words[1].parse().unwrap();
        let claims = vec![(
            JobId::on(&host, &format!("0000{}", self.names.len())),
            spec(words[2], Some(words[3]), words[4], Lifecycle::System),
        )];
        self.feed();
        let plan = scheduler_core::plan::for_caller(&host, claims);
        let stamp = Stamp { wall_ms: 0, leads_since: None };
        let mut execution = Execution::new(&self.view.cell, plan, Mode::AllOrNothing, stamp);
        while let Some(transaction) = execution.next_transaction() {
            let outcome = self.store.transact(&transaction);
            execution.done(outcome);
        }
        for step in execution.committed().iter().flat_map(|proposal| &proposal.steps) {
            self.trace(&step.action, &step.why.to_string());
        }
    }

    fn list(&mut self) {
        let claims: Vec<_> = self.store.claims().cloned().collect();
        for claim in claims {
            let state = self.store.status(&claim).map_or("unseen", |status| status.state.word());
            let stop = if claim.stop.is_some() { ", told to stop" } else { "" };
            let name = self.name(&claim.job);
            writeln!(self.out, "  {name} on {}: {} {state}{stop}", claim.host, claim.spec.app).unwrap();
        }
    }
}

fn refine<'a>(spec: &mut JobSpec, flag: &dyn Fn(&str) -> Option<&'a str>) {
    spec.resources.memory_bytes = flag("mem").map(|text| text.parse::<u64>().unwrap() * MIB);
    spec.resources.cpu_milli = flag("cpu").map(|text| text.parse().unwrap());
    if let Some(port) = flag("port") {
        spec.network = NetworkMode::Host;
        spec.service = Some(ServiceSpec { name: "svc".parse().unwrap(), port: port.parse().unwrap(), check: None });
    }
    if let Some(volume) = flag("volume") {
        spec.volumes.push(VolumeMount { volume: volume.parse().unwrap(), path: "/data".into() });
    }
}
