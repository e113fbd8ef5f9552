//! `routes`: which host names and paths lead to an app.

use anyhow::Result;
use api::controller::{self as endpoints, NewRoute};
use clap::{Args, Subcommand};

use super::Context;
use super::app::route_url;
use super::context::named;
use crate::term::{self, Format};

#[derive(Debug, Args)]
pub(super) struct Routes {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the app's routes
    List,
    /// Lead DOMAIN[/PATH] to the app
    Add {
        /// A host name, `*.NAME` for all below it, with a path prefix if wanted
        domain: String,
        /// Another service than APP-web
        #[arg(short, long)]
        service: Option<String>,
    },
    /// Remove a route
    Remove {
        /// Its id, or its DOMAIN[/PATH]
        route: String,
    },
}

pub(super) fn routes(context: &Context, args: Routes) -> Result<()> {
    let config = context.config()?;
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    match args.verb.unwrap_or(Verb::List) {
        Verb::List => {
            let routes = controller.call(&endpoints::ROUTES, &[app.id.as_str()], &())?;
            if context.format == Format::Json {
                return term::json(&routes);
            }
            let rows: Vec<Vec<String>> = routes
                .iter()
                .map(|route| vec![route_url(&config, route), route.service.to_string(), route.id.to_string()])
                .collect();
            term::table(&["ROUTE", "SERVICE", "ID"], &rows);
        }
        Verb::Add { domain, service } => {
            let (domain, path) = split(&domain);
            let request = NewRoute { domain, path, service: service.unwrap_or_default(), ..NewRoute::default() };
            let route = controller.call(&endpoints::ROUTE_CREATE, &[app.id.as_str()], &request)?;
            if context.format == Format::Json {
                return term::json(&route);
            }
            term::out(&format!("Added {} -> {}", route_url(&config, &route), route.service));
        }
        Verb::Remove { route: typed } => {
            let routes = controller.call(&endpoints::ROUTES, &[app.id.as_str()], &())?;
            let (domain, path) = split(&typed);
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let route = routes
                .iter()
                .find(|route| route.id.as_str() == typed || (route.domain == domain && route.path == path))
                .ok_or_else(|| types::ApiError::not_found("route", &typed).hint("`slipway routes` lists them"))?;
            controller
                .call(&endpoints::ROUTE_DELETE, &[app.id.as_str(), &route.kind, route.id.as_str()], &())
                .map_err(|error| named(error, "route", &typed))?;
            term::out(&format!("Removed {}", route_url(&config, route)));
        }
    }
    Ok(())
}

/// `DOMAIN/PATH` as its two parts; the path is empty when there is none.
fn split(text: &str) -> (String, String) {
    let text = text.trim_start_matches("http://");
    match text.split_once('/') {
        Some((domain, path)) => (domain.to_owned(), format!("/{path}")),
        None => (text.to_owned(), String::new()),
    }
}
