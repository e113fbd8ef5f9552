use super::*;

fn second(n: u64) -> Instant {
    Instant::from_millis(n * 1000)
}

#[test]
fn lease_due_only_after_its_full_time() {
    let mut clock = LeaseClock::default();
    clock.lead([(1, 5), (2, 10)].into_iter(), second(100));
    assert_eq!(clock.take_due(Instant::from_millis(104_999), 10), []);
    assert_eq!(clock.take_due(second(105), 10), [1]);
    assert_eq!(clock.deadline(), Some(second(110)));
}

#[test]
fn lease_being_revoked_takes_no_keep_alive() {
    let mut clock = LeaseClock::default();
    assert!(clock.renew(1, 5, second(0)));
    assert!(clock.renew(1, 5, second(4)));
    assert_eq!(clock.take_due(second(9), 10), [1]);
    assert!(!clock.renew(1, 5, second(9)));
    clock.retry(1, second(11));
    assert_eq!(clock.take_due(second(11), 10), [1]);
    clock.forget(1);
    assert_eq!(clock.deadline(), None);
    assert_eq!(clock.remaining(1, second(11)), None);
}
