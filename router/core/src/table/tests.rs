use super::*;

fn route(id: &str, domain: &str, path: &str, service: &str) -> Route {
    Route {
        id: RouteId::parse(id).unwrap(),
        kind: "http".to_owned(),
        parent_ref: String::new(),
        service: ServiceName::parse(service).unwrap(),
        domain: domain.to_owned(),
        path: path.to_owned(),
        created_at: None,
        updated_at: None,
    }
}

fn table(routes: &[(&str, &str, &str, &str)]) -> Table {
    let mut table = Table::new();
    routes.iter().for_each(|(id, domain, path, service)| table.put(route(id, domain, path, service)));
    table
}

fn check(table: &Table, host: &str, path: &str, want: Option<&str>) {
    assert_eq!(table.find(host, path).map(ServiceName::as_str), want, "{host}{path}");
}

#[test]
fn find_prefers_exact_host_then_longest_wildcard() {
    let table = table(&[
        ("r1", "a.example.com", "/", "exact"),
        ("r2", "*.example.com", "/", "wild"),
        ("r3", "*.b.example.com", "/", "deep"),
    ]);
    check(&table, "A.Example.COM", "/", Some("exact"));
    check(&table, "a.example.com.", "/", Some("exact"));
    check(&table, "c.example.com", "/", Some("wild"));
    check(&table, "x.y.example.com", "/", Some("wild"));
    check(&table, "x.b.example.com", "/", Some("deep"));
    check(&table, "b.example.com", "/", Some("wild"));
    check(&table, "example.com", "/", None);
    check(&table, ".example.com", "/", None);
    check(&table, "", "/", None);
    check(&table, "notexample.com", "/", None);
}

#[test]
fn find_prefers_longest_path_and_ends_at_segments() {
    let table = table(&[("r1", "h", "/", "root"), ("r2", "h", "/api/", "api"), ("r3", "h", "/api/v2", "v2")]);
    check(&table, "h", "/", Some("root"));
    check(&table, "h", "/apis", Some("root"));
    check(&table, "h", "/api", Some("api"));
    check(&table, "h", "/api/x", Some("api"));
    check(&table, "h", "/api/v2/x", Some("v2"));
    check(&table, "h", "*", Some("root"));
}

#[test]
fn find_falls_through_to_the_wildcard_when_no_path_of_the_host_fits() {
    let table = table(&[("r1", "a.h", "/api", "api"), ("r2", "*.h", "/", "wild")]);
    check(&table, "a.h", "/api", Some("api"));
    check(&table, "a.h", "/", Some("wild"));
}

#[test]
fn put_replaces_and_remove_leaves_the_others() {
    let mut table = table(&[("r1", "a", "/", "one"), ("r2", "a", "/", "two")]);
    check(&table, "a", "/", Some("one"));
    table.put(route("r1", "b", "/", "one"));
    check(&table, "a", "/", Some("two"));
    check(&table, "b", "/", Some("one"));
    table.remove(&RouteId::parse("r1").unwrap());
    table.remove(&RouteId::parse("r1").unwrap());
    check(&table, "b", "/", None);
    assert_eq!(table.len(), 1);
}

#[test]
fn find_ignores_other_kinds() {
    let mut table = Table::new();
    table.put(Route { kind: "tcp".to_owned(), ..route("r1", "a", "/", "one") });
    check(&table, "a", "/", None);
}
