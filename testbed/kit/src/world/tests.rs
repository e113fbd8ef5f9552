use super::*;

fn lossy() -> Faults {
    Faults { lose: 100, double: 100, delay_min: Duration::from_millis(1), delay_max: Duration::from_millis(50) }
}

fn trace(seed: u64) -> Vec<(Instant, u64)> {
    let mut world = World::new(Rng::new(seed), lossy());
    for n in 0..50 {
        world.send(1, 2, n);
    }
    std::iter::from_fn(|| world.next().map(|d| (world.now(), d.message))).collect()
}

#[test]
fn world_same_seed_same_run() {
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

#[test]
fn world_time_only_grows_and_messages_overtake() {
    let seen = trace(1);
    assert!(seen.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    assert!(seen.windows(2).any(|pair| pair[0].1 > pair[1].1));
}

#[test]
fn world_parted_members_hear_nothing_until_healed() {
    let mut world = World::new(Rng::new(1), Faults::none());
    world.part(&[1, 2, 3], &[1]);
    world.send(1, 2, "lost");
    world.send(2, 3, "heard");
    assert_eq!(world.next(), Some(Delivery { from: 2, to: 3, message: "heard" }));
    assert_eq!(world.next(), None);
    world.heal();
    world.send(1, 2, "again");
    assert!(world.next().is_some());
}

#[test]
fn find_names_the_seed_of_a_bug() {
    let found = crate::find(100, |seed| if seed == 33 { Err("bug".into()) } else { Ok(()) });
    assert_eq!(found, Some((33, "bug".into())));
}
