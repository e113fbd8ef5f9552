//! Failures of a build: what kind, what happened, why, and what to do.

use std::io;
use std::path::Path;

use types::stack::{BuildFailure, LayerName};

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $number:literal, $text:literal;)*) => {
        /// What kind of failure; also the exit code of the build job. Meanings never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FailureCode {
            $($(#[$doc])* $code = $number,)*
        }

        impl FailureCode {
            /// The word for it in a reply.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(FailureCode::$code => $text,)*
                }
            }

            /// The exit code.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self {
                    $(FailureCode::$code => $number,)*
                }
            }
        }
    };
}

codes! {
    /// The first line or the archive cannot be read: the platform's fault.
    BadRequest = 64, "bad-request";
    /// The source has too many bytes or files.
    SourceTooLarge = 65, "source-too-large";
    /// Nothing tells how to build the app.
    NoBuildpack = 66, "no-buildpack";
    /// The buildpack that the app names cannot be had.
    BuildpackUnavailable = 67, "buildpack-unavailable";
    /// The buildpack that the app names says that it does not fit.
    DetectFailed = 68, "detect-failed";
    /// A buildpack ended with an error.
    CompileFailed = 69, "compile-failed";
    /// It took too long or printed too much.
    LimitReached = 70, "limit-reached";
    /// The Procfile cannot be read.
    ProcfileInvalid = 71, "procfile-invalid";
    /// Nothing would answer requests.
    NoWeb = 72, "no-web";
    /// The slug has too many bytes or files.
    SlugTooLarge = 73, "slug-too-large";
    /// A file cannot be read or written.
    Io = 74, "io";
    /// No room is left.
    DiskFull = 75, "disk-full";
    /// It needs more layers: try again with them.
    WantsLayers = 76, "wants-layers";
}

/// Why there is no slug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: FailureCode,
    /// What failed and why; may have several lines.
    pub(crate) what: String,
    /// What to do; may be empty.
    pub(crate) todo: String,
    pub(crate) wants: Vec<LayerName>,
}

impl Failure {
    pub(crate) fn new(code: FailureCode, what: impl Into<String>, todo: impl Into<String>) -> Failure {
        Failure { code, what: what.into(), todo: todo.into(), wants: Vec::new() }
    }

    /// A file that cannot be used.
    pub(crate) fn io(action: &str, path: &Path, error: &io::Error) -> Failure {
        let what = format!("{action} {}: {error}", path.display());
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Failure::new(FailureCode::DiskFull, what, "free some room on the host, then push again");
        }
        Failure::new(FailureCode::Io, what, "push again; if it stays, the operator should look at the host's disk")
    }

    pub(crate) fn reply(&self) -> BuildFailure {
        let message = if self.todo.is_empty() { self.what.clone() } else { format!("{}\n{}", self.what, self.todo) };
        BuildFailure { code: self.code.as_str().to_owned(), message, wants: self.wants.clone() }
    }
}

/// For `map_err`.
pub(crate) fn at<'a>(action: &'a str, path: &'a Path) -> impl Fn(io::Error) -> Failure + 'a {
    move |error| Failure::io(action, path, &error)
}
