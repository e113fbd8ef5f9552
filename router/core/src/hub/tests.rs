use super::*;

fn instance(id: &str, port: u16, draining: bool) -> Instance {
    let service = ServiceName::parse("web").unwrap();
    Instance { service, id: id.into(), addr: SocketAddr::from(([10, 0, 0, 1], port)), draining }
}

fn hub() -> Hub {
    let mut hub = Hub::new(Rng::new(7));
    let route = Route {
        id: RouteId::parse("r1").unwrap(),
        kind: "http".into(),
        parent_ref: String::new(),
        service: ServiceName::parse("web").unwrap(),
        domain: "h".into(),
        path: "/".into(),
        created_at: None,
        updated_at: None,
    };
    hub.apply(Change::Route(route), &mut Vec::new());
    hub
}

#[test]
fn progress_holds_back_until_the_draining_backend_is_idle() {
    let (mut hub, mut retired) = (hub(), Vec::new());
    assert_eq!(hub.open(Instant::START, "h", "/", &[]), Err(Unroutable::NoBackend));
    assert_eq!(hub.open(Instant::START, "x", "/", &[]), Err(Unroutable::NoRoute));
    hub.apply(Change::Instance(instance("old", 1, false), 5), &mut retired);
    hub.apply(Change::Seen(5), &mut retired);
    assert_eq!(hub.progress(), Progress { seen: 5, drained: 5 });
    let held = hub.open(Instant::START, "h", "/", &[]).unwrap();
    hub.apply(Change::Instance(instance("new", 2, false), 6), &mut retired);
    assert!(retired.is_empty());
    hub.apply(Change::Instance(instance("old", 1, true), 8), &mut retired);
    hub.apply(Change::Seen(8), &mut retired);
    assert_eq!(retired, [held.backend]);
    assert_eq!(hub.progress(), Progress { seen: 8, drained: 7 });
    let other = hub.open(Instant::START, "h", "/", &[]).unwrap();
    assert_ne!(other.backend, held.backend);
    assert!(!hub.close(Instant::START, held.backend, Outcome::Done));
    assert_eq!(hub.progress(), Progress { seen: 8, drained: 8 });
    assert!(hub.close(Instant::START, other.backend, Outcome::Done));
}

#[test]
fn seen_never_goes_back() {
    let mut hub = hub();
    hub.apply(Change::Seen(9), &mut Vec::new());
    hub.apply(Change::Seen(4), &mut Vec::new());
    assert_eq!(hub.progress().seen, 9);
}
