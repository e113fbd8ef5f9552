//! Names and ids, each its own type, each checked when it is made.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not an id or a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not valid: {rule}")]
pub struct IdError {
    /// What it was to be.
    pub kind: &'static str,
    /// What it was.
    pub text: String,
    /// What is allowed.
    pub rule: &'static str,
}

/// Longest id: an id is part of paths, link names and cgroup names.
const ID_BYTES_MAX: usize = 100;

fn plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && !text.starts_with('-')
}

fn name(text: &str) -> bool {
    text.len() <= 40
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $id:ident, $kind:literal, $check:ident, $rule:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $id(String);

        impl $id {
            /// Check the text.
            ///
            /// # Errors
            /// Says what is allowed.
            pub fn parse(text: &str) -> Result<$id, IdError> {
                if $check(text) {
                    Ok($id(text.to_owned()))
                } else {
                    let text = text.chars().take(ID_BYTES_MAX).collect();
                    Err(IdError { kind: $kind, text, rule: $rule })
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $id {
            type Error = IdError;
            fn try_from(text: String) -> Result<$id, IdError> {
                $id::parse(&text)
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.0
            }
        }

        impl core::str::FromStr for $id {
            type Err = IdError;
            fn from_str(text: &str) -> Result<$id, IdError> {
                $id::parse(text)
            }
        }
    )*};
}

ids! {
    /// An app's id: stays when the app is renamed.
    AppId, "app id", plain, "use lower-case letters, digits, - and _";
    /// An app's name: part of its host name, so it obeys DNS.
    AppName, "app name", name, "start with a lower-case letter, then letters, digits and single dashes, at most 40 in all";
    /// An immutable release.
    ReleaseId, "release id", plain, "use lower-case letters, digits, - and _";
    /// An immutable artifact.
    ArtifactId, "artifact id", plain, "use lower-case letters, digits, - and _";
    /// A deployment.
    DeploymentId, "deployment id", plain, "use lower-case letters, digits, - and _";
    /// One run of a process type on a host: `HOST-UUID`.
    JobId, "job id", plain, "use lower-case letters, digits, - and _";
    /// A host of the cluster; no dashes, so that a job id splits.
    HostId, "host id", host, "use at most 32 lower-case letters and digits";
    /// A route.
    RouteId, "route id", plain, "use lower-case letters, digits, - and _";
    /// A registered key: the hex SHA-256 of what identifies it.
    KeyId, "key id", plain, "use lower-case letters, digits, - and _";
    /// A process type, e.g. `web`.
    ProcessType, "process type", process_type, "use at most 40 letters, digits, - and _";
    /// A service in discovery, e.g. `blog-web`.
    ServiceName, "service name", plain, "use lower-case letters, digits, - and _";
    /// A volume, e.g. `gitd-repos`.
    VolumeName, "volume name", plain, "use lower-case letters, digits, - and _";
    /// The lower-case hexadecimal SHA-256 of some content.
    Digest, "digest", digest, "use 64 lower-case hexadecimal digits";
}

fn host(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn process_type(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 40
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !text.starts_with('-')
}

impl JobId {
    /// The id of a job on `host` with the given UUID.
    #[must_use]
    pub fn on(host: &HostId, uuid: &str) -> JobId {
        let mut text = host.to_string();
        text.push('-');
        text.push_str(uuid);
        JobId(text)
    }

    /// The part after the host.
    #[must_use]
    pub fn uuid(&self) -> &str {
        self.0.split_once('-').map_or(&self.0, |(_, uuid)| uuid)
    }

    /// The host it runs on, when the id names one.
    #[must_use]
    pub fn host(&self) -> Option<HostId> {
        self.0.split_once('-').and_then(|(host, _)| HostId::parse(host).ok())
    }

    /// The first eight characters of the UUID: what people type.
    #[must_use]
    pub fn short(&self) -> &str {
        let uuid = self.uuid();
        uuid.get(..8).unwrap_or(uuid)
    }
}

impl Digest {
    /// The first twelve characters: what people read.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests;
