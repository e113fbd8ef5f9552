//! `env`: the environment of an app. A change is a new release, and is deployed.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use api::controller::{self as endpoints, NewRelease};
use api::{CallError, Client};
use clap::{Args, Subcommand};
use types::Code;
use types::app::{App, Release};

use super::Context;
use super::release;
use crate::term::{self, Format};

/// Tries of one change against changes by others.
const TRIES_MAX: u32 = 20;

#[derive(Debug, Args)]
pub(super) struct Env {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List all variables
    List,
    /// Print one variable
    Get {
        /// Its name
        name: String,
    },
    /// Set variables: NAME=VALUE
    Set {
        /// NAME=VALUE; `NAME=-` reads the value from standard input
        #[arg(required = true)]
        pairs: Vec<String>,
    },
    /// Remove variables
    Unset {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

pub(super) fn env(context: &Context, args: Env) -> Result<()> {
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    let release = context.release(&controller, &app)?;
    let now = release.as_ref().map(|release| release.env.clone()).unwrap_or_default();
    match args.verb.unwrap_or(Verb::List) {
        Verb::List => {
            if context.format == Format::Json {
                return term::json(&now);
            }
            now.iter().for_each(|(name, value)| term::out(&format!("{name}={value}")));
            Ok(())
        }
        Verb::Get { name } => match now.get(&name) {
            Some(value) => {
                term::out(value);
                Ok(())
            }
            None => Err(types::ApiError::not_found("variable", &name).hint("`slipway env` lists them").into()),
        },
        Verb::Set { pairs } => {
            let mut given = BTreeMap::new();
            for pair in &pairs {
                let Some((name, value)) = pair.split_once('=') else { bail!("{pair:?} is not NAME=VALUE") };
                given.insert(name.to_owned(), value_of(value)?);
            }
            let names: Vec<&str> = given.keys().map(String::as_str).collect();
            change(context, &controller, &app, &format!("set {}", names.join(", ")), |env| {
                env.extend(given.clone());
                Ok(())
            })
        }
        Verb::Unset { names } => change(context, &controller, &app, &format!("unset {}", names.join(", ")), |env| {
            match names.iter().find(|name| env.remove(*name).is_none()) {
                Some(name) => Err(types::ApiError::not_found("variable", name).hint("`slipway env` lists them")),
                None => Ok(()),
            }
        }),
    }
}

/// A value that should not stand in a shell's history comes from standard input.
fn value_of(value: &str) -> Result<String> {
    if value != "-" {
        return Ok(value.to_owned());
    }
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::stdin(), &mut text)?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Edit the environment of the current release. Who changed it in the meantime is not overwritten: then again.
fn change(
    context: &Context,
    controller: &Client,
    app: &App,
    description: &str,
    edit: impl Fn(&mut BTreeMap<String, String>) -> Result<(), types::ApiError>,
) -> Result<()> {
    let mut tries = TRIES_MAX;
    loop {
        tries -= 1;
        let app = controller.call(&endpoints::APP, &[app.id.as_str()], &())?;
        let release = context.release(controller, &app)?;
        let mut env = release.as_ref().map(|release| release.env.clone()).unwrap_or_default();
        edit(&mut env)?;
        if release.as_ref().is_some_and(|release| release.env == env) {
            term::note("nothing to change");
            return Ok(());
        }
        let request = new_release(&app, release.as_ref(), env, description);
        match controller.call(&endpoints::RELEASE_CREATE, &[], &request) {
            Ok(new) => return release::made(context, controller, &app, &new),
            Err(CallError::Refused(error)) if error.code == Code::PreconditionFailed && tries > 0 => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn new_release(app: &App, release: Option<&Release>, env: BTreeMap<String, String>, description: &str) -> NewRelease {
    NewRelease {
        app_id: app.id.to_string(),
        artifacts: release.map(|r| r.artifacts.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        env,
        meta: release.map(|r| r.meta.clone()).unwrap_or_default(),
        processes: release.map(|r| r.processes.clone()).unwrap_or_default(),
        description: description.to_owned(),
        expects: Some(release.map(|r| r.id.to_string()).unwrap_or_default()),
        deploy: true,
    }
}
