//! How an app names a buildpack.

use types::stack::Pack;

/// A buildpack, as named in `BUILDPACK_URL` or a line of `.buildpacks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// One of ours.
    FirstParty(Pack),
    /// A folder of the app's repository, relative to its top; empty when it is the top itself.
    InRepo(String),
    /// A git repository, and a branch, tag or commit of it.
    Git {
        /// Where.
        url: String,
        /// Which state; the default branch when absent.
        commit: Option<String>,
    },
    /// A packed folder.
    Tarball(String),
}

/// Why a text names no buildpack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It leaves the repository.
    #[error("{0:?} leads out of the repository")]
    Outside(String),
    /// A scheme that is not fetched.
    #[error("{0:?} is neither https, http, git nor ssh")]
    Scheme(String),
    /// Nothing that is known.
    #[error("{0:?} is neither a URL, nor a folder like ./buildpack, nor one of python, go, nodejs, static")]
    Unknown(String),
}

/// Read it.
///
/// # Errors
/// When it names nothing that could be fetched.
pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
    let text = text.trim();
    if let Some(pack) = Pack::parse(text) {
        return Ok(Reference::FirstParty(pack));
    }
    let (base, commit) = match text.split_once('#') {
        Some((base, commit)) => (base, Some(commit.to_owned()).filter(|commit| !commit.is_empty())),
        None => (text, None),
    };
    // A word that starts with a dash would be an option to git.
    if base.is_empty() || base.starts_with('-') || commit.as_ref().is_some_and(|commit| commit.starts_with('-')) {
        return Err(ReferenceError::Unknown(text.to_owned()));
    }
    if let Some((scheme, _)) = base.split_once("://") {
        if !matches!(scheme, "https" | "http" | "git" | "ssh" | "git+ssh") {
            return Err(ReferenceError::Scheme(text.to_owned()));
        }
        let path = base.split('?').next().unwrap_or(base);
        if matches!(scheme, "https" | "http") && [".tgz", ".tar.gz", ".tar"].iter().any(|end| path.ends_with(end)) {
            return Ok(Reference::Tarball(base.to_owned()));
        }
        return Ok(Reference::Git { url: base.to_owned(), commit });
    }
    if base.contains('@') && base.contains(':') {
        return Ok(Reference::Git { url: base.to_owned(), commit });
    }
    if base == "." || base.starts_with("./") || base.contains('/') {
        let parts: Vec<&str> = base.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if base.starts_with('/') || parts.contains(&"..") {
            return Err(ReferenceError::Outside(text.to_owned()));
        }
        return Ok(Reference::InRepo(parts.join("/")));
    }
    Err(ReferenceError::Unknown(text.to_owned()))
}
