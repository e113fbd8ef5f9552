use super::*;
use crate::raft::membership::{Member, Standing};

fn group(voters: u64) -> Membership {
    let voter = || Member {
        standing: Standing::Voter,
        name: alloc::string::String::new(),
        peer_urls: Vec::new(),
        client_urls: Vec::new(),
    };
    Membership { members: (1..=voters).map(|id| (MemberId(id), voter())).collect() }
}

#[test]
fn reached_is_the_majority_value() {
    assert_eq!(reached(&group(1), |id| id.0 * 10), 10);
    assert_eq!(reached(&group(2), |id| id.0 * 10), 10);
    assert_eq!(reached(&group(3), |id| id.0 * 10), 20);
    assert_eq!(reached(&group(4), |id| id.0 * 10), 20);
    assert_eq!(reached(&group(5), |id| id.0 * 10), 30);
}

#[test]
fn tally_needs_more_than_half() {
    let votes = |given: &[u64], refused: &[u64]| {
        given.iter().map(|id| (MemberId(*id), true)).chain(refused.iter().map(|id| (MemberId(*id), false))).collect()
    };
    assert_eq!(tally(&group(4), &votes(&[1, 2], &[])), Tally::Open);
    assert_eq!(tally(&group(4), &votes(&[1, 2], &[3, 4])), Tally::Lost);
    assert_eq!(tally(&group(5), &votes(&[1, 2, 9], &[])), Tally::Open);
    assert_eq!(tally(&group(5), &votes(&[1, 2, 3], &[])), Tally::Won);
}
