//! What input the controller accepts. Each failure names the field and says what is allowed.

mod route;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

use types::app::{Map, Port, ProcessSpec, Release};
use types::job::{CheckKind, FileMount, FileSource, Resources, VolumeMount};
use types::{ApiError, AppId, ProcessType};

use crate::limits::{
    ARGS_BYTES_MAX, ARGS_COUNT_MAX, ARTIFACTS_MAX, DEPLOY_TIMEOUT_SECS_MAX, DEPLOY_TIMEOUT_SECS_MIN,
    DESCRIPTION_BYTES_MAX, ENV_BYTES_MAX, ENV_COUNT_MAX, ENV_NAME_BYTES_MAX, ENV_VALUE_BYTES_MAX, FILES_BYTES_MAX,
    FILES_MAX, LAYERS_MAX, MEMORY_BYTES_MIN, META_COUNT_MAX, META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX, PATH_BYTES_MAX,
    PORTS_MAX, PROCESS_COUNT_MAX, PROCESS_TYPES_MAX, VOLUMES_MAX,
};

pub use route::{domain, path};

/// A field whose value is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct Invalid {
    /// Which field, e.g. `processes.web.env.PORT`.
    pub field: String,
    /// What is wrong and what is allowed.
    pub why: String,
}

impl Invalid {
    /// `field` is not allowed because `why`.
    #[must_use]
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Invalid {
        Invalid { field: field.into(), why: why.into() }
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> ApiError {
        ApiError::invalid(&invalid.field, &invalid.why)
    }
}

/// An environment: names that a shell can set, values that the kernel takes.
///
/// # Errors
/// Names the variable, never its value: values are secrets.
pub fn env(field: &str, env: &Map) -> Result<(), Invalid> {
    if env.len() > ENV_COUNT_MAX {
        return Err(Invalid::new(field, format!("has {} variables, at most {ENV_COUNT_MAX} are allowed", env.len())));
    }
    let mut total = 0;
    for (name, value) in env {
        env_name(field, name)?;
        let named = || format!("{field}.{name}");
        if value.len() > ENV_VALUE_BYTES_MAX {
            return Err(Invalid::new(named(), format!("is longer than {ENV_VALUE_BYTES_MAX} bytes")));
        }
        if value.contains('\0') {
            return Err(Invalid::new(named(), "contains a NUL byte"));
        }
        total += name.len() + value.len() + 2;
    }
    if total > ENV_BYTES_MAX {
        return Err(Invalid::new(field, format!("is {total} bytes in all, at most {ENV_BYTES_MAX} are allowed")));
    }
    Ok(())
}

fn env_name(field: &str, name: &str) -> Result<(), Invalid> {
    let head = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let plain = name.bytes().next().is_some_and(head) && name.bytes().all(|b| head(b) || b.is_ascii_digit());
    if !plain || name.len() > ENV_NAME_BYTES_MAX {
        let shown: String = name.chars().take(40).collect();
        return Err(Invalid::new(
            field,
            format!("name {shown:?} is not valid: use letters, digits and _, no digit first, at most 256 bytes"),
        ));
    }
    Ok(())
}

/// Metadata of an object.
///
/// # Errors
/// Names the key.
pub fn meta(field: &str, meta: &Map) -> Result<(), Invalid> {
    if meta.len() > META_COUNT_MAX {
        return Err(Invalid::new(field, format!("has {} keys, at most {META_COUNT_MAX} are allowed", meta.len())));
    }
    for (key, value) in meta {
        if key.is_empty() || key.len() > META_KEY_BYTES_MAX || key.chars().any(char::is_control) {
            let shown: String = key.chars().take(40).collect();
            return Err(Invalid::new(field, format!("key {shown:?} is not valid: use 1 to 256 printable bytes")));
        }
        if value.len() > META_VALUE_BYTES_MAX {
            return Err(Invalid::new(format!("{field}.{key}"), format!("is longer than {META_VALUE_BYTES_MAX} bytes")));
        }
    }
    Ok(())
}

/// The counts of a formation against the process types of its release.
///
/// # Errors
/// Names the process type that is unknown or wanted too often.
pub fn counts(release: &Release, processes: &BTreeMap<ProcessType, u32>) -> Result<(), Invalid> {
    for (process_type, count) in processes {
        let field = || format!("processes.{process_type}");
        if !release.processes.contains_key(process_type) {
            let known: alloc::vec::Vec<&str> = release.processes.keys().map(ProcessType::as_str).collect();
            let known = if known.is_empty() { "none, since nothing was pushed".to_string() } else { known.join(", ") };
            return Err(Invalid::new(
                field(),
                format!("is not a process type of release v{}; it has: {known}", release.version),
            ));
        }
        if *count > PROCESS_COUNT_MAX {
            return Err(Invalid::new(field(), format!("is {count}, at most {PROCESS_COUNT_MAX} jobs are allowed")));
        }
    }
    Ok(())
}

/// A release that somebody wants to make.
///
/// # Errors
/// Names the first field that is not allowed.
pub fn release(release: &Release) -> Result<(), Invalid> {
    if release.artifacts.len() > ARTIFACTS_MAX {
        return Err(Invalid::new("artifacts", format!("has more than {ARTIFACTS_MAX} entries")));
    }
    if release.description.len() > DESCRIPTION_BYTES_MAX {
        return Err(Invalid::new("description", format!("is longer than {DESCRIPTION_BYTES_MAX} bytes")));
    }
    if release.processes.len() > PROCESS_TYPES_MAX {
        return Err(Invalid::new("processes", format!("has more than {PROCESS_TYPES_MAX} process types")));
    }
    env("env", &release.env)?;
    meta("meta", &release.meta)?;
    for (process_type, spec) in &release.processes {
        process(&format!("processes.{process_type}"), spec)?;
        let mut all = release.env.clone();
        all.extend(spec.env.clone());
        env(&format!("processes.{process_type}.env"), &all)?;
    }
    Ok(())
}

/// One process type of a release.
///
/// # Errors
/// Names the first field that is not allowed.
pub fn process(field: &str, spec: &ProcessSpec) -> Result<(), Invalid> {
    args(&format!("{field}.args"), &spec.args)?;
    if spec.ports.len() > PORTS_MAX {
        return Err(Invalid::new(format!("{field}.ports"), format!("has more than {PORTS_MAX} entries")));
    }
    for (at, one) in spec.ports.iter().enumerate() {
        port(&format!("{field}.ports[{at}]"), one)?;
    }
    if spec.volumes.len() > VOLUMES_MAX {
        return Err(Invalid::new(format!("{field}.volumes"), format!("has more than {VOLUMES_MAX} entries")));
    }
    for (at, volume) in spec.volumes.iter().enumerate() {
        mount_path(&format!("{field}.volumes[{at}].path"), &volume.path)?;
    }
    for capability in &spec.linux_capabilities {
        let known = capability.strip_prefix("CAP_").is_some_and(|rest| {
            !rest.is_empty() && rest.len() < 40 && rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        });
        if !known {
            return Err(Invalid::new(format!("{field}.linux_capabilities"), "must be names such as CAP_NET_ADMIN"));
        }
    }
    resources(&format!("{field}.resources"), &spec.resources)
}

/// Where something is mounted in a job's root.
///
/// # Errors
/// When it is not an absolute path below `/`.
pub fn mount_path(field: &str, path: &str) -> Result<(), Invalid> {
    let inside = path.starts_with('/') && path.len() > 1 && path.len() <= PATH_BYTES_MAX;
    if !inside || path.split('/').any(|part| part == "..") || path.contains('\0') {
        return Err(Invalid::new(field, "must be an absolute path below /, without .."));
    }
    Ok(())
}

/// The volumes and files of a job that runs on artifacts of its own.
///
/// # Errors
/// Names the first that is another app's, mounted where nothing can be, or too much.
pub fn mounts(app: &AppId, volumes: &[VolumeMount], files: &[FileMount]) -> Result<(), Invalid> {
    if volumes.len() > VOLUMES_MAX {
        return Err(Invalid::new("volumes", format!("has more than {VOLUMES_MAX} entries")));
    }
    let app = app.as_str().to_ascii_lowercase();
    let (own, cache) = (format!("{app}-"), format!("build-cache-{app}"));
    for (at, volume) in volumes.iter().enumerate() {
        let name = volume.volume.as_str();
        if name != cache && !name.starts_with(&own) {
            return Err(Invalid::new(
                format!("volumes[{at}].volume"),
                format!("must be a volume of the app: {cache}, or one whose name begins with {own}"),
            ));
        }
        mount_path(&format!("volumes[{at}].path"), &volume.path)?;
    }
    if files.len() > FILES_MAX {
        return Err(Invalid::new("files", format!("has more than {FILES_MAX} entries")));
    }
    let mut total = 0;
    for (at, file) in files.iter().enumerate() {
        mount_path(&format!("files[{at}].path"), &file.path)?;
        if let FileSource::Text(text) = &file.source {
            total += text.len();
        }
    }
    if total > FILES_BYTES_MAX {
        return Err(Invalid::new("files", format!("hold more than {FILES_BYTES_MAX} bytes together")));
    }
    Ok(())
}

/// A command.
///
/// # Errors
/// When it is too long or holds a NUL byte.
pub fn args(field: &str, args: &[String]) -> Result<(), Invalid> {
    if args.len() > ARGS_COUNT_MAX {
        return Err(Invalid::new(field, format!("has more than {ARGS_COUNT_MAX} entries")));
    }
    if args.iter().map(String::len).sum::<usize>() > ARGS_BYTES_MAX {
        return Err(Invalid::new(field, format!("is longer than {ARGS_BYTES_MAX} bytes")));
    }
    if args.iter().any(|arg| arg.contains('\0')) {
        return Err(Invalid::new(field, "contains a NUL byte"));
    }
    Ok(())
}

fn port(field: &str, port: &Port) -> Result<(), Invalid> {
    if port.port == 0 {
        return Err(Invalid::new(format!("{field}.port"), "must be from 1 to 65535"));
    }
    if port.proto != "tcp" {
        return Err(Invalid::new(format!("{field}.proto"), "must be tcp"));
    }
    if let Some(check) = &port.check {
        if let CheckKind::Http { path } = &check.kind
            && (!path.starts_with('/') || path.len() > PATH_BYTES_MAX || path.bytes().any(|b| b <= b' ' || b >= 0x7f))
        {
            return Err(Invalid::new(format!("{field}.check.kind.http.path"), "must be a URL path that begins with /"));
        }
        for (name, value) in [
            ("interval_ms", check.interval_ms),
            ("timeout_ms", check.timeout_ms),
            ("start_timeout_ms", check.start_timeout_ms),
            ("threshold", u64::from(check.threshold)),
        ] {
            if value == 0 || value > 86_400_000 {
                return Err(Invalid::new(format!("{field}.check.{name}"), "must be from 1 to 86400000"));
            }
        }
    }
    Ok(())
}

/// Limits of a job.
///
/// # Errors
/// Names the limit that is out of its range.
pub fn resources(field: &str, resources: &Resources) -> Result<(), Invalid> {
    let low = resources.memory_bytes.is_some_and(|bytes| bytes < MEMORY_BYTES_MIN);
    if low {
        return Err(Invalid::new(format!("{field}.memory_bytes"), format!("must be at least {MEMORY_BYTES_MIN}")));
    }
    if resources.cpu_milli == Some(0) {
        return Err(Invalid::new(format!("{field}.cpu_milli"), "must be at least 1"));
    }
    if resources.cpu_weight.is_some_and(|weight| !(1..=10_000).contains(&weight)) {
        return Err(Invalid::new(format!("{field}.cpu_weight"), "must be from 1 to 10000"));
    }
    if resources.pids == Some(0) {
        return Err(Invalid::new(format!("{field}.pids"), "must be at least 1"));
    }
    if resources.open_files.is_some_and(|files| files < 16) {
        return Err(Invalid::new(format!("{field}.open_files"), "must be at least 16"));
    }
    Ok(())
}

/// The number of layers under an artifact.
///
/// # Errors
/// When there are too many.
pub fn layers(count: usize) -> Result<(), Invalid> {
    if count > LAYERS_MAX {
        return Err(Invalid::new("layers", format!("has {count} entries, at most {LAYERS_MAX} are allowed")));
    }
    Ok(())
}

/// The time one deployment step may take.
///
/// # Errors
/// When it is out of its range.
pub fn deploy_timeout(seconds: u32) -> Result<(), Invalid> {
    if (DEPLOY_TIMEOUT_SECS_MIN..=DEPLOY_TIMEOUT_SECS_MAX).contains(&seconds) {
        return Ok(());
    }
    Err(Invalid::new("deploy_timeout", "must be from 1 to 86400 seconds"))
}

#[cfg(test)]
mod tests;
