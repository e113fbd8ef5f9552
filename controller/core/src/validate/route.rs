//! Domains and paths of routes.

use alloc::format;
use alloc::string::String;

use super::Invalid;
use crate::limits::{DOMAIN_BYTES_MAX, PATH_BYTES_MAX};

/// The domain in its one form: lower case, no final dot. `*.NAME` stands for every name below `NAME`.
///
/// # Errors
/// When it is not a host name.
pub fn domain(text: &str) -> Result<String, Invalid> {
    let lower = text.trim_end_matches('.').to_ascii_lowercase();
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    if lower.len() > DOMAIN_BYTES_MAX || !name.split('.').all(label) {
        let shown: String = text.chars().take(80).collect();
        return Err(Invalid::new(
            "domain",
            format!("{shown:?} is not a host name: use labels of letters, digits and dashes joined by dots, or *.NAME"),
        ));
    }
    Ok(lower)
}

/// The path prefix in its one form: begins and ends with `/`. Empty means all.
///
/// # Errors
/// When it is not a URL path.
pub fn path(text: &str) -> Result<String, Invalid> {
    if text.is_empty() || text == "/" {
        return Ok(String::from("/"));
    }
    let plain = text.bytes().all(|b| b > b' ' && b < 0x7f && !matches!(b, b'?' | b'#' | b'\\' | b'%'));
    let parts = !text.contains("//") && !text.split('/').any(|part| part == "." || part == "..");
    if !text.starts_with('/') || !plain || !parts || text.len() > PATH_BYTES_MAX {
        return Err(Invalid::new("path", "must begin with / and hold no //, no dot segments, no ?, # or %"));
    }
    let mut path = String::from(text);
    if !path.ends_with('/') {
        path.push('/');
    }
    Ok(path)
}
