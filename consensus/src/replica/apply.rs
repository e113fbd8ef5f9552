//! What is committed, and who leads.

use consensus_core::codec::decode_command;
use consensus_core::raft::{Entry, MemberId, Payload, RequestId};
use consensus_core::store::command::{Command, Outcome};
use stdx::Instant;

use super::owner::Owner;

impl Owner {
    pub(super) fn apply(&mut self, now: Instant, entry: &Entry, proposal: Option<RequestId>) {
        let Payload::Command(bytes) = &entry.payload else { return };
        // The checksum held and a leader of our version or older wrote it; going on without it would make
        // this member differ from the others.
        let command =
            decode_command(bytes).unwrap_or_else(|error| panic!("decode committed entry {}: {error}", entry.index));
        let ends = match &command {
            Command::Revoke { id } => Some(*id),
            _ => None,
        };
        let compacts = matches!(command, Command::Compact { .. });
        let outcome = self.store.apply(command);
        match &outcome {
            Outcome::Granted { id, ttl, .. } => {
                self.lease_clock.renew(*id, *ttl, now);
            }
            Outcome::Compacted { .. } => self.prunes = true,
            _ => {}
        }
        if let Some(id) = ends {
            self.lease_clock.forget(id);
        }
        if compacts {
            self.compactor.done();
        }
        if let Some(id) = proposal {
            self.proposal_applied(id, outcome);
        }
    }

    pub(super) fn leader_changed(&mut self, now: Instant, term: u64, leader: Option<MemberId>) {
        match leader {
            Some(leader) if leader == MemberId(self.identity.member_id) => {
                log::info!(term; "this member leads the store");
                self.lease_clock.lead(self.store.leases(), now);
            }
            Some(leader) => log::info!(term, leader:% = leader; "another member leads the store"),
            None => log::info!(term; "the store has no leader"),
        }
    }
}
