//! Who votes, who learns, and how that changes one member at a time.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::message::MemberId;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Counts for elections and commits.
    Voter,
    /// Receives the log and counts for nothing.
    Learner,
}

/// One member as the group knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it may do.
    pub standing: Standing,
    /// Its name, for people.
    pub name: String,
    /// Where peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
}

/// All members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// By id.
    pub members: BTreeMap<MemberId, Member>,
}

/// One step from one membership to the next. Any majority of the old overlaps any majority of the new,
/// because at most one voter comes or goes (thesis 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new member that receives the log but does not vote.
    AddLearner {
        /// Its id.
        id: MemberId,
        /// What is known of it; the standing is overruled.
        member: Member,
    },
    /// Let a learner vote.
    Promote(MemberId),
    /// Take a member out.
    Remove(MemberId),
    /// New name or addresses; the standing stays.
    Update {
        /// Its id.
        id: MemberId,
        /// What is known of it now.
        member: Member,
    },
}

impl Membership {
    /// The voters, in order.
    pub fn voters(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.members.iter().filter(|(_, member)| member.standing == Standing::Voter).map(|(id, _)| *id)
    }

    /// Whether `id` votes.
    #[must_use]
    pub fn is_voter(&self, id: MemberId) -> bool {
        self.members.get(&id).is_some_and(|member| member.standing == Standing::Voter)
    }

    /// Whether `id` is the only member.
    #[must_use]
    pub fn is_alone(&self, id: MemberId) -> bool {
        self.members.len() == 1 && self.is_voter(id)
    }

    /// The members after `change`, or `None` if it makes no sense.
    #[must_use]
    pub fn after(&self, change: &Change) -> Option<Membership> {
        let mut next = self.clone();
        match change {
            Change::AddLearner { id, member } => {
                if next.members.contains_key(id) {
                    return None;
                }
                next.members.insert(*id, Member { standing: Standing::Learner, ..member.clone() });
            }
            Change::Promote(id) => {
                let member = next.members.get_mut(id)?;
                if member.standing == Standing::Voter {
                    return None;
                }
                member.standing = Standing::Voter;
            }
            Change::Remove(id) => {
                next.members.remove(id)?;
                next.voters().next()?;
            }
            Change::Update { id, member } => {
                let old = next.members.get_mut(id)?;
                *old = Member { standing: old.standing, ..member.clone() };
            }
        }
        Some(next)
    }
}
