//! The one form in which a failure crosses a process.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// A failure as another process sees it: what failed and why, what to do, and whether to try again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What kind of failure this is; stable, for programs.
    pub code: Code,
    /// What failed and why, for people; lower case, no full stop.
    pub message: String,
    /// What to try next, when there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same request may succeed later. The name is Flynn's.
    #[serde(default, rename = "retry")]
    pub retryable: bool,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal;)*) => {
        /// The kinds of failure that cross a process. Each has a fixed text and an HTTP status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the catalogue.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The text on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// The HTTP status it is answered with.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }
        }
    };
}

codes! {
    /// No object of that name or id.
    NotFound = "not_found", 404;
    /// The path names nothing.
    NoSuchEndpoint = "no_such_endpoint", 404;
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405;
    /// Such an object exists already.
    ObjectExists = "object_exists", 409;
    /// Somebody else changed it first, or its state forbids this.
    Conflict = "conflict", 409;
    /// A condition of the request does not hold.
    PreconditionFailed = "precondition_failed", 412;
    /// The body is not the JSON that is expected.
    Syntax = "syntax_error", 400;
    /// A field's value is not allowed.
    Validation = "validation_error", 400;
    /// The body is larger than allowed.
    TooLarge = "request_body_too_big", 413;
    /// Who asks is not known.
    Unauthorized = "unauthorized", 401;
    /// Who asks may not do this.
    Forbidden = "forbidden", 403;
    /// Too many requests or too much queued.
    RateLimited = "ratelimited", 429;
    /// A program on the other side is not there or not ready.
    Unavailable = "service_unavailable", 503;
    /// It took longer than its limit.
    Timeout = "timeout", 504;
    /// The store has no leader.
    StoreUnavailable = "store_unavailable", 503;
    /// The disk under the store is full.
    StoreDiskFull = "store_disk_full", 507;
    /// The host's disk has too little room.
    DiskFull = "disk_full", 507;
    /// No host can take the job.
    NoCapacity = "no_capacity", 503;
    /// The job could not be started.
    StartFailed = "start_failed", 500;
    /// A layer could not be had.
    LayerFailed = "layer_failed", 500;
    /// No buildpack wants the application.
    NoBuildpack = "no_buildpack", 400;
    /// The buildpack's compile step failed.
    BuildFailed = "build_failed", 400;
    /// The Procfile is missing what is needed.
    Procfile = "procfile_invalid", 400;
    /// The repository, slug or file is over its limit.
    OverLimit = "over_limit", 413;
    /// The deployment did not come up and was rolled back.
    DeployFailed = "deploy_failed", 500;
    /// Something in this program broke; the log has the rest.
    Internal = "internal_error", 500;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ApiError {
    /// A failure that trying again will not cure.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> ApiError {
        ApiError { code, message: message.into(), hint: None, retryable: false }
    }

    /// A failure that may pass.
    #[must_use]
    pub fn retryable(code: Code, message: impl Into<String>) -> ApiError {
        ApiError { code, message: message.into(), hint: None, retryable: true }
    }

    /// The same failure with advice on what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> ApiError {
        self.hint = Some(hint.into());
        self
    }

    /// `KIND "NAME" not found`.
    #[must_use]
    pub fn not_found(kind: &str, name: &str) -> ApiError {
        ApiError::new(Code::NotFound, alloc::format!("{kind} {name:?} not found"))
    }

    /// A field's value is not allowed.
    #[must_use]
    pub fn invalid(field: &str, why: &str) -> ApiError {
        let mut message = field.to_owned();
        message.push(' ');
        message.push_str(why);
        ApiError::new(Code::Validation, message)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for ApiError {}
