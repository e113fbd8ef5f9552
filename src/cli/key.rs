//! `key`: the SSH keys that may push, and the receiver's own key, which pushers must know.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use api::controller::{self as endpoints, NewSshKey};
use clap::{Args, Subcommand};

use super::Context;
use super::context::named;
use crate::config::Config;
use crate::term::{self, Format};

#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the keys that may push
    List,
    /// Let a public key push
    Add {
        /// The file with the public key; `-` is standard input; none looks in ~/.ssh
        file: Option<PathBuf>,
    },
    /// Let a key push no more
    Remove {
        /// Its fingerprint or id
        key: String,
    },
}

pub(super) fn key(context: &Context, args: Key) -> Result<()> {
    let controller = context.controller()?;
    match args.verb.unwrap_or(Verb::List) {
        Verb::List => {
            let keys = controller.call(&endpoints::KEYS, &[], &())?;
            if context.format == Format::Json {
                return term::json(&keys);
            }
            if keys.is_empty() {
                term::note("no key may push yet; `slipway key add` adds yours");
            }
            let rows: Vec<Vec<String>> = keys
                .iter()
                .map(|key| vec![key.fingerprint.clone(), key.comment.clone(), term::age_of(key.created_at.as_deref())])
                .collect();
            term::table(&["FINGERPRINT", "COMMENT", "AGE"], &rows);
        }
        Verb::Add { file } => {
            let key = read_key(file)?;
            let added = controller.call(&endpoints::KEY_CREATE, &[], &NewSshKey { key })?;
            if context.format == Format::Json {
                return term::json(&added);
            }
            term::out(&format!("Added {} {}", added.fingerprint, added.comment));
        }
        Verb::Remove { key } => {
            controller.call(&endpoints::KEY_DELETE, &[&key], &()).map_err(|error| named(error, "key", &key))?;
            term::out(&format!("Removed {key}"));
        }
    }
    Ok(())
}

fn read_key(file: Option<PathBuf>) -> Result<String> {
    let file = match file {
        Some(file) if file.as_os_str() == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            return Ok(text);
        }
        Some(file) => file,
        None => {
            let dir = PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".ssh");
            let usual = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"].map(|name| dir.join(name));
            usual.into_iter().find(|path| path.exists()).with_context(|| {
                format!("there is no public key in {}; `ssh-keygen -t ed25519` makes one", dir.display())
            })?
        }
    };
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    if text.contains("PRIVATE KEY") {
        bail!("{} is a private key; give the file that ends with .pub", file.display());
    }
    Ok(text)
}

/// The name under which this host's git receiver is reached.
pub(super) fn ssh_host(config: &Config) -> &str {
    // Names below localhost are known to browsers and curl, not to every resolver.
    if config.domain.ends_with("localhost") { "localhost" } else { &config.domain }
}

/// Tell ssh the receiver's key, which this command reads from the host itself: nothing has to be trusted on first use.
pub(super) fn trust_host_key(config: &Config) {
    let known = || -> Result<Option<PathBuf>> {
        let public = std::fs::read_to_string(api::paths::ssh_host_key(&config.run_dir))?;
        let mut fields = public.split_whitespace();
        let (Some(kind), Some(blob)) = (fields.next(), fields.next()) else { return Ok(None) };
        let line = format!("[{}]:{} {kind} {blob}", ssh_host(config), config.ssh_port);
        let home = PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?);
        let file = home.join(".ssh/known_hosts");
        let text = os::file::read_if_exists(&file)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if text.lines().any(|known| known == line) {
            return Ok(None);
        }
        // An older key of this very address would only make ssh refuse.
        let name = format!("[{}]:{} ", ssh_host(config), config.ssh_port);
        let mut kept: String =
            text.lines().filter(|old| !old.starts_with(&name)).map(|old| format!("{old}\n")).collect();
        kept.push_str(&line);
        kept.push('\n');
        os::file::make_dir(&home.join(".ssh"), 0o700)?;
        os::file::replace(&file, kept.as_bytes(), 0o600, os::file::Durability::Atomic)?;
        Ok(Some(file))
    };
    match known() {
        Ok(Some(file)) => term::note(&format!("added the git receiver's key to {}", file.display())),
        Ok(None) => {}
        // ssh will ask instead.
        Err(error) => log::debug!(error:% = error; "host key not added to known_hosts"),
    }
}
