use std::collections::BTreeMap;
use std::path::Path;

use scheduler_core::Change;
use types::cell::{OneOff, OneOffState};

use super::*;

#[test]
fn scheduler_that_does_not_act_waits_for_events_alone() {
    let options =
        Options { run_dir: PathBuf::new(), job: "h1-00000001".parse().unwrap(), name: "scheduler".to_owned() };
    let mut scheduler = Scheduler::new(&options, StoreClient::new(Path::new("none.sock")), LeaseId(1));
    scheduler.take(Event::Watch(WatchEvent::Reset { records: Vec::new(), revision: 1 }));
    let spec = serde_json::from_value(serde_json::json!({
        "app": "blog", "app_name": "blog", "process_type": "run", "lifecycle": "batch", "args": ["true"],
    }));
    let one_off = OneOff {
        id: OneOff::request_id("00000001"),
        spec: spec.unwrap(),
        tags: BTreeMap::new(),
        wait_ms: 1,
        stop: None,
        state: OneOffState::Blocked { reason: String::new() },
        created_ms: 0,
    };
    let now = os::clock::now();
    scheduler.view.apply(now, Change::OneOff { revision: 1, one_off: Box::new(one_off) });
    scheduler.view.plan(now, &mut scheduler.rng);
    assert!(scheduler.view.deadline().is_some(), "it once planned something for later");
    assert_eq!(scheduler.due(), None, "who acts now will do it");
}
