//! Routes: one owner per domain and path.

use api::controller::{Deleted, NewRoute};
use api::objects::{ROUTE_NAMES, ROUTES};
use api::serve::Call;
use api::store::StoreClient;
use controller_core::validate;
use types::app::{App, Route};
use types::{ApiError, Code, RouteId, ServiceName};

use crate::persist::{Change, json, now_text};
use crate::services;
use crate::state::Controller;
use crate::template::service_name;

pub(crate) fn parent_of(app: &App) -> String {
    format!("controller/apps/{}", app.id)
}

pub(crate) fn of_app(store: &StoreClient, app: &App) -> Result<Vec<Route>, ApiError> {
    let parent = parent_of(app);
    let (rows, _) = ROUTES.list(store, &[])?;
    let mut routes: Vec<Route> = rows.into_iter().map(|row| row.value).filter(|r| r.parent_ref == parent).collect();
    routes.sort_by(|a, b| (&a.domain, &a.path).cmp(&(&b.domain, &b.path)));
    Ok(routes)
}

pub(crate) fn all(controller: &Controller) -> Result<Vec<Route>, ApiError> {
    let (rows, _) = ROUTES.list(&controller.store, &[])?;
    let mut routes: Vec<Route> = rows.into_iter().map(|row| row.value).collect();
    routes.sort_by(|a, b| (&a.domain, &a.path).cmp(&(&b.domain, &b.path)));
    Ok(routes)
}

pub(crate) fn list(controller: &Controller, call: &Call) -> Result<Vec<Route>, ApiError> {
    of_app(&controller.store, &controller.app(call.param(0))?.value)
}

fn name_key(domain: &str, path: &str) -> String {
    api::endpoint::percent_encode(&format!("{domain}{path}"))
}

/// Add `NAME.DOMAIN` to the change that makes an app. A domain that somebody else routes already is theirs.
pub(crate) fn add_default(controller: &Controller, change: Change, app: &App) -> Result<Change, ApiError> {
    let domain = format!("{}.{}", app.name, controller.domain);
    if ROUTE_NAMES.get(&controller.store, &[&name_key(&domain, "/")])?.is_some() {
        log::warn!(app:% = app.name, domain:% = domain; "default route is taken; the app gets none");
        return Ok(change);
    }
    let Some(service) = service_name(app, "web") else { return Ok(change) };
    Ok(add(change, app, &new_route(app, service, domain, String::from("/"))))
}

fn new_route(app: &App, service: ServiceName, domain: String, path: String) -> Route {
    let now = Some(now_text());
    Route {
        id: RouteId::parse(&os::entropy::uuid()).expect("a UUID is an id"),
        kind: "http".into(),
        parent_ref: parent_of(app),
        service,
        domain,
        path,
        created_at: now.clone(),
        updated_at: now,
    }
}

fn add(change: Change, app: &App, route: &Route) -> Change {
    change
        .with(|txn| ROUTES.put_in(txn, &[route.id.as_str()], route))
        .with(|txn| ROUTE_NAMES.put_in(txn, &[&name_key(&route.domain, &route.path)], &route.id))
        .tell(Some(&app.id), "route", route.id.as_str(), json(route))
}

/// Remove a route as a part of a change.
pub(crate) fn remove(change: Change, app: &App, route: &Route) -> Change {
    change
        .with(|txn| txn.delete(&ROUTES.key(&[route.id.as_str()])))
        .with(|txn| txn.delete(&ROUTE_NAMES.key(&[&name_key(&route.domain, &route.path)])))
        .tell(Some(&app.id), "route_deletion", route.id.as_str(), json(route))
}

fn check_kind(kind: &str) -> Result<(), ApiError> {
    match kind {
        "" | "http" => Ok(()),
        "tcp" => Err(ApiError::invalid("type", "must be http; tcp routes are not there yet")),
        _ => Err(ApiError::invalid("type", "must be http")),
    }
}

fn service_of(app: &App, text: &str) -> Result<ServiceName, ApiError> {
    let default = || service_name(app, "web").ok_or_else(|| ApiError::invalid("service", "is needed"));
    if text.is_empty() {
        return default();
    }
    let service = ServiceName::parse(text).map_err(|error| ApiError::invalid("service", &error.to_string()))?;
    if !services::may_claim(app, &service) {
        let error = ApiError::invalid("service", &format!("{text} is none of app {}: they begin with {0}-", app.name));
        return Err(error.hint("add the route to the app that offers the service"));
    }
    Ok(service)
}

pub(crate) fn create(controller: &Controller, call: &Call, new: &NewRoute) -> Result<Route, ApiError> {
    check_kind(&new.kind)?;
    let (domain, path) = (validate::domain(&new.domain)?, validate::path(&new.path)?);
    let (route, _) = controller.writer.commit(|| {
        let app = controller.app(call.param(0))?.value;
        if let Some(taken) = ROUTE_NAMES.get(&controller.store, &[&name_key(&domain, &path)])? {
            return Err(duplicate(controller, &domain, &path, &taken.value)?);
        }
        if path != "/" && ROUTE_NAMES.get(&controller.store, &[&name_key(&domain, "/")])?.is_none() {
            let error = ApiError::invalid("path", &format!("{path} needs a route for {domain} itself"));
            return Err(error.hint(format!("slipway routes add {domain} --app {}", app.name)));
        }
        let service = service_of(&app, &new.service)?;
        let change = services::claim(&controller.store, Change::new(), &app, [service.clone()])?;
        let route = new_route(&app, service, domain.clone(), path.clone());
        Ok((add(change, &app, &route), route))
    })?;
    log::info!(domain:% = route.domain, path:% = route.path, service:% = route.service; "route added");
    Ok(route)
}

fn duplicate(controller: &Controller, domain: &str, path: &str, id: &RouteId) -> Result<ApiError, ApiError> {
    let route = ROUTES.get(&controller.store, &[id.as_str()])?;
    let owner = route.and_then(|row| {
        let app = row.value.parent_ref.strip_prefix("controller/apps/").map(str::to_owned)?;
        controller.app(&app).ok().map(|row| row.value.name.to_string())
    });
    let owner = owner.map(|name| format!(" by app {name}")).unwrap_or_default();
    let error = ApiError::new(Code::Conflict, format!("Duplicate route: {domain}{path} is used{owner}"));
    Ok(error.hint("remove that route first, or use another domain or path"))
}

fn find(controller: &Controller, call: &Call) -> Result<(App, Route), ApiError> {
    let app = controller.app(call.param(0))?.value;
    let missing = || ApiError::not_found("route", call.param(2)).hint("slipway routes lists those of the app");
    let row = match call.param(2).contains('/') {
        true => None,
        false => ROUTES.get(&controller.store, &[call.param(2)])?,
    };
    let route = row.ok_or_else(missing)?.value;
    let here = route.parent_ref == parent_of(&app) && route.kind == call.param(1);
    if here { Ok((app, route)) } else { Err(missing()) }
}

pub(crate) fn one(controller: &Controller, call: &Call) -> Result<Route, ApiError> {
    Ok(find(controller, call)?.1)
}

pub(crate) fn update(controller: &Controller, call: &Call, new: &NewRoute) -> Result<Route, ApiError> {
    check_kind(&new.kind)?;
    let (route, _) = controller.writer.commit(|| {
        let (app, mut route) = find(controller, call)?;
        let other = |text: &str, now: &str| !text.is_empty() && text != now;
        if other(&new.domain, &route.domain) || other(&new.path, &route.path) {
            return Err(ApiError::invalid("domain", "and path cannot be changed: add another route"));
        }
        route.service = service_of(&app, &new.service)?;
        route.updated_at = Some(now_text());
        let change = services::claim(&controller.store, Change::new(), &app, [route.service.clone()])?;
        let change = change.with(|txn| ROUTES.put_in(txn, &[route.id.as_str()], &route));
        Ok((change.tell(Some(&app.id), "route", route.id.as_str(), json(&route)), route))
    })?;
    Ok(route)
}

pub(crate) fn delete(controller: &Controller, call: &Call) -> Result<Deleted, ApiError> {
    let (id, _) = controller.writer.commit(|| {
        let (app, route) = find(controller, call)?;
        if route.path == "/" {
            let (rows, _) = ROUTES.list(&controller.store, &[])?;
            let below = rows.iter().any(|row| row.value.domain == route.domain && row.value.path != "/");
            if below {
                let error = ApiError::new(Code::Conflict, format!("route {} has routes below it", route.domain));
                return Err(error.hint("remove the path routes of the domain first"));
            }
        }
        Ok((remove(Change::new(), &app, &route), route.id))
    })?;
    Ok(Deleted { id: id.to_string(), routes: 1, ..Deleted::default() })
}
