use super::*;

#[test]
fn rng_same_seed_same_numbers() {
    let mut a = Rng::new(42);
    let mut b = Rng::new(42);
    assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
    assert_ne!(Rng::new(1).next_u64(), Rng::new(2).next_u64());
}

#[test]
fn rng_below_stays_below_and_reaches_all() {
    let mut rng = Rng::new(7);
    let mut seen = [0u32; 5];
    for _ in 0..1_000 {
        seen[rng.index(5)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
    assert_eq!(rng.below(0), 0);
}

#[test]
fn rng_shuffle_keeps_items() {
    let mut items = [1, 2, 3, 4, 5];
    Rng::new(3).shuffle(&mut items);
    let mut sorted = items;
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 2, 3, 4, 5]);
}
