//! Majorities.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::membership::Membership;
use super::message::MemberId;

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tally {
    Won,
    Lost,
    Open,
}

/// Count the votes of those who may vote.
pub(super) fn tally(membership: &Membership, votes: &BTreeMap<MemberId, bool>) -> Tally {
    let voters: Vec<MemberId> = membership.voters().collect();
    let needed = voters.len() / 2 + 1;
    let given = voters.iter().filter(|id| votes.get(id) == Some(&true)).count();
    let refused = voters.iter().filter(|id| votes.get(id) == Some(&false)).count();
    if given >= needed {
        Tally::Won
    } else if voters.len() - refused < needed {
        Tally::Lost
    } else {
        Tally::Open
    }
}

/// The highest value that a majority of the voters has reached; zero without voters.
pub(super) fn reached<T: Ord + Copy + Default>(membership: &Membership, value: impl Fn(MemberId) -> T) -> T {
    let mut values: Vec<T> = membership.voters().map(value).collect();
    values.sort_unstable();
    match values.len() {
        0 => T::default(),
        // Sorted upwards, a majority is at or above the entry this far from the end.
        count => values[count - 1 - count / 2],
    }
}

#[cfg(test)]
mod tests;
