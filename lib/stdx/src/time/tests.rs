use super::*;

#[test]
fn instant_after_and_since_are_inverse() {
    let start = Instant::from_millis(5);
    let later = start.after(Duration::from_millis(7));
    assert_eq!(later.since(start), Duration::from_millis(7));
    assert_eq!(start.since(later), Duration::ZERO);
}

#[test]
fn instant_after_forever_saturates() {
    assert_eq!(Instant::START.after(Duration::MAX).nanos(), u64::MAX);
}
