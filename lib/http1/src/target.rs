//! Request targets and authorities (RFC 9112 3.2, RFC 3986 3.2).

use alloc::string::String;
use core::fmt;

use crate::{Error, Method};

/// A checked request target in one of the four forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Origin,
    /// The path starts at this byte; it is empty if this is the length.
    Absolute {
        authority: usize,
        path: usize,
    },
    Authority,
    Asterisk,
}

/// A host and perhaps a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host as written: a name, an IPv4 address, or an IPv6 address in brackets. Not empty.
    pub host: &'a str,
    /// The port, if one was written.
    pub port: Option<u16>,
}

impl Target {
    /// Check a target for that method.
    ///
    /// # Errors
    /// [`Error::Target`] for a byte that no URI holds, a fragment, or a form the method does not take;
    /// [`Error::HostInvalid`] for a malformed authority.
    pub fn parse(method: &Method, text: &str) -> Result<Target, Error> {
        // A fragment is never sent (RFC 9112 3.2.1); two hops that differ on `#` see two paths.
        if text.is_empty() || text.bytes().any(|b| !(0x21..=0x7e).contains(&b) || b == b'#') {
            return Err(Error::Target);
        }
        let form = match (method, text) {
            (Method::Connect, _) => {
                Authority::parse(text)?.port.ok_or(Error::Target)?;
                Form::Authority
            }
            (Method::Options, "*") => Form::Asterisk,
            _ if text.starts_with('/') => Form::Origin,
            _ => absolute(text)?,
        };
        Ok(Target { text: text.into(), form })
    }

    /// The target as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Path and query in origin form: what is sent on to an origin. `*` for `OPTIONS *`.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        match self.form {
            Form::Origin | Form::Asterisk => &self.text,
            Form::Authority => "/",
            Form::Absolute { path, .. } => match &self.text[path..] {
                "" => "/",
                rest => rest,
            },
        }
    }

    /// The path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        let whole = self.path_and_query();
        whole.split_once('?').map_or(whole, |(path, _)| path)
    }

    /// The query without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }

    /// The authority, in the forms that hold one.
    #[must_use]
    pub fn authority(&self) -> Option<Authority<'_>> {
        let text = match self.form {
            Form::Absolute { authority, path } => &self.text[authority..path],
            Form::Authority => &self.text,
            Form::Origin | Form::Asterisk => return None,
        };
        Authority::parse(text).ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn absolute(text: &str) -> Result<Form, Error> {
    let (scheme, rest) = text.split_once("://").ok_or(Error::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Error::Target);
    }
    let authority = text.len() - rest.len();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Authority::parse(&rest[..end])?;
    if rest[end..].starts_with('?') {
        // Legal, but sent on it would have to be repaired into `/?`.
        return Err(Error::Target);
    }
    Ok(Form::Absolute { authority, path: authority + end })
}

impl<'a> Authority<'a> {
    /// `host [":" port]`, without user information.
    ///
    /// # Errors
    /// [`Error::HostInvalid`].
    pub fn parse(text: &'a str) -> Result<Authority<'a>, Error> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let close = rest.find(']').ok_or(Error::HostInvalid)?;
                let legal = |b: u8| b.is_ascii_hexdigit() || b == b':' || b == b'.';
                if close == 0 || !rest[..close].bytes().all(legal) {
                    return Err(Error::HostInvalid);
                }
                text.split_at(close + 2)
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        // Narrower than reg-name: percent signs and sub-delimiters occur in attacks, not in names.
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if host.is_empty() || (!host.starts_with('[') && !host.bytes().all(legal)) {
            return Err(Error::HostInvalid);
        }
        let port = match port.strip_prefix(':') {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| Error::HostInvalid)?)
            }
            None if port.is_empty() => None,
            _ => return Err(Error::HostInvalid),
        };
        Ok(Authority { host, port })
    }

    /// Whether both name the same host and write the same port.
    #[must_use]
    pub fn same_as(&self, other: &Authority<'_>) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port == other.port
    }
}
