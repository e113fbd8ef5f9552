//! Formations: as many jobs of each process type as are wanted, no more, on hosts that qualify.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use types::cell::{FormationTrouble, ProcessTrouble};
use types::host::StopOrder;
use types::job::Lifecycle;
use types::{AppId, ProcessType, ReleaseId};

use crate::cell::{ClaimEntry, Crashes, GroupKey, HostIx, Phase, Standing};
use crate::cleanup::{end_lost, is_over};
use crate::crash;
use crate::desired::{Spread, Want};
use crate::draft::Draft;
use crate::placement::{self, Counts, Refusal};
use crate::plan::{Action, Source, Step, Why};

type Troubles = BTreeMap<(AppId, ReleaseId), BTreeMap<ProcessType, ProcessTrouble>>;

/// One group to look at: what stands, and what is wanted of it.
struct Target<'a> {
    key: GroupKey,
    want: Option<(u64, &'a Want)>,
}

pub(crate) fn plan(draft: &mut Draft<'_>, apps: &BTreeSet<AppId>) {
    let mut targets: Vec<(u8, Target<'_>)> = Vec::new();
    for app in apps {
        collect(draft, app, &mut targets);
    }
    // When there is too little room, the platform goes first.
    targets.sort_by_key(|(priority, _)| *priority);
    let mut troubles = Troubles::new();
    for (_, target) in &targets {
        if !draft.full(&target.key.app) {
            group(draft, target, &mut troubles);
        }
    }
    report(draft, apps, troubles);
}

fn collect<'a>(draft: &Draft<'a>, app: &AppId, targets: &mut Vec<(u8, Target<'a>)>) {
    let mut seen = BTreeSet::new();
    let desired = draft.desired;
    for (release, formation) in desired.formations(app) {
        for (process_type, want) in &formation.processes {
            let key = GroupKey { app: app.clone(), release: Some(release.clone()), process_type: process_type.clone() };
            seen.insert(key.clone());
            targets.push((want.template.spec.priority, Target { key, want: Some((formation.revision, want)) }));
        }
    }
    for ix in draft.cell.groups_of(app) {
        let key = &draft.cell.group(*ix).key;
        if !seen.contains(key) {
            targets.push((0, Target { key: key.clone(), want: None }));
        }
    }
}

/// The claims of a group by what they are good for.
#[derive(Default)]
struct Members<'a> {
    /// They count.
    standing: Vec<&'a ClaimEntry>,
    /// Their host is to be left: they count until others are up.
    leaving: Vec<&'a ClaimEntry>,
    /// Their host is gone: they count for nothing, and go when replaced.
    lost: Vec<&'a ClaimEntry>,
    crashes: Crashes,
}

fn members<'a>(draft: &mut Draft<'a>, target: &Target<'_>) -> Members<'a> {
    let cell = draft.cell;
    let mut members = Members { crashes: cell.crashes(&target.key), ..Members::default() };
    let Some(ix) = cell.group_ix(&target.key) else { return members };
    for claim in cell.group(ix).members.iter().map(|ix| cell.claim_at(*ix)) {
        if claim.lifecycle == Lifecycle::Batch {
            continue;
        }
        if is_over(claim) {
            let crashed = claim.stop.is_none() && claim.down.as_deref() != Some(&types::job::DownReason::Lost);
            if crashed {
                members.crashes.add(claim.phase_since, claim.ended_ms);
            }
            continue;
        }
        let host = cell.host(claim.host);
        let standing = host.standing(draft.now);
        if claim.stop.is_some() {
            // Its host will end it; if the host is gone, so is the job.
            if let Some(steps) = end_lost(draft, claim) {
                draft.propose(steps);
            }
            continue;
        }
        let fits = target.want.is_none_or(|(_, want)| host.has_tags(&want.template.tags));
        match standing {
            Standing::Open if fits => members.standing.push(claim),
            Standing::Open | Standing::Draining => members.leaving.push(claim),
            Standing::Doubtful { until } => {
                draft.wake_at(until, &target.key.app);
                members.standing.push(claim);
            }
            Standing::Lost => members.lost.push(claim),
        }
    }
    members
}

fn group(draft: &mut Draft<'_>, target: &Target<'_>, troubles: &mut Troubles) {
    let members = members(draft, target);
    match target.want {
        None => unwanted(draft, target, &members),
        Some((revision, want)) => {
            let gap = match want.spread {
                Spread::Total => total(draft, target, want, revision, &members),
                Spread::EachHost => each_host(draft, target, want, revision, &members),
            };
            trouble(target, want, &members, &gap, troubles);
        }
    }
}

/// No formation holds this group: it goes. What bootstrap placed stays until the app has its formations.
fn unwanted(draft: &mut Draft<'_>, target: &Target<'_>, members: &Members<'_>) {
    let adopted = draft.desired.formations(&target.key.app).next().is_some();
    let goes = |claim: &ClaimEntry| claim.lifecycle == Lifecycle::Service || adopted;
    for claim in members.standing.iter().chain(&members.leaving).filter(|claim| goes(claim)) {
        stop(draft, claim, Why::NotWanted);
    }
    for claim in members.lost.iter().filter(|claim| goes(claim)) {
        if let Some(steps) = end_lost(draft, claim) {
            draft.propose(steps);
        }
    }
}

/// What a group lacks after a plan.
#[derive(Default)]
struct Gap {
    blocked: u32,
    refusal: Option<Refusal>,
    waits: bool,
}

fn total(draft: &mut Draft<'_>, target: &Target<'_>, want: &Want, revision: u64, members: &Members<'_>) -> Gap {
    let have = members.standing.len();
    let count = want.count as usize;
    if have >= count {
        surplus(draft, &members.standing, count);
        for claim in &members.lost {
            if let Some(steps) = end_lost(draft, claim) {
                draft.propose(steps);
            }
        }
    }
    let gap = fill(draft, target, want, revision, members);
    let up = members.standing.iter().filter(|claim| claim.phase == Phase::Up).count();
    let spare = (up + members.leaving.len()).saturating_sub(count).min(members.leaving.len());
    for claim in members.leaving.iter().take(spare) {
        let host = draft.cell.host(claim.host).id.clone();
        stop(draft, claim, Why::Leaving(host));
    }
    gap
}

/// Place what is missing. Replacements of lost and leaving jobs do not wait for the back-off: nothing crashed.
fn fill(draft: &mut Draft<'_>, target: &Target<'_>, want: &Want, revision: u64, members: &Members<'_>) -> Gap {
    let mut gap = Gap::default();
    let (have, count) = (members.standing.len(), want.count as usize);
    let missing = count.saturating_sub(have);
    let due = crash::due(members.crashes, want.count);
    let moved = missing.min(members.lost.len() + members.leaving.len());
    let mut counts = Counts::default();
    for claim in &members.standing {
        counts.add(draft.cell, claim.host);
    }
    let mut lost = members.lost.iter();
    for n in 0..missing {
        if n >= moved && draft.now < due {
            draft.wake_at(due, &target.key.app);
            gap.waits = true;
            break;
        }
        if draft.full(&target.key.app) {
            break;
        }
        match placement::choose(draft, &want.template, &counts) {
            Ok(host) => {
                counts.add(draft.cell, host);
                let mut steps = Vec::new();
                let mut why = Why::Missing { have: small(have + n), want: want.count };
                if let Some(claim) = lost.next() {
                    why = Why::HostLost(draft.cell.host(claim.host).id.clone());
                    steps.extend(end_lost(draft, claim).unwrap_or_default());
                }
                steps.push(place(draft, target, want, revision, host, why));
                draft.propose(steps);
            }
            Err(refusal) => {
                gap.blocked = small(missing - n);
                gap.refusal = Some(refusal);
                break;
            }
        }
    }
    gap
}

fn each_host(draft: &mut Draft<'_>, target: &Target<'_>, want: &Want, revision: u64, members: &Members<'_>) -> Gap {
    let mut gap = Gap::default();
    let mut by_host: BTreeMap<HostIx, Vec<&ClaimEntry>> = BTreeMap::new();
    for claim in &members.standing {
        by_host.entry(claim.host).or_default().push(claim);
    }
    for claim in &members.leaving {
        let host = draft.cell.host(claim.host).id.clone();
        stop(draft, claim, Why::Leaving(host));
    }
    // A host that is only away finds its jobs again. One that was removed will not come for them.
    for claim in members.lost.iter().filter(|claim| draft.cell.host(claim.host).record.is_none()) {
        if let Some(steps) = end_lost(draft, claim) {
            draft.propose(steps);
        }
    }
    let due = crash::due(members.crashes, want.count);
    let cell = draft.cell;
    for ix in cell.zones().values().flatten().copied() {
        let host = cell.host(ix);
        let here = by_host.remove(&ix).unwrap_or_default();
        surplus(draft, &here, want.count as usize);
        let open = host.standing(draft.now) == Standing::Open && host.has_tags(&want.template.tags);
        for have in small(here.len())..if open { want.count } else { 0 } {
            if draft.now < due {
                draft.wake_at(due, &target.key.app);
                gap.waits = true;
            } else if let Err(refusal) = placement::accepts(draft, &want.template, ix) {
                gap.blocked += 1;
                gap.refusal = Some(refusal);
            } else if !draft.full(&target.key.app) {
                let step = place(draft, target, want, revision, ix, Why::Missing { have, want: want.count });
                draft.propose(alloc::vec![step]);
            }
        }
    }
    gap
}

fn place(draft: &mut Draft<'_>, target: &Target<'_>, want: &Want, revision: u64, host: HostIx, why: Why) -> Step {
    draft.take(host, &want.template.spec);
    let release = target.key.release.clone().expect("a target with a want is of a formation, which has a release");
    let source = Source::Formation {
        app: target.key.app.clone(),
        release,
        process_type: target.key.process_type.clone(),
        revision,
    };
    let job = draft.job_on(host);
    let host = draft.cell.host(host).id.clone();
    Step { action: Action::Place { source, spec: want.template.spec.clone(), host, job }, why }
}

/// Stop what is too much: first what is not up, then the newest.
fn surplus(draft: &mut Draft<'_>, standing: &[&ClaimEntry], count: usize) {
    let have = standing.len();
    if have <= count {
        return;
    }
    let mut order: Vec<&ClaimEntry> = standing.to_vec();
    order.sort_by(|a, b| {
        let rank = |claim: &ClaimEntry| (claim.phase == Phase::Up, core::cmp::Reverse(claim.created_ms));
        rank(a).cmp(&rank(b)).then_with(|| a.job.cmp(&b.job))
    });
    for claim in order.into_iter().take(have - count) {
        stop(draft, claim, Why::Surplus { have: small(have), want: small(count) });
    }
}

fn stop(draft: &mut Draft<'_>, claim: &ClaimEntry, why: Why) {
    let app = draft.cell.group(claim.group).key.app.clone();
    if draft.full(&app) {
        return;
    }
    let host = draft.cell.host(claim.host).id.clone();
    let action = Action::Stop { host, job: claim.job.clone(), revision: claim.revision, order: StopOrder::Drain };
    draft.propose(alloc::vec![Step { action, why }]);
}

fn trouble(target: &Target<'_>, want: &Want, members: &Members<'_>, gap: &Gap, troubles: &mut Troubles) {
    if gap.blocked == 0 && !gap.waits {
        return;
    }
    let Some(release) = target.key.release.clone() else { return };
    let wait = crash::wait(members.crashes, want.count);
    let trouble = ProcessTrouble {
        blocked: gap.blocked,
        reason: gap.refusal.map_or_else(String::new, |refusal| refusal.to_string()),
        crashes: members.crashes.count,
        backoff_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    };
    let formation = troubles.entry((target.key.app.clone(), release)).or_default();
    formation.insert(target.key.process_type.clone(), trouble);
}

/// Say what changed about troubles. What is blocked while this very plan makes room is told after the next one.
fn report(draft: &mut Draft<'_>, apps: &BTreeSet<AppId>, troubles: Troubles) {
    let cell = draft.cell;
    for trouble in apps.iter().flat_map(|app| cell.troubles_of(app)) {
        let key = (trouble.app.clone(), trouble.release.clone());
        if !troubles.contains_key(&key) {
            let action = Action::Clear { app: key.0, release: key.1 };
            draft.propose(alloc::vec![Step { action, why: Why::Changed }]);
        }
    }
    for ((app, release), processes) in troubles {
        let trouble = FormationTrouble { app, release, processes };
        let only_blocked = trouble.processes.values().all(|process| process.backoff_ms == 0);
        if (only_blocked && draft.frees()) || cell.trouble(&trouble.app, &trouble.release) == Some(&trouble) {
            continue;
        }
        let why = trouble.processes.values().find(|process| process.blocked > 0);
        let why = why.map_or(Why::Changed, |process| Why::Blocked(process.reason.clone()));
        draft.propose(alloc::vec![Step { action: Action::Report(alloc::boxed::Box::new(trouble)), why }]);
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
