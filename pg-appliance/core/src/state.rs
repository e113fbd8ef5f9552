//! The agreement of a cluster: one record in the store.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;

/// A member's lasting identity, kept on its volume: a member that is started again is the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemberId(pub String);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub id: MemberId,
    /// `ADDRESS:PORT` of its Postgres.
    pub address: String,
}

/// How many members a cluster is meant to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterMode {
    /// One primary and those who follow: commits wait for the sync.
    #[default]
    Replicated,
    /// One member alone: commits wait for nobody, and nobody takes over.
    Single,
}

/// Who is what in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Grows when the primary or the sync changes.
    pub generation: u64,
    /// Alone or not.
    #[serde(default)]
    pub mode: ClusterMode,
    /// Takes the writes.
    pub primary: Member,
    /// Confirms them. Without one there are no writes, but in a cluster of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<Member>,
    /// Follow the sync, one behind the other.
    #[serde(default)]
    pub asyncs: Vec<Member>,
    /// Were primary, and may hold writes that nobody else has. They come back through the tail of the chain.
    #[serde(default)]
    pub deposed: Vec<Member>,
    /// Everything acknowledged before this generation is before this position. Who has not reached it cannot take over.
    pub initial_lsn: Lsn,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes the writes.
    Primary,
    /// Confirms them.
    Sync,
    /// Follows, at this place after the sync.
    Async(usize),
    /// Was primary.
    Deposed,
    /// Not in the record.
    Unassigned,
}

impl ClusterState {
    /// What the member is here.
    #[must_use]
    pub fn role_of(&self, id: &MemberId) -> Role {
        if self.primary.id == *id {
            Role::Primary
        } else if self.sync.as_ref().is_some_and(|sync| sync.id == *id) {
            Role::Sync
        } else if let Some(place) = self.asyncs.iter().position(|member| member.id == *id) {
            Role::Async(place)
        } else if self.deposed.iter().any(|member| member.id == *id) {
            Role::Deposed
        } else {
            Role::Unassigned
        }
    }

    /// The last of the chain: who comes new follows it.
    #[must_use]
    pub fn tail(&self) -> &Member {
        self.asyncs.last().or(self.sync.as_ref()).unwrap_or(&self.primary)
    }

    /// Whom a member of that role follows.
    #[must_use]
    pub fn upstream_of(&self, role: Role) -> Option<&Member> {
        match role {
            Role::Primary => None,
            Role::Sync => Some(&self.primary),
            Role::Async(0) => Some(self.sync.as_ref().unwrap_or(&self.primary)),
            Role::Async(place) => self.asyncs.get(place - 1),
            Role::Deposed | Role::Unassigned => Some(self.tail()),
        }
    }

    /// Whether every member is in it once, which every proposal must hold.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let mut all: Vec<&MemberId> = self.asyncs.iter().chain(&self.deposed).map(|member| &member.id).collect();
        all.push(&self.primary.id);
        all.extend(self.sync.as_ref().map(|sync| &sync.id));
        let count = all.len();
        all.sort();
        all.dedup();
        all.len() == count && (self.mode == ClusterMode::Replicated || count == 1)
    }
}
