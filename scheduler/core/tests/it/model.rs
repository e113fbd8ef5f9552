//! The store as the schedulers know it: keys with revisions, guarded transactions, a log of changes.

use std::collections::BTreeMap;

use scheduler_core::cell::Presence;
use scheduler_core::{Change, Guard, Outcome, Transaction, Write};
use types::cell::{FormationSpec, FormationTrouble, JobTemplate, OneOff, ProcessWant};
use types::host::{Capacity, Claim, EndedJob, Host, HostState};
use types::job::{Isolation, JobSpec, JobState, JobStatus, Lifecycle, NetworkMode, PlatformAccess, Resources, Stdio};
use types::{AppId, AppName, HostId, JobId, ProcessType, ReleaseId};

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Host(Host),
    Presence,
    Ledger,
    Claim(Claim),
    Status(JobStatus),
    Ended(EndedJob),
    Volume(HostId),
    Formation(FormationSpec),
    OneOff(OneOff),
    Trouble(FormationTrouble),
    Leader,
}

/// Keys are joined with `/`; the first part names the table.
#[derive(Debug)]
pub(crate) struct Store {
    /// Guards that are not looked at: a bug put in on purpose.
    pub(crate) blind_to: fn(&Guard) -> bool,
    pub(crate) revision: u64,
    pub(crate) keys: BTreeMap<String, (u64, Value)>,
    /// Every change with its revision; `None` when the key was deleted.
    pub(crate) log: Vec<(u64, String, Option<Value>)>,
}

impl Default for Store {
    fn default() -> Store {
        Store { blind_to: |_| false, revision: 0, keys: BTreeMap::new(), log: Vec::new() }
    }
}

impl Store {
    pub(crate) fn put(&mut self, key: &str, value: Value) -> u64 {
        self.revision += 1;
        self.write(key, Some(value));
        self.revision
    }

    pub(crate) fn delete(&mut self, key: &str) {
        if self.keys.contains_key(key) {
            self.revision += 1;
            self.write(key, None);
        }
    }

    fn write(&mut self, key: &str, value: Option<Value>) {
        match &value {
            Some(value) => drop(self.keys.insert(key.into(), (self.revision, value.clone()))),
            None => {
                if self.keys.remove(key).is_none() {
                    return;
                }
            }
        }
        self.log.push((self.revision, key.into(), value));
    }

    pub(crate) fn revision_of(&self, key: &str) -> u64 {
        self.keys.get(key).map_or(0, |(revision, _)| *revision)
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Leads { since } => self.revision_of("leader") == *since,
            Guard::Ledger { host, revision } => self.revision_of(&format!("ledger/{host}")) == *revision,
            Guard::Formation { app, release, revision } => {
                self.revision_of(&format!("formation/{app}/{release}")) == *revision
            }
            Guard::Request { id, revision } => self.revision_of(&format!("oneoff/{id}")) == *revision,
            Guard::Claim { host, job, revision } => self.revision_of(&format!("claim/{host}/{job}")) == *revision,
            Guard::NoClaim { host, job } => self.revision_of(&format!("claim/{host}/{job}")) == 0,
            Guard::Absent { host } => self.revision_of(&format!("presence/{host}")) == 0,
            Guard::Homeless { volume } => self.revision_of(&format!("volume/{volume}")) == 0,
        }
    }

    pub(crate) fn transact(&mut self, transaction: &Transaction) -> Outcome {
        if !transaction.guards.iter().all(|guard| (self.blind_to)(guard) || self.holds(guard)) {
            return Outcome::Refused;
        }
        assert!(transaction.writes.len() <= 128 && transaction.guards.len() <= 128, "etcd would refuse this");
        self.revision += 1;
        let mut keys = Vec::new();
        for write in transaction.writes.clone() {
            let (key, value) = self.row(write);
            assert!(!keys.contains(&key), "{key} is written twice in one transaction");
            self.write(&key, value);
            keys.push(key);
        }
        Outcome::Committed { revision: self.revision }
    }

    fn row(&self, write: Write) -> (String, Option<Value>) {
        match write {
            Write::Ledger { host, .. } => (format!("ledger/{host}"), Some(Value::Ledger)),
            Write::Claim(claim) => (format!("claim/{}/{}", claim.host, claim.job), Some(Value::Claim(*claim))),
            Write::Stop { host, job, order } => {
                let key = format!("claim/{host}/{job}");
                let Some((_, Value::Claim(claim))) = self.keys.get(&key) else { panic!("guarded claim {key}") };
                let mut claim = claim.clone();
                claim.stop = Some(order);
                (key, Some(Value::Claim(claim)))
            }
            Write::ClaimGone { host, job } => (format!("claim/{host}/{job}"), None),
            Write::StatusGone { host, job } => (format!("status/{host}/{job}"), None),
            Write::Volume { volume, host } => (format!("volume/{volume}"), Some(Value::Volume(host))),
            Write::Request(one_off) => (format!("oneoff/{}", one_off.id), Some(Value::OneOff(*one_off))),
            Write::RequestGone(id) => (format!("oneoff/{id}"), None),
            Write::Ended(ended) => (format!("ended/{}/{}", ended.app, ended.job), Some(Value::Ended(*ended))),
            Write::EndedGone { app, job } => (format!("ended/{app}/{job}"), None),
            Write::Trouble(trouble) => {
                (format!("trouble/{}/{}", trouble.app, trouble.release), Some(Value::Trouble(*trouble)))
            }
            Write::TroubleGone { app, release } => (format!("trouble/{app}/{release}"), None),
        }
    }

    pub(crate) fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.keys.range("claim/".to_owned().."claim0".to_owned()).filter_map(|(_, (_, value))| match value {
            Value::Claim(claim) => Some(claim),
            _ => None,
        })
    }

    pub(crate) fn status(&self, claim: &Claim) -> Option<&JobStatus> {
        match self.keys.get(&format!("status/{}/{}", claim.host, claim.job)) {
            Some((_, Value::Status(status))) => Some(status),
            _ => None,
        }
    }
}

/// What a watcher makes of a key, as the shell does.
pub(crate) fn change(revision: u64, key: &str, value: Option<Value>) -> Option<Change> {
    let parts: Vec<&str> = key.split('/').collect();
    let host = || HostId::parse(parts[1]).unwrap();
    let app = || AppId::parse(parts[1]).unwrap();
    let last_job = || JobId::parse(parts[parts.len() - 1]).unwrap();
    Some(match value {
        Some(Value::Host(record)) => Change::Host(Box::new(record)),
        Some(Value::Presence) => Change::Presence { host: host(), presence: Presence::Here },
        Some(Value::Ledger) => Change::Ledger { host: host(), revision },
        Some(Value::Claim(claim)) => Change::Claim { revision, claim: Box::new(claim) },
        Some(Value::Status(status)) => Change::Status { host: host(), status: Box::new(status) },
        Some(Value::Ended(record)) => Change::Ended(Box::new(record)),
        Some(Value::Volume(home)) => Change::Volume { volume: parts[1].parse().unwrap(), host: home },
        Some(Value::Formation(spec)) => Change::Formation { revision, spec: Box::new(spec) },
        Some(Value::OneOff(one_off)) => Change::OneOff { revision, one_off: Box::new(one_off) },
        Some(Value::Trouble(trouble)) => Change::Trouble(Box::new(trouble)),
        Some(Value::Leader) => return None,
        None => match parts[0] {
            "host" => Change::HostGone(host()),
            "presence" => Change::Presence { host: host(), presence: Presence::Gone },
            "ledger" => Change::Ledger { host: host(), revision: 0 },
            "claim" => Change::ClaimGone(last_job()),
            "status" => Change::StatusGone(last_job()),
            "ended" => Change::EndedGone { app: app(), job: last_job() },
            "volume" => Change::VolumeGone(parts[1].parse().unwrap()),
            "formation" => Change::FormationGone { app: app(), release: parts[2].parse().unwrap() },
            "oneoff" => Change::OneOffGone(last_job()),
            "trouble" => Change::TroubleGone { app: app(), release: parts[2].parse().unwrap() },
            _ => return None,
        },
    })
}

pub(crate) fn host(id: &str, zone: &str, capacity: Capacity) -> Host {
    Host {
        id: id.parse().unwrap(),
        state: HostState::Up,
        capacity,
        zone: zone.into(),
        tags: BTreeMap::new(),
        address: String::new(),
        version: String::new(),
        started_ms: 0,
    }
}

pub(crate) fn spec(app: &str, release: Option<&str>, process_type: &str, lifecycle: Lifecycle) -> JobSpec {
    JobSpec {
        app: app.parse().unwrap(),
        app_name: AppName::parse(app).unwrap(),
        release: release.map(|release| ReleaseId::parse(release).unwrap()),
        process_type: ProcessType::parse(process_type).unwrap(),
        lifecycle,
        layers: Vec::new(),
        args: vec!["run".into()],
        env: BTreeMap::new(),
        working_dir: String::new(),
        uid: 0,
        gid: 0,
        isolation: Isolation::Tenant,
        network: NetworkMode::Bridge,
        platform: PlatformAccess::None,
        resources: Resources::default(),
        volumes: Vec::new(),
        service: None,
        capabilities: Vec::new(),
        stdio: Stdio::Log,
        grace_ms: 0,
        drain_ms: 0,
        files: Vec::new(),
        priority: if lifecycle == Lifecycle::System { 0 } else { 50 },
    }
}

pub(crate) fn want(count: u32, spec: JobSpec) -> ProcessWant {
    ProcessWant { count, template: JobTemplate { spec, omni: false, tags: BTreeMap::new() } }
}

pub(crate) fn status(job: &JobId, state: JobState, started_ms: u64, ended_ms: u64) -> JobStatus {
    JobStatus { job: job.clone(), state, address: None, pid: None, restarts: 0, last_exit: None, started_ms, ended_ms }
}
