//! Positions in the write-ahead log.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A position in the write-ahead log, in bytes from its beginning. Written as Postgres does: `16/B374D848`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "alloc::string::String", into = "alloc::string::String")]
pub struct Lsn(pub u64);

/// Why a text is not a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log position such as 16/B374D848")]
pub struct ParseLsnError(alloc::string::String);

impl Lsn {
    /// The beginning.
    pub const ZERO: Lsn = Lsn(0);

    /// How many bytes this is behind `other`; none when it is not.
    #[must_use]
    pub fn behind(self, other: Lsn) -> u64 {
        other.0.saturating_sub(self.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Lsn, ParseLsnError> {
        let half = |text: &str| {
            // from_str_radix takes a sign; Postgres does not.
            let plain = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
        };
        let parsed = text.split_once('/').and_then(|(high, low)| Some(half(high)? << 32 | half(low)?));
        parsed.map(Lsn).ok_or_else(|| ParseLsnError(text.chars().take(40).collect()))
    }
}

impl TryFrom<alloc::string::String> for Lsn {
    type Error = ParseLsnError;

    fn try_from(text: alloc::string::String) -> Result<Lsn, ParseLsnError> {
        text.parse()
    }
}

impl From<Lsn> for alloc::string::String {
    fn from(lsn: Lsn) -> alloc::string::String {
        alloc::format!("{lsn}")
    }
}

#[cfg(test)]
mod tests;
