use super::*;

const REST: Duration = Duration::from_secs(30);

fn job(n: u32) -> JobId {
    JobId::parse(&format!("host1-{n}")).unwrap()
}

fn small() -> Ipam {
    Ipam::new("10.1.0.0/29".parse().unwrap(), REST) // .2 to .6
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

fn last(address: Ipv4Addr) -> u8 {
    address.octets()[3]
}

#[test]
fn addresses_go_up_and_skip_network_gateway_and_broadcast() {
    let mut ipam = small();
    let given: Vec<u8> = (0..5).map(|n| last(ipam.allocate(at(0), &job(n)).unwrap())).collect();
    assert_eq!(given, [2, 3, 4, 5, 6]);
    assert_eq!(ipam.allocate(at(0), &job(9)), Err(Exhausted { subnet: "10.1.0.0/29".parse().unwrap() }));
}

#[test]
fn a_job_that_asks_again_gets_the_same_address() {
    let mut ipam = small();
    let first = ipam.allocate(at(0), &job(1)).unwrap();
    assert_eq!(ipam.allocate(at(5), &job(1)), Ok(first));
    assert_eq!(ipam.held().count(), 1);
}

#[test]
fn a_released_address_rests_before_another_job_gets_it() {
    let mut ipam = small();
    for n in 0..5 {
        ipam.allocate(at(0), &job(n)).unwrap();
    }
    ipam.release(at(10), &job(1)); // .3
    ipam.release(at(20), &job(3)); // .5
    // At 45 s only .3 has rested.
    assert_eq!(last(ipam.allocate(at(45), &job(7)).unwrap()), 3);
    // .5 still rests, but there is no other: better early than not at all.
    assert_eq!(last(ipam.allocate(at(45), &job(8)).unwrap()), 5);
    assert!(ipam.allocate(at(45), &job(9)).is_err());
}

#[test]
fn the_circle_goes_on_before_it_starts_again() {
    let mut ipam = small();
    for round in 0..5 {
        let address = ipam.allocate(at(0), &job(round)).unwrap();
        assert_eq!(u32::from(last(address)), 2 + round);
        ipam.release(at(0), &job(round));
    }
    assert_eq!(last(ipam.allocate(at(60), &job(9)).unwrap()), 2);
}

#[test]
fn live_addresses_are_adopted_once_and_never_given_again() {
    let mut ipam = small();
    assert!(ipam.adopt(&job(1), Ipv4Addr::new(10, 1, 0, 4)));
    assert!(ipam.adopt(&job(1), Ipv4Addr::new(10, 1, 0, 4)), "the same again is no conflict");
    assert!(!ipam.adopt(&job(2), Ipv4Addr::new(10, 1, 0, 4)), "held by another");
    assert!(!ipam.adopt(&job(1), Ipv4Addr::new(10, 1, 0, 5)), "has one");
    for foreign in [[10, 1, 0, 0], [10, 1, 0, 1], [10, 1, 0, 7], [10, 2, 0, 3]] {
        assert!(!ipam.adopt(&job(3), Ipv4Addr::from(foreign)), "{foreign:?} is not ours to give");
    }
    let given: Vec<u8> = (10..14).map(|n| last(ipam.allocate(at(0), &job(n)).unwrap())).collect();
    assert_eq!(given, [5, 6, 2, 3]);
}

#[test]
fn random_use_never_gives_one_address_to_two_jobs() {
    for seed in 0..64 {
        let mut rng = stdx::Rng::new(seed);
        let mut ipam = Ipam::new("10.1.0.0/27".parse().unwrap(), REST);
        for step in 0..2000 {
            let job = job(u32::try_from(rng.below(40)).unwrap());
            if rng.chance(1, 2) {
                let _ = ipam.allocate(at(step), &job);
            } else {
                ipam.release(at(step), &job);
            }
            let held: Vec<Ipv4Addr> = ipam.held().map(|(_, address)| address).collect();
            let distinct: BTreeSet<&Ipv4Addr> = held.iter().collect();
            assert_eq!(held.len(), distinct.len(), "seed {seed} step {step}");
            assert!(held.len() <= 29);
        }
    }
}
