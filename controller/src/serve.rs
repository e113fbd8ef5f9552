//! The table of endpoints.

use std::sync::Arc;

use api::Service;
use api::cell::LEADERS;
use api::controller::{self as endpoints, Status, StatusDetail};
use types::ApiError;

use crate::state::Controller;
use crate::{apps, artifacts, attach, deployer, deployments, events, formations, jobs, keys, logs, releases, routes};

/// The controller behind its endpoints.
pub(crate) fn service(controller: Arc<Controller>) -> Service<Controller> {
    let service = Service::new(controller)
        .on(&endpoints::STATUS, |c, _, ()| status(c))
        .on(&endpoints::PING, |_, _, ()| Ok(()))
        .on(&endpoints::ACTIVE_JOBS, |c, _, ()| jobs::active(c))
        .on(&endpoints::JOBS, |c, call, ()| jobs::list(c, call))
        .on(&endpoints::JOB, |c, call, ()| jobs::one(c, call))
        .on(&endpoints::JOB_STOP, |c, call, ()| jobs::stop(c, call))
        .raw(&endpoints::JOB_RUN, attach::post)
        .lines(&endpoints::LOG, |c, call, (), out| logs::get(c, call, out))
        .raw(&endpoints::EVENTS, events::get)
        .on(&endpoints::EVENT, |c, call, ()| events::one(c, call))
        .on(&endpoints::KEYS, |c, _, ()| keys::list(c))
        .on(&endpoints::KEY_CREATE, |c, _, body| keys::create(c, &body))
        .on(&endpoints::KEY, |c, call, ()| keys::one(c, call))
        .on(&endpoints::KEY_DELETE, |c, call, ()| keys::delete(c, call));
    with_objects(service)
}

fn with_objects(service: Service<Controller>) -> Service<Controller> {
    service
        .on(&endpoints::APPS, |c, call, ()| apps::list(c, call))
        .on(&endpoints::APP_CREATE, |c, _, body| apps::create(c, &body))
        .on(&endpoints::APP, |c, call, ()| Ok(c.app(call.param(0))?.value))
        .on(&endpoints::APP_UPDATE, |c, call, body| apps::update(c, call, &body))
        .on(&endpoints::APP_META, |c, call, body| apps::set_meta(c, call, &body))
        .on(&endpoints::APP_DELETE, |c, call, ()| apps::delete(c, call))
        .raw(&endpoints::APP_RELEASE, releases::current)
        .on(&endpoints::APP_RELEASE_SET, |c, call, body| releases::choose(c, call, &body))
        .on(&endpoints::APP_RELEASES, |c, call, ()| releases::of_app(c, &c.app(call.param(0))?.value))
        .on(&endpoints::RELEASE_DELETE, |c, call, ()| releases::delete(c, call))
        .on(&endpoints::RELEASE_CREATE, |c, _, body| releases::create(c, &body))
        .on(&endpoints::RELEASES, |c, _, ()| releases::all(c))
        .on(&endpoints::RELEASE, |c, call, ()| Ok(c.release(call.param(0))?.value))
        .on(&endpoints::ARTIFACT_CREATE, |c, _, body| artifacts::create(c, &body))
        .on(&endpoints::ARTIFACTS, |c, _, ()| artifacts::list(c))
        .on(&endpoints::ARTIFACT, |c, call, ()| artifacts::one(c, call))
        .on(&endpoints::FORMATIONS, |c, call, ()| formations::list(c, call))
        .raw(&endpoints::FORMATION, formations::one)
        .on(&endpoints::FORMATION_SET, |c, call, body| formations::set(c, call, &body))
        .on(&endpoints::FORMATION_DELETE, |c, call, ()| formations::delete(c, call))
        .on(&endpoints::SCALE, |c, call, body| formations::scale(c, call, &body))
        .on(&endpoints::DEPLOY, |c, call, body| deployments::create(c, call, &body))
        .on(&endpoints::DEPLOYMENTS, |c, call, ()| deployments::list(c, call))
        .on(&endpoints::DEPLOYMENT, |c, call, ()| deployments::one(c, call))
        .on(&endpoints::DEPLOYMENT_ABORT, |c, call, body| deployments::abort(c, call, &body))
        .on(&endpoints::ALL_ROUTES, |c, _, ()| routes::all(c))
        .on(&endpoints::ROUTES, |c, call, ()| routes::list(c, call))
        .on(&endpoints::ROUTE_CREATE, |c, call, body| routes::create(c, call, &body))
        .on(&endpoints::ROUTE, |c, call, ()| routes::one(c, call))
        .on(&endpoints::ROUTE_UPDATE, |c, call, body| routes::update(c, call, &body))
        .on(&endpoints::ROUTE_DELETE, |c, call, ()| routes::delete(c, call))
}

/// Healthy when the store answers.
fn status(controller: &Controller) -> Result<Status, ApiError> {
    let leader = LEADERS.get(&controller.store, &[deployer::LEADER])?.map(|row| row.value.job);
    Ok(Status {
        data: StatusDetail {
            status: "healthy".into(),
            version: controller.version.clone(),
            domain: controller.domain.clone(),
            leader,
        },
    })
}
