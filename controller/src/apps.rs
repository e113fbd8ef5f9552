//! Apps: made with their name and default route, deleted with all that hangs on them.

use api::cell::{self, ONEOFFS};
use api::controller::{Deleted, MetaUpdate, NewApp};
use api::objects::{ACTIVE_DEPLOYMENTS, APP_NAMES, APP_RELEASES, APPS, DEPLOYMENTS, FORMATIONS, RELEASES, SCALES};
use api::serve::Call;
use api::store::{StoreClient, Txn};
use controller_core::{names, validate};
use stdx::Rng;
use types::app::{App, Map};
use types::host::StopOrder;
use types::{ApiError, AppId, AppName, Code};

use crate::garbage;
use crate::persist::{Change, json, now_text};
use crate::routes;
use crate::state::Controller;
use crate::template::is_system;

/// Rows removed in one transaction; the store takes 128 operations.
const ROWS_PER_TXN: usize = 60;

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
            return Err(match taken.value == id {
                true => error,
                false => error.hint("choose another name, or none to have one made"),
            });
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
        Ok((routes::add_default(controller, change, &app)?, app))
    })?;
    log::info!(app:% = app.name, id:% = app.id; "app created");
    Ok(app)
}

fn parse_name(name: &str) -> Result<AppName, ApiError> {
    AppName::parse(name).map_err(|error| ApiError::invalid("name", &format!("{name:?} is not valid: {}", error.rule)))
}

fn free_name(store: &StoreClient, rng: &mut Rng) -> Result<AppName, ApiError> {
    for _ in 0..NAME_TRIES {
        let name = names::generate(rng);
        if APP_NAMES.get(store, &[name.as_str()])?.is_none() {
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

/// The name is free and nothing is asked for any more after the first transaction; what is left of releases
/// and deployments goes in further ones, and by the garbage collection if this controller dies between them.
pub(crate) fn delete(controller: &Controller, call: &Call) -> Result<Deleted, ApiError> {
    let store = &controller.store;
    let (deleted, _) = controller.writer.commit(|| {
        let app = controller.app(call.param(0))?.value;
        if is_system(&app) {
            let error = ApiError::new(Code::Forbidden, format!("app {} is a part of the platform", app.name));
            return Err(error.hint("script/down --purge removes the whole platform"));
        }
        let id = app.id.as_str();
        let mut deleted = Deleted { id: app.id.to_string(), ..Deleted::default() };
        let mut change = Change::new().with(|txn| {
            txn.delete(&APPS.key(&[id]))
                .delete(&APP_NAMES.key(&[app.name.as_str()]))
                .delete(&ACTIVE_DEPLOYMENTS.key(&[id]))
                .delete_prefix(&FORMATIONS.key(&[id, ""]))
                .delete_prefix(&cell::FORMATIONS.key(&[id, ""]))
                .delete_prefix(&SCALES.key(&[id, ""]))
        });
        for route in routes::of_app(store, &app)? {
            deleted.routes += 1;
            change = routes::remove(change, &app, &route);
        }
        for row in ONEOFFS.list(store, &[])?.0 {
            if row.value.spec.app == app.id && row.value.stop.is_none() {
                deleted.jobs += 1;
                let mut stopped = row.value;
                stopped.stop = Some(StopOrder::Kill);
                let key = ONEOFFS.key(&[&row.id]);
                change = change.with(|txn| ONEOFFS.put_in(txn.if_unchanged(&key, row.revision), &[&row.id], &stopped));
            }
        }
        for row in cell::CLAIMS.list(store, &[])?.0 {
            deleted.jobs += u32::from(row.value.spec.app == app.id && row.value.spec.release.is_some());
        }
        deleted.releases = u32::try_from(APP_RELEASES.list(store, &[id])?.0.len()).unwrap_or(u32::MAX);
        let change = change.tell(Some(&app.id), "app_deletion", id, json(&deleted));
        Ok((change, deleted))
    })?;
    let app = AppId::parse(&deleted.id).expect("the id was one before");
    remove_rest(controller, &app)?;
    log::info!(id:% = app, routes = deleted.routes, releases = deleted.releases; "app deleted");
    Ok(deleted)
}

/// Remove the releases and deployments of an app that is gone.
pub(crate) fn remove_rest(controller: &Controller, app: &AppId) -> Result<(), ApiError> {
    let store = &controller.store;
    let releases: Vec<_> = RELEASES.list(store, &[])?.0.into_iter().filter(|row| row.value.app_id == *app).collect();
    for part in releases.chunks(ROWS_PER_TXN) {
        controller.writer.commit(|| {
            let mut change = Change::new();
            for row in part {
                change = change.with(|txn| txn.delete(&RELEASES.key(&[&row.id])));
            }
            Ok((change, ()))
        })?;
    }
    let deployments = DEPLOYMENTS.list(store, &[])?.0.into_iter().filter(|row| row.value.app == *app);
    let deployments: Vec<_> = deployments.map(|row| row.id).collect();
    for part in deployments.chunks(ROWS_PER_TXN) {
        let txn = part.iter().fold(Txn::new(), |txn, id| txn.delete(&DEPLOYMENTS.key(&[id])));
        store.txn(txn, api::store::Repeat::Harmless)?;
    }
    let rest = Txn::new().delete_prefix(&APP_RELEASES.key(&[app.as_str(), ""]));
    let rest = rest.delete_prefix(&cell::ENDED.key(&[app.as_str(), ""]));
    store.txn(rest, api::store::Repeat::Harmless)?;
    garbage::mark(controller)
}
