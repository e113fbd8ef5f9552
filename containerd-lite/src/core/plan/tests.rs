use std::collections::BTreeMap;
use std::fmt::Write as _;

use types::host::{Claim, StopOrder};
use types::{HostId, JobId};

use super::{Observed, plan};
use crate::test_spec;

fn claim(id: &str, priority: u8, stop: Option<StopOrder>) -> (JobId, Claim) {
    let job = JobId::parse(id).unwrap();
    let mut spec = test_spec();
    spec.priority = priority;
    (job.clone(), Claim { job, host: HostId::parse("h").unwrap(), spec, stop, created_ms: 0 })
}

fn job(id: &str, stop: Option<StopOrder>) -> (JobId, Observed) {
    (JobId::parse(id).unwrap(), Observed { stop, forgotten: false })
}

fn planned(claims: &[(JobId, Claim)], jobs: &[(JobId, Observed)]) -> String {
    let claims: BTreeMap<_, _> = claims.iter().cloned().collect();
    let jobs: BTreeMap<_, _> = jobs.iter().cloned().collect();
    plan(&claims, &jobs).iter().fold(String::new(), |mut text, action| {
        write!(text, "{action:?} ").unwrap();
        text
    })
}

#[test]
fn plan_of_equal_sides_is_empty() {
    let stop = Some(StopOrder::Drain);
    assert_eq!(planned(&[claim("h-a", 5, None), claim("h-b", 5, stop)], &[job("h-a", None), job("h-b", stop)]), "");
}

#[test]
fn plan_begins_the_platform_first() {
    let claims = [claim("h-a", 50, None), claim("h-b", 0, None), claim("h-c", 20, None)];
    assert_eq!(planned(&claims, &[]), r#"Create(JobId("h-b")) Create(JobId("h-c")) Create(JobId("h-a")) "#);
}

#[test]
fn plan_ends_before_it_begins() {
    let claims = [claim("h-a", 0, None), claim("h-b", 5, Some(StopOrder::Kill))];
    assert_eq!(
        planned(&claims, &[job("h-b", Some(StopOrder::Drain)), job("h-gone", None)]),
        r#"Stop(JobId("h-b"), Kill) Forget(JobId("h-gone")) Create(JobId("h-a")) "#
    );
}

#[test]
fn plan_never_softens_a_stop() {
    assert_eq!(planned(&[claim("h-a", 5, Some(StopOrder::Drain))], &[job("h-a", Some(StopOrder::Kill))]), "");
}

#[test]
fn plan_of_a_new_claim_that_is_to_stop_creates_it_to_record_its_end() {
    assert_eq!(
        planned(&[claim("h-a", 5, Some(StopOrder::Drain))], &[]),
        r#"Create(JobId("h-a")) Stop(JobId("h-a"), Drain) "#
    );
}
