use super::*;

#[test]
fn backoff_grows_to_cap_and_resets() {
    let mut rng = Rng::new(1);
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    for attempt in 0..30u32 {
        let step = Duration::from_millis(100).saturating_mul(1 << attempt.min(10)).min(Duration::from_secs(2));
        let wait = backoff.next(&mut rng);
        assert!(wait >= step / 2 && wait <= step, "attempt {attempt}: {wait:?}");
    }
    backoff.reset();
    assert!(backoff.next(&mut rng) <= Duration::from_millis(100));
}
