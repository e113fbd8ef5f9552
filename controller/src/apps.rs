//! Apps: made with their name and default route, deleted with all that hangs on them.

use api::cell::{self, ONEOFFS};
use api::controller::{Deleted, MetaUpdate, NewApp};
use api::objects::{
    ACTIVE_DEPLOYMENTS, APP_NAMES, APP_RELEASES, APPS, DELETING, DEPLOYMENTS, FORMATIONS, RELEASES, SCALES, SERVICES,
};
use api::serve::Call;
use api::store::{Repeat, StoreClient, Txn};
use controller_core::{names, validate};
use stdx::Rng;
use types::app::{App, Map};
use types::cell::OneOff;
use types::host::StopOrder;
use types::{ApiError, AppId, AppName, Code, ServiceName};

use crate::persist::{Change, json, now_text};
use crate::state::Controller;
use crate::template::{is_system, service_name};
use crate::{garbage, routes, services};

/// Rows removed in one transaction; the store takes 128 operations.
const ROWS_PER_TXN: usize = 60;

/// Routes removed in one transaction: two rows and an event each.
const ROUTES_PER_TXN: usize = 30;

/// Made names are tried this often before the rest of the name is made unique.
const NAME_TRIES: usize = 8;

pub(crate) fn list(controller: &Controller, call: &Call) -> Result<Vec<App>, ApiError> {
    let (rows, _) = APPS.list(&controller.store, &[])?;
    let wanted = |app: &App| match call.query("system") {
        Some("only") => Ok(is_system(app)),
        Some("none") => Ok(!is_system(app)),
        None | Some("" | "all") => Ok(true),
        Some(_) => Err(ApiError::invalid("system", "must be only, none or all")),
    };
    let mut apps = Vec::new();
    for row in rows {
        if wanted(&row.value)? {
            apps.push(row.value);
        }
    }
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(apps)
}

pub(crate) fn create(controller: &Controller, new: &NewApp) -> Result<App, ApiError> {
    let given = new.name.as_deref().filter(|name| !name.is_empty());
    let given = given.map(parse_name).transpose()?;
    check(new)?;
    refuse_system_meta(new.meta.as_ref(), None)?;
    let id = AppId::parse(&os::entropy::uuid()).expect("a UUID is an id");
    let mut rng = Rng::new(os::entropy::seed());
    let (app, _) = controller.writer.commit(|| {
        let name = match &given {
            Some(name) => name.clone(),
            None => free_name(&controller.store, &mut rng)?,
        };
        if let Some(taken) = APP_NAMES.get(&controller.store, &[name.as_str()])? {
            let error = ApiError::new(Code::ObjectExists, format!("app name {name} is taken"));
            let gone = APPS.get(&controller.store, &[taken.value.as_str()])?.is_none();
            return Err(error.hint(match gone {
                true => "the app of that name is being deleted: try again shortly",
                false => "choose another name, or none to have one made; `slipway apps` lists the apps",
            }));
        }
        let now = Some(now_text());
        let app = App {
            id: id.clone(),
            name,
            meta: new.meta.clone().unwrap_or_default(),
            strategy: new.strategy.unwrap_or_default(),
            release: None,
            deploy_timeout: new.deploy_timeout.unwrap_or(120),
            created_at: now.clone(),
            updated_at: now,
        };
        let change = Change::new()
            .with(|txn| put(txn, &app))
            .with(|txn| APP_NAMES.put_in(txn, &[app.name.as_str()], &app.id))
            .tell(Some(&app.id), "app", app.id.as_str(), json(&app));
        let web = service_name(&app, "web");
        if let Some(owner) = web.as_ref().map(|web| owner_of(&controller.store, web)).transpose()?.flatten() {
            let text = format!("app name {} cannot be had: {}-web is a service of app {owner}", app.name, app.name);
            return Err(ApiError::new(Code::ObjectExists, text).hint("choose another name"));
        }
        let change = services::claim(&controller.store, change, &app, web)?;
        Ok((routes::add_default(controller, change, &app)?, app))
    })?;
    log::info!(app:% = app.name, id:% = app.id; "app created");
    Ok(app)
}

fn owner_of(store: &StoreClient, service: &ServiceName) -> Result<Option<String>, ApiError> {
    services::owned_by_another(store, None, service)
}

fn parse_name(name: &str) -> Result<AppName, ApiError> {
    AppName::parse(name).map_err(|error| ApiError::invalid("name", &format!("{name:?} is not valid: {}", error.rule)))
}

fn free_name(store: &StoreClient, rng: &mut Rng) -> Result<AppName, ApiError> {
    for _ in 0..NAME_TRIES {
        let name = names::generate(rng);
        let web = SERVICES.get(store, &[&format!("{name}-web")])?;
        if web.is_none() && APP_NAMES.get(store, &[name.as_str()])?.is_none() {
            return Ok(name);
        }
    }
    let name = format!("app-{:08x}", rng.below(1 << 32));
    Ok(AppName::parse(&name).expect("letters, a dash and digits are a name"))
}

fn put(txn: Txn, app: &App) -> Txn {
    APPS.put_in(txn, &[app.id.as_str()], app)
}

fn check(new: &NewApp) -> Result<(), ApiError> {
    if let Some(meta) = &new.meta {
        validate::meta("meta", meta)?;
    }
    if let Some(seconds) = new.deploy_timeout {
        validate::deploy_timeout(seconds)?;
    }
    Ok(())
}

/// What makes an app a part of the platform is not for the API to set or to take away.
fn refuse_system_meta(meta: Option<&Map>, app: Option<&App>) -> Result<(), ApiError> {
    let Some(meta) = meta else { return Ok(()) };
    for key in [types::app::META_SYSTEM_APP, crate::META_CRITICAL, crate::system::META_INSTALLED] {
        let now = app.and_then(|app| app.meta.get(key));
        if meta.get(key) != now {
            return Err(ApiError::invalid(&format!("meta.{key}"), "is set by the platform alone"));
        }
    }
    Ok(())
}

/// Change an app with `edit`, and tell of it.
fn change_app(
    controller: &Controller,
    name: &str,
    edit: impl Fn(&mut App) -> Result<(), ApiError>,
) -> Result<App, ApiError> {
    let (app, _) = controller.writer.commit(|| {
        let mut app = controller.app(name)?.value;
        edit(&mut app)?;
        app.updated_at = Some(now_text());
        let change = Change::new().with(|txn| put(txn, &app)).tell(Some(&app.id), "app", app.id.as_str(), json(&app));
        Ok((change, app))
    })?;
    Ok(app)
}

pub(crate) fn update(controller: &Controller, call: &Call, new: &NewApp) -> Result<App, ApiError> {
    check(new)?;
    change_app(controller, call.param(0), |app| {
        refuse_system_meta(new.meta.as_ref(), Some(app))?;
        if new.name.as_deref().is_some_and(|name| !name.is_empty() && name != app.name.as_str()) {
            return Err(ApiError::invalid("name", "cannot be changed: make a new app and move the route"));
        }
        app.strategy = new.strategy.unwrap_or(app.strategy);
        app.deploy_timeout = new.deploy_timeout.unwrap_or(app.deploy_timeout);
        if let Some(meta) = &new.meta {
            app.meta.clone_from(meta);
        }
        Ok(())
    })
}

pub(crate) fn set_meta(controller: &Controller, call: &Call, new: &MetaUpdate) -> Result<App, ApiError> {
    validate::meta("meta", &new.meta)?;
    change_app(controller, call.param(0), |app| {
        refuse_system_meta(Some(&new.meta), Some(app))?;
        app.meta.clone_from(&new.meta);
        Ok(())
    })
}

/// After the first transaction the app is gone for everybody and nothing is asked for any more. The rest goes in
/// further ones, its name at last, by the garbage collection if this controller dies between them.
pub(crate) fn delete(controller: &Controller, call: &Call) -> Result<Deleted, ApiError> {
    let store = &controller.store;
    let (deleted, _) = controller.writer.commit(|| {
        let app = controller.app(call.param(0))?.value;
        if is_system(&app) {
            let error = ApiError::new(Code::Forbidden, format!("app {} is a part of the platform", app.name));
            return Err(error.hint("script/down --purge removes the whole platform"));
        }
        let id = app.id.as_str();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let asked = ONEOFFS.list(store, &[])?.0.into_iter().map(|row| row.value);
        let asked = asked.filter(|one| one.spec.app == app.id && one.stop.is_none()).count();
        let claims = cell::CLAIMS.list(store, &[])?.0.into_iter().map(|row| row.value.spec);
        let claimed = claims.filter(|spec| spec.app == app.id && spec.release.is_some()).count();
        let deleted = Deleted {
            id: app.id.to_string(),
            routes: count(routes::of_app(store, &app)?.len()),
            jobs: count(asked + claimed),
            releases: count(APP_RELEASES.list(store, &[id])?.0.len()),
        };
        let change = Change::new().with(|txn| {
            DELETING
                .put_in(txn, &[id], &app)
                .delete(&APPS.key(&[id]))
                .delete(&ACTIVE_DEPLOYMENTS.key(&[id]))
                .delete_prefix(&FORMATIONS.key(&[id, ""]))
                .delete_prefix(&cell::FORMATIONS.key(&[id, ""]))
                .delete_prefix(&SCALES.key(&[id, ""]))
        });
        let change = change.tell(Some(&app.id), "app_deletion", id, json(&deleted));
        Ok((change, (deleted, app)))
    })?;
    let (deleted, app) = deleted;
    remove_rest(controller, &app)?;
    log::info!(id:% = app.id, routes = deleted.routes, releases = deleted.releases; "app deleted");
    Ok(deleted)
}

/// Remove what is left of an app that is being deleted. Doing it again, or twice at a time, does no harm.
pub(crate) fn remove_rest(controller: &Controller, app: &App) -> Result<(), ApiError> {
    let store = &controller.store;
    while controller.writer.commit(|| some_routes(store, app))?.0 {}
    while controller.writer.commit(|| some_jobs(store, app))?.0 {}
    let releases: Vec<_> = RELEASES.list(store, &[])?.0.into_iter().filter(|row| row.value.app_id == app.id).collect();
    for part in releases.chunks(ROWS_PER_TXN) {
        let txn = part.iter().fold(Txn::new(), |txn, row| txn.delete(&RELEASES.key(&[&row.id])));
        store.txn(txn, Repeat::Harmless)?;
    }
    let deployments = DEPLOYMENTS.list(store, &[])?.0.into_iter().filter(|row| row.value.app == app.id);
    let deployments: Vec<_> = deployments.map(|row| row.id).collect();
    for part in deployments.chunks(ROWS_PER_TXN) {
        let txn = part.iter().fold(Txn::new(), |txn, id| txn.delete(&DEPLOYMENTS.key(&[id])));
        store.txn(txn, Repeat::Harmless)?;
    }
    while controller.writer.commit(|| some_services(store, app))?.0 {}
    let id = app.id.as_str();
    controller.writer.commit(|| {
        // Somebody else may have ended this, and the name may be another app's by now.
        let ours = APP_NAMES.get(store, &[app.name.as_str()])?.is_some_and(|row| row.value == app.id);
        let change = Change::new().with(|txn| {
            txn.delete_prefix(&APP_RELEASES.key(&[id, ""]))
                .delete_prefix(&cell::ENDED.key(&[id, ""]))
                .delete(&DELETING.key(&[id]))
        });
        let name = APP_NAMES.key(&[app.name.as_str()]);
        Ok((change.with(|txn| if ours { txn.delete(&name) } else { txn }), ()))
    })?;
    garbage::mark(controller)
}

/// Remove some of an app's routes; whether there were any.
fn some_routes(store: &StoreClient, app: &App) -> Result<(Change, bool), ApiError> {
    let routes = routes::of_app(store, app)?;
    let some = routes.iter().take(ROUTES_PER_TXN);
    Ok((some.fold(Change::new(), |change, route| routes::remove(change, app, route)), !routes.is_empty()))
}

/// Stop some of the jobs that an app asked for once; whether there were any.
fn some_jobs(store: &StoreClient, app: &App) -> Result<(Change, bool), ApiError> {
    let mut change = Change::new();
    let mut rows = ONEOFFS.list(store, &[])?.0;
    rows.retain(|row| row.value.spec.app == app.id && row.value.stop.is_none());
    for row in rows.iter().take(ROWS_PER_TXN) {
        let stopped = OneOff { stop: Some(StopOrder::Kill), ..row.value.clone() };
        let key = ONEOFFS.key(&[&row.id]);
        change = change.with(|txn| ONEOFFS.put_in(txn.if_unchanged(&key, row.revision), &[&row.id], &stopped));
    }
    Ok((change, !rows.is_empty()))
}

/// Let go of some of an app's services; whether there were any.
fn some_services(store: &StoreClient, app: &App) -> Result<(Change, bool), ApiError> {
    let mut rows = SERVICES.list(store, &[])?.0;
    rows.retain(|row| row.value == app.id);
    let some = rows.iter().take(ROWS_PER_TXN);
    let change = some.fold(Change::new(), |change, row| change.with(|txn| txn.delete(&SERVICES.key(&[&row.id]))));
    Ok((change, !rows.is_empty()))
}
