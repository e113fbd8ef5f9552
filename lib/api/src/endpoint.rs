//! One declaration per endpoint, used by the server that answers it and by the client that calls it.

use std::marker::PhantomData;

use http1::Method;

/// A method and path with what goes in and what comes out.
///
/// Segments that begin with `:` are parameters. `Q` is the JSON body (`()` for none). `R` is the JSON
/// reply, [`Lines<T>`] for a stream of JSON lines, [`Raw`] for bytes, or [`Upgrade`] for a connection
/// that changes its protocol.
#[derive(Debug)]
pub struct Endpoint<Q, R> {
    /// The method.
    pub method: Method,
    /// The path pattern.
    pub path: &'static str,
    shape: PhantomData<fn(Q) -> R>,
}

/// A reply that is a stream of JSON documents, one per line.
#[derive(Debug)]
pub struct Lines<T>(PhantomData<T>);

/// A body or reply that is plain bytes.
#[derive(Debug)]
pub struct Raw;

/// A reply that turns the connection into something else.
#[derive(Debug)]
pub struct Upgrade;

impl<Q, R> Endpoint<Q, R> {
    /// An endpoint of any method.
    #[must_use]
    pub const fn new(method: Method, path: &'static str) -> Endpoint<Q, R> {
        Endpoint { method, path, shape: PhantomData }
    }

    /// `GET path`.
    #[must_use]
    pub const fn get(path: &'static str) -> Endpoint<Q, R> {
        Endpoint::new(Method::Get, path)
    }

    /// `POST path`.
    #[must_use]
    pub const fn post(path: &'static str) -> Endpoint<Q, R> {
        Endpoint::new(Method::Post, path)
    }

    /// `PUT path`.
    #[must_use]
    pub const fn put(path: &'static str) -> Endpoint<Q, R> {
        Endpoint::new(Method::Put, path)
    }

    /// `DELETE path`.
    #[must_use]
    pub const fn delete(path: &'static str) -> Endpoint<Q, R> {
        Endpoint::new(Method::Delete, path)
    }

    /// The path with its parameters filled in, each percent-encoded.
    ///
    /// # Panics
    /// If there are fewer `params` than the pattern names: the caller's mistake.
    #[must_use]
    pub fn fill(&self, params: &[&str]) -> String {
        let mut params = params.iter();
        let mut path = String::with_capacity(self.path.len() + 40);
        for segment in self.path.split('/').skip(1) {
            path.push('/');
            if segment.starts_with(':') {
                let value = params.next().expect("as many parameters as the pattern names");
                path.push_str(&percent_encode(value));
            } else {
                path.push_str(segment);
            }
        }
        path
    }
}

/// Encode everything but unreserved characters.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes every write");
        }
    }
    out
}

/// Undo [`percent_encode`]; `None` for broken escapes or bytes that are no UTF-8.
#[must_use]
pub fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}
