use super::*;

fn at(millis: u64) -> Option<Instant> {
    Some(Instant::from_millis(millis))
}

#[test]
fn arm_later_keeps_one_entry_and_earlier_adds_one() {
    let (mut timers, mut armed) = (Timers::default(), Armed::new(7));
    timers.arm(1, &mut armed, at(10));
    timers.arm(1, &mut armed, at(50));
    timers.arm(1, &mut armed, at(5));
    assert_eq!(timers.next(), at(5));
    let (key, serial, when) = timers.pop_due(Instant::from_millis(5)).unwrap();
    assert_eq!(key, 1);
    assert!(armed.fired(serial, when));
    assert!(timers.pop_due(Instant::from_millis(5)).is_none());
    let (_, serial, when) = timers.pop_due(Instant::from_millis(99)).unwrap();
    assert!(!armed.fired(serial, when), "the entry it no longer counts on");
    assert!(timers.pop_due(Instant::from_millis(99)).is_none());
}

#[test]
fn fired_ignores_the_entry_of_a_predecessor() {
    let (mut timers, mut old) = (Timers::default(), Armed::new(1));
    timers.arm(3, &mut old, at(10));
    let mut new = Armed::new(2);
    timers.arm(3, &mut new, at(10));
    let (_, serial, when) = timers.pop_due(Instant::from_millis(10)).unwrap();
    assert_eq!(new.fired(serial, when), serial == 2);
}
