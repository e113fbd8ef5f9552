//! What is asked for: formations and one-off requests.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;

use stdx::Instant;
use types::cell::{FormationSpec, OneOff};
use types::job::JobSpec;
use types::{AppId, AppName, JobId, ProcessType, ReleaseId};

/// Everything that is asked for.
#[derive(Debug, Default)]
pub struct Desired {
    apps: BTreeMap<AppId, BTreeMap<ReleaseId, Formation>>,
    requests: BTreeMap<JobId, Request>,
}

/// A formation as it was last written.
#[derive(Debug)]
pub struct Formation {
    /// The revision it was written at.
    pub revision: u64,
    /// The app's name.
    pub app_name: AppName,
    /// What of each process type.
    pub processes: BTreeMap<ProcessType, Want>,
}

/// What is wanted of one process type.
#[derive(Clone, Debug)]
pub struct Want {
    /// How many jobs, on each host when omni.
    pub count: u32,
    /// Over all, or on each host.
    pub spread: Spread,
    /// What each of them is.
    pub template: Template,
}

/// How a count is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// So many over all hosts.
    Total,
    /// So many on each host that qualifies.
    EachHost,
}

/// What a job is and where it may run.
#[derive(Clone, Debug)]
pub struct Template {
    /// What a host runs; shared by all who plan with it.
    pub spec: Arc<JobSpec>,
    /// Tags that a host must have.
    pub tags: Arc<BTreeMap<String, String>>,
}

/// A one-off request as it was last written.
#[derive(Debug)]
pub struct Request {
    /// The revision it was written at.
    pub revision: u64,
    /// When this scheduler first saw it.
    pub seen: Instant,
    /// The request but for its template.
    pub one_off: OneOff,
    /// What to run and where.
    pub template: Template,
}

impl Desired {
    /// A formation was written at `revision`.
    pub fn put_formation(&mut self, revision: u64, spec: FormationSpec) {
        let processes = spec.processes.into_iter().map(|(process_type, want)| {
            let spread = if want.template.omni { Spread::EachHost } else { Spread::Total };
            let template = Template { spec: Arc::new(want.template.spec), tags: Arc::new(want.template.tags) };
            (process_type, Want { count: want.count, spread, template })
        });
        let formation = Formation { revision, app_name: spec.app_name, processes: processes.collect() };
        self.apps.entry(spec.app).or_default().insert(spec.release, formation);
    }

    /// A formation was deleted.
    pub fn drop_formation(&mut self, app: &AppId, release: &ReleaseId) {
        if let Some(formations) = self.apps.get_mut(app) {
            formations.remove(release);
            if formations.is_empty() {
                self.apps.remove(app);
            }
        }
    }

    /// A request was written at `revision`.
    pub fn put_request(&mut self, now: Instant, revision: u64, one_off: OneOff) {
        let seen = self.requests.get(&one_off.id).map_or(now, |request| request.seen);
        let template = Template { spec: Arc::new(one_off.spec.clone()), tags: Arc::new(one_off.tags.clone()) };
        self.requests.insert(one_off.id.clone(), Request { revision, seen, one_off, template });
    }

    /// A request was deleted.
    pub fn drop_request(&mut self, id: &JobId) -> Option<Request> {
        self.requests.remove(id)
    }

    /// The formations of an app.
    pub fn formations(&self, app: &AppId) -> impl Iterator<Item = (&ReleaseId, &Formation)> {
        self.apps.get(app).into_iter().flatten()
    }

    /// One formation.
    #[must_use]
    pub fn formation(&self, app: &AppId, release: &ReleaseId) -> Option<&Formation> {
        self.apps.get(app)?.get(release)
    }

    /// Every request.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values()
    }

    /// Every app with a formation or a request.
    #[must_use]
    pub fn apps(&self) -> BTreeSet<AppId> {
        let requesting = self.requests.values().map(|request| &request.template.spec.app);
        self.apps.keys().chain(requesting).cloned().collect()
    }
}
