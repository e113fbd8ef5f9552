//! One member's story: what it sees, and what it does.

use std::fmt::Write as _;

use pg_appliance_core::{
    ClusterMode, ClusterState, Config, DatabaseReport, Effect, Event, Lsn, Member, MemberId, Peer, Present,
};
use stdx::{Instant, Machine};

#[test]
fn scripts() {
    testkit::script::run_sessions("tests/scripts", |stem| {
        let mode = if stem.starts_with("single") { ClusterMode::Single } else { ClusterMode::Replicated };
        let mut story = Story {
            peer: Peer::new(member("b"), mode),
            now: Instant::START,
            revision: 0,
            last: None,
            members: 0,
            order: 0,
            config: Config::Stopped,
        };
        move |commands: &str| {
            let mut out = String::new();
            for line in commands.lines().filter(|line| !line.starts_with('#')) {
                story.command(line, &mut out);
            }
            out
        }
    });
}

struct Story {
    peer: Peer,
    now: Instant,
    revision: u64,
    last: Option<ClusterState>,
    members: u64,
    order: u64,
    config: Config,
}

pub(crate) fn member(id: &str) -> Member {
    Member { id: MemberId(id.into()), address: format!("{id}:5432") }
}

fn names(members: &[Member]) -> String {
    members.iter().map(|member| member.id.0.as_str()).collect::<Vec<_>>().join(",")
}

fn parse_names(text: &str) -> Vec<Member> {
    text.split(',').filter(|name| !name.is_empty()).map(member).collect()
}

fn config(config: &Config) -> String {
    let name = |member: &Option<Member>| member.as_ref().map_or("nobody".to_owned(), |member| member.id.0.clone());
    match config {
        Config::Stopped => "stopped".into(),
        Config::Primary { generation, sync } => format!("primary of {generation}, confirmed by {}", name(sync)),
        Config::Held { generation } => format!("held primary of {generation}"),
        Config::Standby { generation, upstream } => format!("standby of {} in {generation}", upstream.id),
        Config::Detached { generation } => format!("detached in {generation}"),
    }
}

impl Story {
    fn command(&mut self, line: &str, out: &mut String) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flag = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or("");
        let event = match words[0] {
            "state" => {
                self.revision += 1;
                let state = (words[1] != "none").then(|| ClusterState {
                    generation: words[1].parse().unwrap(),
                    mode: ClusterMode::Replicated,
                    primary: member(flag("primary")),
                    sync: parse_names(flag("sync")).pop(),
                    asyncs: parse_names(flag("asyncs")),
                    deposed: parse_names(flag("deposed")),
                    initial_lsn: flag("initial").parse().unwrap_or_default(),
                });
                Event::State { revision: self.revision, state }
            }
            // What was proposed last is now the record.
            "accepted" => {
                self.revision += 1;
                Event::State { revision: self.revision, state: self.last.clone() }
            }
            "refused" => Event::Refused { revision: self.revision },
            "present" => {
                self.members += 1;
                let present = words.get(1).unwrap_or(&"").split(',').filter(|word| !word.is_empty()).map(|word| {
                    let (id, follows) =
                        word.split_once(':').map_or((word, None), |(id, follows)| (id, follows.parse().ok()));
                    Present { member: member(id), follows }
                });
                Event::Members { revision: self.members, present: present.collect() }
            }
            // The database has become what it was told.
            "done" => Event::Database(DatabaseReport {
                order: self.order,
                config: self.config.clone(),
                lsn: flag("lsn").parse().unwrap_or(Lsn::ZERO),
                streams: words.contains(&"streams"),
            }),
            "lease" => Event::Lease { until: Instant::from_millis(words[1].parse().unwrap()) },
            "at" => {
                self.now = Instant::from_millis(words[1].parse().unwrap());
                Event::Tick
            }
            other => panic!("no command {other}"),
        };
        let mut effects = Vec::new();
        self.peer.handle(self.now, event, &mut effects);
        effects.iter().for_each(|effect| self.trace(effect, out));
    }

    fn trace(&mut self, effect: &Effect, out: &mut String) {
        let text = match effect {
            Effect::CompareAndSet { revision, state } => {
                self.last = Some(state.clone());
                let sync = state.sync.as_ref().map_or("-".into(), |sync| sync.id.0.clone());
                format!(
                    "propose at {revision}: {} primary={} sync={sync} asyncs={} deposed={} initial={}",
                    state.generation,
                    state.primary.id,
                    names(&state.asyncs),
                    names(&state.deposed),
                    state.initial_lsn
                )
            }
            Effect::Reconfigure { order, config: to } | Effect::Promote { order, config: to } => {
                (self.order, self.config) = (*order, to.clone());
                let verb = if matches!(effect, Effect::Promote { .. }) { "promote to" } else { "become" };
                format!("{verb} {}", config(to))
            }
            Effect::Stop { order } => {
                (self.order, self.config) = (*order, Config::Stopped);
                "stop".into()
            }
            Effect::Announce { generation } => format!("announce that it follows {generation}"),
        };
        writeln!(out, "{text}").unwrap();
    }
}
