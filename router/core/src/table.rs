//! Which service answers a request: exact host, then wildcards from the longest, then the longest path prefix.

use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use types::app::Route;
use types::{RouteId, ServiceName};

/// The routes of one worker. Lookup cost depends on the number of labels in the host, not of routes.
#[derive(Debug, Default)]
pub struct Table {
    routes: BTreeMap<RouteId, Route>,
    /// By host in lower case; a wildcard `*.example.com` stands under `.example.com`.
    hosts: BTreeMap<String, Vec<Entry>>,
}

/// One path prefix of a host.
#[derive(Debug)]
struct Entry {
    /// Without its slash at the end; empty for all paths.
    prefix: String,
    route: RouteId,
    service: ServiceName,
}

impl Table {
    /// No routes.
    #[must_use]
    pub fn new() -> Table {
        Table::default()
    }

    /// Add a route, or replace the one with that id.
    pub fn put(&mut self, route: Route) {
        self.remove(&route.id.clone());
        // Other kinds are for other listeners.
        if route.kind == "http" {
            let prefix = route.path.trim_end_matches('/').to_owned();
            let entries = self.hosts.entry(host_key(&route.domain)).or_default();
            entries.push(Entry { prefix, route: route.id.clone(), service: route.service.clone() });
            // Longest first; of two routes for the same, the one with the lower id, whatever order they came in.
            entries.sort_by(|a, b| (b.prefix.len(), &a.route).cmp(&(a.prefix.len(), &b.route)));
        }
        self.routes.insert(route.id.clone(), route);
    }

    /// Remove a route.
    pub fn remove(&mut self, id: &RouteId) {
        let Some(old) = self.routes.remove(id) else { return };
        let key = host_key(&old.domain);
        if let Some(entries) = self.hosts.get_mut(&key) {
            entries.retain(|entry| entry.route != *id);
            if entries.is_empty() {
                self.hosts.remove(&key);
            }
        }
    }

    /// The service for a host (without port, in any case) and a path.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&ServiceName> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        // It would be taken for the key of a wildcard.
        if host.starts_with('.') {
            return None;
        }
        let wildcards = host.match_indices('.').map(|(at, _)| &host[at..]);
        core::iter::once(&*host).chain(wildcards).find_map(|key| {
            let entries = self.hosts.get(key)?;
            entries.iter().find(|entry| covers(&entry.prefix, path)).map(|entry| &entry.service)
        })
    }

    /// Every route, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.values()
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

fn host_key(domain: &str) -> String {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    domain.strip_prefix('*').unwrap_or(domain).to_ascii_lowercase()
}

/// Whether `prefix` is `path` or ends where a segment of it ends.
fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.is_empty())
}

#[cfg(test)]
mod tests;
