//! Which resolvers the host uses, as it changes.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use stdx::Instant;

use crate::core::upstream::parse_resolv_conf;
use crate::limits::RESOLV_CONF_CHECK;

#[derive(Clone, Debug)]
pub(super) struct Upstreams {
    file: PathBuf,
    fixed: Vec<SocketAddr>,
    ourselves: IpAddr,
    found: Vec<SocketAddr>,
    read_at: Option<Instant>,
}

impl Upstreams {
    pub(super) fn new(file: PathBuf, fixed: Vec<SocketAddr>, ourselves: IpAddr) -> Upstreams {
        Upstreams { file, fixed, ourselves, found: Vec::new(), read_at: None }
    }

    /// The resolvers to ask, in their order; those known last while the file cannot be read.
    pub(super) fn list(&mut self) -> &[SocketAddr] {
        if !self.fixed.is_empty() {
            return &self.fixed;
        }
        let now = os::clock::now();
        if self.read_at.is_none_or(|at| now.since(at) >= RESOLV_CONF_CHECK) {
            self.read_at = Some(now);
            match std::fs::read_to_string(&self.file) {
                Ok(text) => self.found = parse_resolv_conf(&text, self.ourselves),
                Err(error) => {
                    log::debug!(file:% = self.file.display(), error:% = error; "the host's resolvers are not known");
                }
            }
        }
        &self.found
    }
}

#[cfg(test)]
mod tests;
