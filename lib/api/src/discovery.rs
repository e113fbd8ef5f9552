//! Services and their instances, and how far everyone who routes to them has come.

use serde::{Deserialize, Serialize};
use types::{AppId, JobId, ServiceName};

use crate::table::Table;

/// Instances, by service and job id, each under its host's lease.
pub const INSTANCES: Table<Instance> = Table::new("discovery/instances/");
/// How far those who route have come, by their job id, each under its own lease.
pub const OBSERVERS: Table<Observer> = Table::new("discovery/observers/");

/// A registered address of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Of which service.
    pub service: ServiceName,
    /// Its job; also the instance's id.
    pub job: JobId,
    /// Of which app, when of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// `IP:PORT`.
    pub address: String,
    /// Whether it takes new requests.
    pub state: InstanceState,
    /// Free values, for queries.
    #[serde(default)]
    pub meta: std::collections::BTreeMap<String, String>,
}

/// Whether an instance takes new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// It does.
    Up,
    /// It finishes those it has, and is then stopped.
    Draining,
}

/// How far someone who routes has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observer {
    /// Acts on every change up to this revision.
    pub seen: u64,
    /// Has no request in flight to any instance that was draining or gone at or before this revision.
    pub drained: u64,
}
