//! The one step function behind every strategy: given what is, what is asked for next.
//!
//! Forward, the new release comes and the old one leaves; going back, the same with the sides swapped.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use types::ProcessType;

use super::{Counts, Observed, Order, Side, Waiting, all_at_once};
use crate::barrier::{Overlap, Pace, Types, step_down, step_up};

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Ask for these counts.
    Set {
        /// Of the old release.
        old: Counts,
        /// Of the new release.
        new: Counts,
    },
    /// Nothing before this has happened.
    Wait(Waiting),
    /// All is as it is to be.
    Done,
}

/// The next step of going forward.
#[must_use]
pub fn plan(order: &Order, observed: &Observed) -> Plan {
    let move_ = Move {
        pace: order.pace(),
        before: &order.original,
        after: &order.target,
        leaving: &observed.old,
        coming: &observed.new,
        order,
        hosts: observed.hosts,
    };
    match move_.next() {
        Next::Set { leaving, coming } => Plan::Set { old: leaving, new: coming },
        Next::Wait(waiting) => Plan::Wait(waiting),
        Next::Done => Plan::Done,
    }
}

/// The next step of going back to the old release.
#[must_use]
pub fn plan_back(order: &Order, observed: &Observed) -> Plan {
    let mut pace = order.pace();
    if pace.overlap == Overlap::Allowed {
        // Going back is urgent, and the room for the new jobs is there already.
        pace = all_at_once::pace();
        if observed.new.up() == 0 {
            // No traffic reaches the new jobs, so there is nothing to wait for before they go.
            return if zero(&observed.new.wanted) && same(&observed.old.wanted, &order.original) {
                Plan::Done
            } else {
                Plan::Set { old: order.original.clone(), new: Counts::new() }
            };
        }
    }
    let move_ = Move {
        pace,
        before: &order.target,
        after: &order.original,
        leaving: &observed.new,
        coming: &observed.old,
        order,
        hosts: observed.hosts,
    };
    match move_.next() {
        Next::Set { leaving, coming } => Plan::Set { old: coming, new: leaving },
        Next::Wait(waiting) => Plan::Wait(waiting),
        Next::Done => Plan::Done,
    }
}

fn zero(counts: &Counts) -> bool {
    counts.values().all(|count| *count == 0)
}

fn same(a: &Counts, b: &Counts) -> bool {
    a.keys().chain(b.keys()).all(|key| count(a, key) == count(b, key))
}

fn count(counts: &Counts, process_type: &ProcessType) -> u32 {
    counts.get(process_type).copied().unwrap_or(0)
}

enum Next {
    Set { leaving: Counts, coming: Counts },
    Wait(Waiting),
    Done,
}

/// A move of jobs from a side that leaves to a side that comes.
struct Move<'a> {
    pace: Pace,
    before: &'a Counts,
    after: &'a Counts,
    leaving: &'a Side,
    coming: &'a Side,
    order: &'a Order,
    hosts: u32,
}

impl Move<'_> {
    fn next(&self) -> Next {
        let sides = [self.before, self.after, &self.leaving.wanted, &self.coming.wanted];
        let all: BTreeSet<&ProcessType> = sides.iter().flat_map(|counts| counts.keys()).collect();
        let groups: Vec<Vec<&ProcessType>> = match self.pace.types {
            Types::Together => [all.into_iter().collect()].into(),
            Types::OneAfterAnother => all.into_iter().map(|one| [one].into()).collect(),
        };
        for group in groups {
            match self.next_of(&group) {
                Next::Done => {}
                next => return next,
            }
        }
        Next::Done
    }

    fn next_of(&self, group: &[&ProcessType]) -> Next {
        if let Some(waiting) = group.iter().find_map(|one| self.unsettled(one)) {
            return Next::Wait(waiting);
        }
        let mut coming = self.coming.wanted.clone();
        for one in group {
            let now = count(&coming, one);
            let next = match count(self.after, one) {
                // More than wanted was asked for, by hand or by an earlier deployment.
                after if now > after => after,
                after => step_up(&self.pace, count(self.before, one), after, self.leaving.wanted(one), now),
            };
            put(&mut coming, one, next);
        }
        if !same(&coming, &self.coming.wanted) {
            return Next::Set { leaving: self.leaving.wanted.clone(), coming };
        }
        let mut leaving = self.leaving.wanted.clone();
        for one in group {
            let (before, after) = (count(self.before, one), count(self.after, one));
            let next = step_down(&self.pace, before, after, count(&leaving, one), count(&coming, one));
            put(&mut leaving, one, next);
        }
        if same(&leaving, &self.leaving.wanted) {
            return Next::Done;
        }
        Next::Set { leaving, coming }
    }

    /// What of the step under way has not happened yet.
    fn unsettled(&self, one: &ProcessType) -> Option<Waiting> {
        let (seen, asked) = (self.coming.seen(one), self.coming.wanted(one));
        let wanted = self.jobs(one, asked);
        if seen.up < wanted && asked <= count(self.after, one) {
            let blocked = seen.blocked;
            return Some(Waiting::Up { process_type: one.clone(), up: seen.up, wanted, blocked });
        }
        if self.pace.overlap == Overlap::Forbidden && seen.present() > wanted {
            return Some(Waiting::Down { process_type: one.clone(), left: seen.present(), wanted });
        }
        let wanted = self.jobs(one, self.leaving.wanted(one));
        let left = match self.pace.overlap {
            Overlap::Allowed => self.leaving.seen(one).staying(),
            Overlap::Forbidden => self.leaving.seen(one).present(),
        };
        // Only while more jobs are to come does it matter whether the old ones have left.
        let more = count(self.after, one) > self.coming.wanted(one);
        (left > wanted && more).then(|| Waiting::Down { process_type: one.clone(), left, wanted })
    }

    fn jobs(&self, one: &ProcessType, count: u32) -> u32 {
        if self.order.omni.contains(one) { count.saturating_mul(self.hosts.max(1)) } else { count }
    }
}

fn put(counts: &mut Counts, process_type: &ProcessType, count: u32) {
    if count == 0 {
        counts.remove(process_type);
    } else {
        counts.insert(process_type.clone(), count);
    }
}
