//! Seed sweeps over groups of 1 to 5 members under crashes, torn disks, partitions, loss and membership changes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use consensus_core::raft::{Canary, Change, Event, MemberId, RequestId, Standing};
use testkit::Faults;

use crate::group::{Group, learner};

/// One seeded life of a group.
fn life(seed: u64, steps: u64, canary: Option<Canary>) -> Result<Group, String> {
    let voters = [1, 2, 3, 3, 5][usize::try_from(seed % 5).unwrap()];
    let spares = if voters == 1 || voters == 3 { seed / 5 % 3 } else { 0 };
    let mut group = Group::new(seed, voters, spares, canary);
    for step in 0..steps {
        disturb(&mut group);
        group.step()?;
        if step % 64 == 0 {
            group.check_logs()?;
        }
    }
    group.settle()?;
    Ok(group)
}

/// Clients ask and things go wrong.
fn disturb(group: &mut Group) {
    let ids = group.ids();
    let pick = ids[group.rng.index(ids.len())];
    match group.rng.below(1000) {
        0..150 => {
            let to = if group.rng.chance(3, 4) { group.leader().unwrap_or(pick) } else { pick };
            group.propose(to);
        }
        150..210 => group.read(pick),
        210..214 if group.is_up(pick) => group.crash(pick),
        214..230 if !group.is_up(pick) => group.start(pick),
        230..234 => {
            let other = ids[group.rng.index(ids.len())];
            group.world.heal();
            group.world.part(&ids, &[pick, other]);
        }
        234..236 => {
            let other = ids[group.rng.index(ids.len())];
            group.world.cut(pick, other);
        }
        236..246 => group.world.heal(),
        246..252 => group.compact(pick),
        252..254 => group.feed(pick, Event::Transfer { to: None }),
        254..258 => {
            let faults = weather(group);
            group.world.set_faults(faults);
        }
        258..264 => change_members(group, pick),
        _ => {}
    }
}

fn weather(group: &mut Group) -> Faults {
    let slow = group.rng.below(400) + 1;
    Faults {
        lose: [0, 0, 50, 300][group.rng.index(4)],
        double: [0, 100][group.rng.index(2)],
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(slow),
    }
}

fn change_members(group: &mut Group, pick: u64) {
    let Some(leader) = group.leader() else { return };
    let Some(Some(node)) = group.nodes.get(&leader) else { return };
    let id = MemberId(pick);
    let change = match node.raft.membership().members.get(&id).map(|member| member.standing) {
        None => Change::AddLearner { id, member: learner() },
        Some(Standing::Learner) => Change::Promote(id),
        // An id is never used again, so only some members are ever removed, and those for good.
        Some(Standing::Voter) => return,
    };
    let request: RequestId = 1 << 40;
    group.feed(leader, Event::ProposeMembership { id: request, change });
}

#[test]
fn sim_raft_keeps_its_promises() {
    let (mut acks, mut reads) = (0, 0);
    testkit::sweep("sim_raft_keeps_its_promises", |seed| {
        let group = life(seed, testkit::steps(3000), None)?;
        acks += group.acks;
        reads += group.reads_served;
        Ok::<(), String>(())
    });
    assert!(acks > 0 && reads > 0, "the sweep did nothing: {acks} acks, {reads} reads");
}

#[test]
fn sim_raft_removed_member_disturbs_nobody() {
    testkit::sweep("sim_raft_removed_member_disturbs_nobody", |seed| {
        let mut group = Group::new(seed, 3, 0, None);
        group.run_for(Duration::from_secs(5))?;
        let leader = group.leader().ok_or("no leader")?;
        let gone = group.ids()[group.rng.index(3)];
        group.feed(leader, Event::ProposeMembership { id: 1 << 40, change: Change::Remove(MemberId(gone)) });
        group.run_for(Duration::from_secs(5))?;
        let leader = group.leader().ok_or("no leader after the removal")?;
        if leader == gone {
            return Err(format!("the removed member {gone} leads"));
        }
        let term = group.nodes[&leader].as_ref().unwrap().raft.status().term;
        group.run_for(Duration::from_secs(20))?;
        let later = group.nodes[&leader].as_ref().unwrap().raft.status().term;
        if term == later { Ok(()) } else { Err(format!("the term went from {term} to {later} with no fault")) }
    });
}

#[test]
fn sim_raft_handover_is_quick() {
    testkit::sweep("sim_raft_handover_is_quick", |seed| {
        let mut group = Group::new(seed, 3, 0, None);
        group.run_for(Duration::from_secs(5))?;
        let leader = group.leader().ok_or("no leader")?;
        group.feed(leader, Event::Transfer { to: None });
        group.run_for(Duration::from_millis(50))?;
        let next = group.leader().ok_or("no leader after the handover")?;
        if next == leader { Err("leadership did not move".to_owned()) } else { Ok(()) }
    });
}

/// Every bug that was put in on purpose must be found: by a broken promise or by a broken invariant.
#[test]
fn sim_raft_finds_every_canary() {
    for canary in [
        Canary::VoteUnsaved,
        Canary::AckUnsynced,
        Canary::CommitOlderTerm,
        Canary::VoteForStaleLog,
        Canary::AppendUnchecked,
        Canary::ReadUnproved,
        Canary::HalfIsMajority,
    ] {
        let found = testkit::find(4000, |seed| {
            let run = AssertUnwindSafe(|| life(seed, 3000, Some(canary)).map(|_| ()));
            catch_unwind(run).unwrap_or_else(|_| Err("an invariant broke".to_owned()))
        });
        let (seed, why) = found.unwrap_or_else(|| panic!("{canary:?} was not found"));
        println!("{canary:?}: seed {seed:#x}: {why}");
    }
}
