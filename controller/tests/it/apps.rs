//! Apps, releases, artifacts, routes and keys as objects.

use api::CallError;
use api::client::Body;
use api::controller::{self as endpoints, MetaUpdate, NewApp, NewRelease, NewRoute, NewSshKey, ReleaseChoice};
use http1::Method;
use types::Code;

use crate::world::{World, map, refusal};

#[test]
fn app_lives_from_its_name_to_its_end() {
    let world = World::new();
    let app = world.app("blog");
    let by_id = world.client.call(&endpoints::APP, &[app.id.as_str()], &()).unwrap();
    assert_eq!((by_id.name.as_str(), by_id.release), ("blog", None));
    let routes = world.client.call(&endpoints::ROUTES, &["blog"], &()).unwrap();
    assert_eq!((routes[0].domain.as_str(), routes[0].service.as_str()), ("blog.example.org", "blog-web"));

    let taken = refusal(world.client.call(
        &endpoints::APP_CREATE,
        &[],
        &NewApp { name: Some("blog".into()), ..NewApp::default() },
    ));
    assert_eq!((taken.code, taken.message.as_str()), (Code::ObjectExists, "app name blog is taken"));
    let invalid = refusal(world.client.call(
        &endpoints::APP_CREATE,
        &[],
        &NewApp { name: Some("Blog!".into()), ..NewApp::default() },
    ));
    assert_eq!(invalid.code, Code::Validation);
    assert!(invalid.message.starts_with("name \"Blog!\" is not valid"), "{invalid}");

    let named = world.client.call(&endpoints::APP_CREATE, &[], &NewApp::default()).unwrap();
    assert_eq!(named.name.as_str().split('-').count(), 3, "{}", named.name);
    let names: Vec<String> =
        world.client.call(&endpoints::APPS, &[], &()).unwrap().iter().map(|app| app.name.to_string()).collect();
    assert!(names.is_sorted() && names.len() == 2);

    let release = world.release("blog", &["web"], &[]);
    world.ended(&world.deploy("blog", &release).unwrap());
    world.wait_up("blog", &release, 1);
    let deleted = world.client.call(&endpoints::APP_DELETE, &["blog"], &()).unwrap();
    assert_eq!((deleted.routes, deleted.releases, deleted.jobs), (1, 1, 1));
    assert_eq!(refusal(world.client.call(&endpoints::APP, &["blog"], &())).code, Code::NotFound);
    assert!(world.client.call(&endpoints::RELEASES, &[], &()).unwrap().is_empty());
    testkit::wait_until("its jobs to end", crate::world::LIMIT, || {
        world.client.call(&endpoints::ACTIVE_JOBS, &[], &()).unwrap().is_empty().then_some(())
    });
    let again = world.app("blog");
    assert_ne!(again.id, app.id);
    assert!(world.client.call(&endpoints::DEPLOYMENTS, &["blog"], &()).unwrap().is_empty());
}

#[test]
fn app_with_many_routes_is_deleted() {
    let world = World::new();
    world.app("blog");
    for number in 0..70 {
        let new = NewRoute { domain: format!("n{number}.example.com"), ..NewRoute::default() };
        world.client.call(&endpoints::ROUTE_CREATE, &["blog"], &new).unwrap();
    }
    let deleted = world.client.call(&endpoints::APP_DELETE, &["blog"], &()).unwrap();
    assert_eq!(deleted.routes, 71);
    assert!(world.client.call(&endpoints::ALL_ROUTES, &[], &()).unwrap().is_empty());
    world.app("blog");
}

#[test]
fn app_is_changed_field_by_field() {
    let world = World::new();
    world.app("blog");
    let change =
        NewApp { strategy: Some(types::app::Strategy::OneByOne), deploy_timeout: Some(7), ..NewApp::default() };
    let app = world.client.call(&endpoints::APP_UPDATE, &["blog"], &change).unwrap();
    assert_eq!((app.strategy, app.deploy_timeout), (types::app::Strategy::OneByOne, 7));
    let meta = MetaUpdate { meta: map(&[("team", "red")]) };
    assert_eq!(world.client.call(&endpoints::APP_META, &["blog"], &meta).unwrap().meta["team"], "red");
    let none = world.client.call(&endpoints::APP_META, &["blog"], &MetaUpdate::default()).unwrap();
    assert!(none.meta.is_empty());
    let system = MetaUpdate { meta: map(&[(types::app::META_SYSTEM_APP, "true")]) };
    let error = refusal(world.client.call(&endpoints::APP_META, &["blog"], &system));
    assert!(error.message.starts_with("meta.slipway-system-app"), "{error}");
    let wrong = NewApp { deploy_timeout: Some(0), ..NewApp::default() };
    assert!(
        refusal(world.client.call(&endpoints::APP_UPDATE, &["blog"], &wrong)).message.starts_with("deploy_timeout")
    );
}

/// What Flynn's clients rely on: nulls, a bare 404, JSON with every request.
#[test]
fn flynn_clients_get_what_they_expect() {
    let world = World::new();
    let send = |method: Method, path: &str, body: &str| {
        world.client.request(&method, path, &[("Content-Type", "application/json")], Body::Bytes(body.as_bytes()))
    };
    send(Method::Post, "/apps", r#"{"name":"blog","meta":null}"#).unwrap();
    let missing = send(Method::Get, "/apps/blog/release", "null").unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    let CallError::Refused(error) = &missing else { panic!("{missing}") };
    assert!(error.hint.is_none() && error.message.contains("404"), "the body is empty: {error}");
    let release =
        r#"{"app_id":"blog","artifacts":null,"env":{"A":"1"},"meta":null,"processes":null,"created_at":null}"#;
    send(Method::Post, "/releases", release).unwrap();
    let releases = world.client.call(&endpoints::APP_RELEASES, &["blog"], &()).unwrap();
    assert_eq!(releases[0].version, 1);
    let body = format!(r#"{{"id":"{}"}}"#, releases[0].id);
    send(Method::Post, "/apps/blog/deploy", &body).unwrap();
    assert_eq!(world.client.call(&endpoints::APP_RELEASE, &["blog"], &()).unwrap().env["A"], "1");
    let formation = format!("/apps/blog/formations/{}", releases[0].id);
    assert!(send(Method::Get, &formation, "").unwrap_err().is_not_found());
    let syntax = refusal(send(Method::Post, "/apps", "{\"name\":"));
    assert_eq!(syntax.code, Code::Syntax);
    let kind = refusal(send(Method::Post, "/apps", r#"{"name":7}"#));
    assert_eq!(kind.code, Code::Validation, "{kind}");
}

#[test]
fn releases_are_numbered_and_checked() {
    let world = World::new();
    world.app("blog");
    let first = world.release("blog", &["web"], &[]);
    let second = world.release("blog", &["web"], &[("A", "1")]);
    assert_eq!((first.version, second.version), (1, 2));
    let choice = ReleaseChoice { id: "v1".into() };
    assert_eq!(world.client.call(&endpoints::APP_RELEASE_SET, &["blog"], &choice).unwrap().id, first.id);
    let current = refusal(world.client.call(&endpoints::RELEASE_DELETE, &["blog", first.id.as_str()], &()));
    assert_eq!((current.code, current.message.as_str()), (Code::Conflict, "release v1 is current"));
    world.client.call(&endpoints::RELEASE_DELETE, &["blog", "v2"], &()).unwrap();
    assert_eq!(world.release("blog", &["web"], &[]).version, 3, "a number is never given twice");

    let make = |new: NewRelease| refusal(world.client.call(&endpoints::RELEASE_CREATE, &[], &new)).message;
    let of = |app: &str| NewRelease { app_id: app.into(), ..NewRelease::default() };
    assert!(make(of("")).starts_with("app_id is needed"));
    assert!(make(of("nope")).contains("\"nope\" not found"));
    let bad = make(NewRelease { env: map(&[("1A", "secret")]), ..of("blog") });
    assert!(bad.starts_with("env name") && !bad.contains("secret"), "{bad}");
    assert!(
        make(NewRelease { artifacts: vec!["nothing".into()], ..of("blog") }).starts_with("artifacts names nothing")
    );
    let thief =
        types::app::ProcessSpec { service: Some("other-web".parse().unwrap()), ..types::app::ProcessSpec::default() };
    let stolen = make(NewRelease { processes: [("web".parse().unwrap(), thief)].into(), ..of("blog") });
    assert!(stolen.starts_with("processes.web.service must begin with blog-"), "{stolen}");
}

#[test]
fn routes_have_one_owner() {
    let world = World::new();
    world.app("blog");
    world.app("shop");
    let new = |domain: &str, path: &str| NewRoute { domain: domain.into(), path: path.into(), ..NewRoute::default() };
    let add = |app: &str, route: &NewRoute| world.client.call(&endpoints::ROUTE_CREATE, &[app], route);
    let route = add("blog", &new("WWW.Example.com", "")).unwrap();
    assert_eq!((route.domain.as_str(), route.path.as_str()), ("www.example.com", "/"));
    let duplicate = refusal(add("shop", &new("www.example.com", "/")));
    assert_eq!(duplicate.code, Code::Conflict);
    assert_eq!(duplicate.message, "Duplicate route: www.example.com/ is used by app blog");
    assert!(refusal(add("shop", &new("other.example.com", "/api"))).message.starts_with("path /api/ needs a route"));
    let below = add("shop", &new("www.example.com", "/api")).unwrap();
    assert_eq!(
        refusal(world.client.call(&endpoints::ROUTE_DELETE, &["blog", "http", route.id.as_str()], &())).code,
        Code::Conflict
    );
    assert_eq!(
        refusal(world.client.call(&endpoints::ROUTE, &["blog", "http", below.id.as_str()], &())).code,
        Code::NotFound
    );
    let moved = NewRoute { service: "shop-api".into(), ..NewRoute::default() };
    let moved = world.client.call(&endpoints::ROUTE_UPDATE, &["shop", "http", below.id.as_str()], &moved).unwrap();
    assert_eq!(moved.service.as_str(), "shop-api");
    world.client.call(&endpoints::ROUTE_DELETE, &["shop", "http", below.id.as_str()], &()).unwrap();
    world.client.call(&endpoints::ROUTE_DELETE, &["blog", "http", route.id.as_str()], &()).unwrap();
    add("shop", &new("www.example.com", "/")).unwrap();
    assert_eq!(world.client.call(&endpoints::ALL_ROUTES, &[], &()).unwrap().len(), 3);
    assert!(refusal(add("shop", &new("not a domain", "/"))).message.starts_with("domain"));
}

/// `shop-api-web` is the type `api-web` of `shop` and the type `web` of `shop-api`.
#[test]
fn service_has_one_owner() {
    let world = World::new();
    let create = |name: &str| {
        let new = NewApp { name: Some(name.into()), ..NewApp::default() };
        world.client.call(&endpoints::APP_CREATE, &[], &new)
    };
    let release = |app: &str, kind: &str, service: Option<&str>| {
        let service = service.map(|service| service.parse().unwrap());
        let spec = types::app::ProcessSpec { service, ..types::app::ProcessSpec::default() };
        let processes = [(kind.parse().unwrap(), spec)].into();
        let new = NewRelease { app_id: app.into(), processes, ..NewRelease::default() };
        world.client.call(&endpoints::RELEASE_CREATE, &[], &new)
    };
    create("shop").unwrap();
    create("shop-api").unwrap();
    for stolen in [release("shop", "api-web", None), release("shop", "worker", Some("shop-api-web"))] {
        let stolen = refusal(stolen);
        assert_eq!(stolen.code, Code::ObjectExists);
        assert_eq!(stolen.message, "service shop-api-web belongs to app shop-api");
        assert!(stolen.hint.is_some());
    }
    assert_eq!(world.client.call(&endpoints::APP_RELEASES, &["shop"], &()).unwrap().len(), 0);
    release("shop", "admin-web", None).unwrap();
    release("shop", "admin-web", None).unwrap();
    let late = refusal(create("shop-admin"));
    assert_eq!(late.code, Code::ObjectExists);
    assert_eq!(late.message, "app name shop-admin cannot be had: shop-admin-web is a service of app shop");

    let route = |service: &str| {
        let new = NewRoute { domain: "x.example.com".into(), service: service.into(), ..NewRoute::default() };
        world.client.call(&endpoints::ROUTE_CREATE, &["shop"], &new)
    };
    assert_eq!(refusal(route("shop-api-web")).code, Code::ObjectExists);
    assert_eq!(refusal(route("other-web")).code, Code::Validation);
    assert_eq!(route("shop-admin-web").unwrap().service.as_str(), "shop-admin-web");
    world.client.call(&endpoints::APP_DELETE, &["shop-api"], &()).unwrap();
    release("shop", "api-web", None).unwrap();
    world.client.call(&endpoints::APP_DELETE, &["shop"], &()).unwrap();
    create("shop-admin").unwrap();
}

#[test]
fn port_is_the_platforms() {
    let world = World::new();
    world.app("blog");
    let new = NewRelease { app_id: "blog".into(), env: map(&[("PORT", "1")]), ..NewRelease::default() };
    let error = refusal(world.client.call(&endpoints::RELEASE_CREATE, &[], &new));
    assert!(error.code == Code::Validation && error.message.starts_with("env.PORT is set by"), "{error}");
}

#[test]
fn keys_are_found_by_fingerprint() {
    let world = World::new();
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIESipcTay8xfNMdGOIcDMpbcenWU4spQZbx/QLjOL2KG me@laptop";
    let key = world.client.call(&endpoints::KEY_CREATE, &[], &NewSshKey { key: line.into() }).unwrap();
    let again = world.client.call(&endpoints::KEY_CREATE, &[], &NewSshKey { key: line.into() }).unwrap();
    assert_eq!(key, again);
    for name in [key.id.as_str(), "SHA256:qTbkXyROjORut67rhBbboHMlyHs7HgekVh1sRIyZPOU"] {
        assert_eq!(world.client.call(&endpoints::KEY, &[name], &()).unwrap(), key);
    }
    for name in ["SHA256:unknown", "SHA256:qTbkXyROjORut67rhBbboHMlyHs7HgekVh1sRIyZPOX", "x", "../apps"] {
        assert_eq!(refusal(world.client.call(&endpoints::KEY, &[name], &())).code, Code::NotFound, "{name}");
    }
    world.client.call(&endpoints::KEY_DELETE, &[key.id.as_str()], &()).unwrap();
    assert!(world.client.call(&endpoints::KEYS, &[], &()).unwrap().is_empty());
}
