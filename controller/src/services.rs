//! Who offers which service: the first app that claims a name has it until the app is deleted.
//!
//! `APP-TYPE` alone does not say whose it is: `shop-api-web` is the type `api-web` of `shop` and the type `web` of
//! `shop-api`. Instances are found by this name alone, so two owners would share their traffic.

use std::collections::BTreeSet;

use api::objects::{APPS, SERVICES};
use api::store::StoreClient;
use types::app::{App, Release};
use types::{ApiError, Code, ServiceName};

use crate::persist::Change;
use crate::template;

/// The app that has a name, unless it is `app` itself.
pub(crate) fn owned_by_another(
    store: &StoreClient,
    app: Option<&App>,
    name: &ServiceName,
) -> Result<Option<String>, ApiError> {
    let row = SERVICES.get(store, &[name.as_str()])?;
    let Some(owner) = row.map(|row| row.value).filter(|owner| app.is_none_or(|app| app.id != *owner)) else {
        return Ok(None);
    };
    let app = APPS.get(store, &[owner.as_str()])?;
    Ok(Some(app.map_or_else(|| "that is being deleted".to_owned(), |row| row.value.name.to_string())))
}

/// Claim services for an app as a part of a change.
pub(crate) fn claim(
    store: &StoreClient,
    mut change: Change,
    app: &App,
    names: impl IntoIterator<Item = ServiceName>,
) -> Result<Change, ApiError> {
    for name in names.into_iter().collect::<BTreeSet<_>>() {
        if let Some(owner) = owned_by_another(store, Some(app), &name)? {
            let text = format!("service {name} belongs to app {owner}");
            return Err(ApiError::new(Code::ObjectExists, text)
                .hint("use another process type or service name, or another app name"));
        }
        let key = SERVICES.key(&[name.as_str()]);
        if SERVICES.get(store, &[name.as_str()])?.is_none() {
            change = change.with(|txn| SERVICES.put_in(txn.if_absent(&key), &[name.as_str()], &app.id));
        }
    }
    Ok(change)
}

/// The services that the jobs of a release offer.
pub(crate) fn of_release<'a>(app: &'a App, release: &'a Release) -> impl Iterator<Item = ServiceName> + 'a {
    let services = release.processes.iter().filter_map(|(one, spec)| template::service(app, one, spec));
    services.map(|service| service.name)
}

/// Whether an app may claim a name that nobody has.
pub(crate) fn may_claim(app: &App, name: &ServiceName) -> bool {
    let under = name.as_str().strip_prefix(app.name.as_str()).is_some_and(|rest| rest.starts_with('-'));
    under || (template::is_system(app) && name.as_str() == app.name.as_str())
}
