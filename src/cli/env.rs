//! `env`: the environment of an app. A change is a new release, and is deployed.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use api::Client;
use api::controller::{self as endpoints, NewRelease};
use clap::{Args, Subcommand};
use types::app::{App, Release};

use super::Context;
use super::release;
use crate::term::{self, Format};

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
            let mut env = now.clone();
            let mut names = Vec::new();
            for pair in &pairs {
                let Some((name, value)) = pair.split_once('=') else { bail!("{pair:?} is not NAME=VALUE") };
                env.insert(name.to_owned(), value_of(value)?);
                names.push(name);
            }
            change(context, &controller, &app, release.as_ref(), env, &format!("set {}", names.join(", ")))
        }
        Verb::Unset { names } => {
            let mut env = now.clone();
            for name in &names {
                if env.remove(name).is_none() {
                    return Err(types::ApiError::not_found("variable", name).into());
                }
            }
            change(context, &controller, &app, release.as_ref(), env, &format!("unset {}", names.join(", ")))
        }
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

fn change(
    context: &Context,
    controller: &Client,
    app: &App,
    release: Option<&Release>,
    env: BTreeMap<String, String>,
    description: &str,
) -> Result<()> {
    if release.is_some_and(|release| release.env == env) {
        term::note("nothing to change");
        return Ok(());
    }
    let request = NewRelease {
        app_id: app.id.to_string(),
        artifacts: release.map(|r| r.artifacts.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        env,
        meta: release.map(|r| r.meta.clone()).unwrap_or_default(),
        processes: release.map(|r| r.processes.clone()).unwrap_or_default(),
        description: description.to_owned(),
    };
    let new = controller.call(&endpoints::RELEASE_CREATE, &[], &request)?;
    release::deploy(context, controller, app, &new)
}
