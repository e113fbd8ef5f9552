use alloc::collections::BTreeMap;
use alloc::format;

use super::*;

fn service() -> ServiceName {
    ServiceName::parse("web").unwrap()
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn with(count: u16) -> Balance {
    let mut balance = Balance::new();
    for port in 1..=count {
        assert_eq!(balance.put(&service(), &format!("i{port}"), addr(port), BackendState::Up), None);
    }
    balance
}

#[test]
fn open_spreads_by_in_flight() {
    let (mut balance, mut rng) = (with(4), Rng::new(1));
    for _ in 0..400 {
        balance.open(Instant::START, &service(), &[], &mut rng).unwrap();
    }
    let loads: Vec<u64> = balance.iter().map(|(_, backend)| backend.in_flight).collect();
    assert!(loads.iter().all(|load| (95..=105).contains(load)), "two choices keep the loads close: {loads:?}");
}

#[test]
fn open_passes_over_tried_and_refused() {
    let (mut balance, mut rng) = (with(3), Rng::new(1));
    let mut tried = Vec::new();
    for _ in 0..3 {
        let (id, _) = balance.open(Instant::START, &service(), &tried, &mut rng).unwrap();
        assert!(!tried.contains(&id));
        tried.push(id);
    }
    assert_eq!(balance.open(Instant::START, &service(), &tried, &mut rng), None);
    let now = Instant::from_millis(10);
    balance.refused(now, tried[0]);
    for _ in 0..50 {
        assert_ne!(balance.open(now, &service(), &[], &mut rng).unwrap().0, tried[0]);
    }
    let later = now.after(EJECT_FIRST);
    let mut seen = BTreeMap::new();
    for _ in 0..50 {
        *seen.entry(balance.open(later, &service(), &[], &mut rng).unwrap().0).or_insert(0) += 1;
    }
    assert!(seen.contains_key(&tried[0]), "it comes back after its time");
    tried.iter().for_each(|id| balance.refused(later, *id));
    assert!(balance.open(later, &service(), &[], &mut rng).is_some(), "all ejected is as good as none ejected");
}

#[test]
fn draining_reports_the_lowest_busy_revision() {
    let (mut balance, mut rng) = (with(2), Rng::new(1));
    let (one, _) = balance.open(Instant::START, &service(), &[], &mut rng).unwrap();
    let (two, _) = balance.open(Instant::START, &service(), &[one], &mut rng).unwrap();
    let name = |id| balance.get(id).map(|backend: &Backend| (backend.instance.clone(), backend.addr)).unwrap();
    let ((a, a_addr), (b, b_addr)) = (name(one), name(two));
    assert_eq!(balance.put(&service(), &a, a_addr, BackendState::Draining(7)), Some(one));
    assert_eq!(balance.put(&service(), &b, b_addr, BackendState::Draining(9)), Some(two));
    assert_eq!(balance.open(Instant::START, &service(), &[], &mut rng), None);
    assert_eq!(balance.draining_since(), Some(7));
    assert!(!balance.close(one), "its connection must not be kept");
    assert_eq!(balance.draining_since(), Some(9));
    assert_eq!(balance.remove(&service(), &b), Some(two));
    assert_eq!(balance.draining_since(), None, "nobody waits for one that is gone");
    assert!(balance.get(two).is_some());
    balance.close(two);
    assert!(balance.get(two).is_none());
}

#[test]
fn put_with_a_new_address_is_a_new_backend() {
    let (mut balance, mut rng) = (with(1), Rng::new(1));
    let (old, _) = balance.open(Instant::START, &service(), &[], &mut rng).unwrap();
    assert_eq!(balance.put(&service(), "i1", addr(99), BackendState::Up), Some(old));
    let (new, at) = balance.open(Instant::START, &service(), &[], &mut rng).unwrap();
    assert_ne!(new, old);
    assert_eq!(at, addr(99));
    balance.close(old);
    assert!(balance.get(old).is_none());
}
