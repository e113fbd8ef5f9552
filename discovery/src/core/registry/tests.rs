use super::*;

fn entry(service: &str, job: &str, state: InstanceState, since: u64) -> Entry {
    let instance = Instance {
        service: ServiceName::parse(service).unwrap(),
        job: JobId::parse(job).unwrap(),
        app: None,
        address: "10.0.0.2:5000".into(),
        state,
        meta: BTreeMap::new(),
    };
    Entry { instance, since }
}

fn leader(registry: &Registry) -> Option<&str> {
    let blog = ServiceName::parse("blog-web").unwrap();
    registry.leader(&blog).map(|entry| entry.instance.job.as_str())
}

fn gone(job: &str) -> Event {
    Event::Gone { service: ServiceName::parse("blog-web").unwrap(), job: JobId::parse(job).unwrap() }
}

#[test]
fn leader_is_the_oldest_that_takes_requests() {
    use InstanceState::{Draining, Up};
    let mut registry = Registry::new();
    assert_eq!(leader(&registry), None);
    registry.apply(Event::Put(entry("blog-web", "h-b", Up, 7)));
    registry.apply(Event::Put(entry("blog-web", "h-a", Up, 9)));
    assert_eq!(leader(&registry), Some("h-b"));
    registry.apply(Event::Put(entry("blog-web", "h-b", Draining, 7)));
    assert_eq!(leader(&registry), Some("h-a"));
    registry.apply(Event::Put(entry("blog-web", "h-b", Up, 7)));
    assert_eq!(leader(&registry), Some("h-b"), "age is that of the first registration");
    registry.apply(gone("h-b"));
    assert_eq!(leader(&registry), Some("h-a"));
}

#[test]
fn service_is_known_while_it_has_an_instance() {
    let mut registry = Registry::new();
    let blog = ServiceName::parse("blog-web").unwrap();
    registry.apply(Event::Put(entry("blog-web", "h-a", InstanceState::Draining, 1)));
    assert!(registry.knows(&blog));
    assert_eq!(registry.up(&blog).count(), 0);
    registry.apply(gone("h-a"));
    assert!(!registry.knows(&blog));
    registry.apply(gone("h-a"));
}

#[test]
fn reset_forgets_what_was_known() {
    let mut registry = Registry::new();
    registry.apply(Event::Put(entry("blog-web", "h-a", InstanceState::Up, 1)));
    registry.apply(Event::Reset(vec![entry("shop-web", "h-c", InstanceState::Up, 2)]));
    let names: Vec<&str> = registry.services().map(ServiceName::as_str).collect();
    assert_eq!(names, ["shop-web"]);
}
