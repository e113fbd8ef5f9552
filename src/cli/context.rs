//! What every command needs: the host's configuration, the controller, and which app is meant.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::Client;
use api::controller as endpoints;
use types::app::{App, Release};

use crate::config::{self, Config};
use crate::term::Format;

/// The name of the git remote that `create` makes.
pub(super) const REMOTE: &str = "slipway";

/// How long a command waits for a controller that is being replaced.
const CONTROLLER_PATIENCE: Duration = Duration::from_secs(10);

/// What every command needs.
#[derive(Debug)]
pub(crate) struct Context {
    file: Option<PathBuf>,
    app: Option<String>,
    /// How listings are printed.
    pub format: Format,
}

impl Context {
    pub(crate) fn new(file: Option<PathBuf>, app: Option<String>, format: Format) -> Context {
        Context { file, app, format }
    }

    /// Where the configuration is, or would be.
    pub(crate) fn config_file(&self) -> PathBuf {
        config::file_path(self.file.as_deref())
    }

    /// This host's configuration.
    pub(crate) fn config(&self) -> Result<Config> {
        Config::load(self.file.as_deref())
    }

    /// The controller.
    pub(crate) fn controller(&self) -> Result<Client> {
        let config = self.config()?;
        // With the daemon there, a controller that is missing is being replaced: that takes a moment.
        let host = std::os::unix::net::UnixStream::connect(api::paths::host_socket(&config.run_dir));
        let patience = if host.is_ok() { CONTROLLER_PATIENCE } else { Duration::ZERO };
        Ok(Client::service(&config.run_dir, endpoints::SERVICE).patience(patience))
    }

    /// The name of the app that is meant.
    pub(crate) fn app_name(&self) -> Result<String> {
        if let Some(name) = &self.app {
            return Ok(name.clone());
        }
        if let Some(name) = app_of_remote(Path::new(".")) {
            return Ok(name);
        }
        bail!("which app? give --app NAME, or go into a git repository with a remote named {REMOTE}")
    }

    /// The app that is meant.
    pub(crate) fn app(&self, controller: &Client) -> Result<App> {
        let name = self.app_name()?;
        controller.call(&endpoints::APP, &[&name], &()).map_err(|error| named(error, "app", &name))
    }

    /// The current release of an app, if it has one.
    pub(crate) fn release(&self, controller: &Client, app: &App) -> Result<Option<Release>> {
        match controller.call(&endpoints::APP_RELEASE, &[app.id.as_str()], &()) {
            Ok(release) => Ok(Some(release)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The current release of an app that must have one.
    pub(crate) fn deployed(&self, controller: &Client, app: &App) -> Result<Release> {
        self.release(controller, app)?
            .with_context(|| format!("{} has no release yet; `git push {REMOTE} main` makes the first", app.name))
    }
}

/// Flynn's form of "not found" has no text: say what was looked for.
pub(super) fn named(error: api::CallError, kind: &str, name: &str) -> anyhow::Error {
    if !error.is_not_found() {
        return error.into();
    }
    let missing = types::ApiError::not_found(kind, name);
    let hint = match kind {
        "app" => "`slipway apps` lists them, `slipway create NAME` makes one",
        "job" => "`slipway ps` lists them",
        "key" => "`slipway key list` lists them",
        _ => return missing.into(),
    };
    missing.hint(hint).into()
}

/// The app that a repository's remote of ours names.
fn app_of_remote(dir: &Path) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(dir).args(["remote", "get-url", REMOTE]).output().ok()?;
    app_of_url(std::str::from_utf8(&output.stdout).ok()?.trim())
}

/// The last segment of a git URL, without `.git`.
pub(super) fn app_of_url(url: &str) -> Option<String> {
    let name = url.rsplit(['/', ':']).next()?.trim_end_matches(".git");
    types::AppName::parse(name).ok().map(|name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_of_url_takes_the_last_segment() {
        assert_eq!(app_of_url("ssh://git@localhost:2222/hello.git").as_deref(), Some("hello"));
        assert_eq!(app_of_url("git@localhost:hello").as_deref(), Some("hello"));
        assert_eq!(app_of_url("ssh://git@localhost:2222/").as_deref(), None);
    }
}
