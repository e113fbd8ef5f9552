//! The source: one line of request, then a tar, unpacked as what it is, the work of strangers.

use std::io::{BufRead, Read};
use std::path::{Component, Path};

use types::stack::BuildRequest;

use crate::core::ignore::{Ignore, Kind};
use crate::core::phases::size;
use crate::failure::{Failure, FailureCode, at};
use crate::files;
use crate::limits::{FILES_MAX, REQUEST_BYTES_MAX};

/// What was unpacked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// Paths of files, relative to the top.
    pub(crate) names: Vec<String>,
    pub(crate) bytes: u64,
}

pub(crate) fn request(input: &mut dyn BufRead) -> Result<BuildRequest, Failure> {
    let bad = |why: String| Failure::new(FailureCode::BadRequest, format!("the request of the build {why}"), "");
    let mut line = Vec::new();
    input
        .take(REQUEST_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .map_err(|error| bad(format!("cannot be read: {error}")))?;
    serde_json::from_slice(&line).map_err(|error| bad(format!("is not a line of JSON: {error}")))
}

pub(crate) fn unpack(input: &mut dyn Read, into: &Path, bytes_max: u64) -> Result<Source, Failure> {
    let bad = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Failure::io("unpack into", into, &error),
        _ => Failure::new(FailureCode::BadRequest, format!("the source's archive cannot be unpacked: {error}"), ""),
    };
    let too_large = |what: String| {
        let todo = "leave out what the app does not need (.slugignore does not help: it is read after the push)";
        Failure::new(FailureCode::SourceTooLarge, format!("the source has more than {what}"), todo)
    };
    let mut archive = tar::Archive::new(input);
    archive.set_preserve_ownerships(false);
    archive.set_unpack_xattrs(false);
    let mut source = Source::default();
    let mut entries = 0;
    for entry in archive.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        entries += 1;
        source.bytes = source.bytes.saturating_add(entry.size());
        if entries > FILES_MAX {
            return Err(too_large(format!("{FILES_MAX} files")));
        }
        if source.bytes > bytes_max {
            return Err(too_large(size(bytes_max)));
        }
        let kind = entry.header().entry_type();
        if !(kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link() || kind.is_contiguous()) {
            continue;
        }
        let path = entry.path().map_err(bad)?.into_owned();
        let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        // `unpack_in` refuses links that lead out of the folder, and says so by unpacking nothing.
        if !plain || !entry.unpack_in(into).map_err(bad)? {
            let what = format!("the source holds {:?}, which leads out of it", path.display().to_string());
            return Err(Failure::new(FailureCode::BadRequest, what, "remove it from the repository"));
        }
        if !kind.is_dir() {
            let name = path.to_string_lossy();
            source.names.push(name.strip_prefix("./").unwrap_or(&name).to_owned());
        }
    }
    Ok(source)
}

/// Remove what `.slugignore` names; gives how many entries that were.
pub(crate) fn ignore(build: &Path) -> Result<usize, Failure> {
    let Some(text) = crate::run::text(&build.join(".slugignore"))? else { return Ok(0) };
    let ignore = Ignore::parse(&text);
    let mut gone = Vec::new();
    let walked = files::walk(build, &mut |entry| {
        let kind = if entry.meta.is_dir() { Kind::Folder } else { Kind::File };
        let matched = ignore.matches(&entry.path.to_string_lossy(), kind);
        if matched {
            gone.push((build.join(&entry.path), kind));
        }
        !matched
    });
    walked.map_err(at("read", build))?;
    for (path, kind) in &gone {
        match kind {
            Kind::Folder => files::remove_tree(path),
            Kind::File => std::fs::remove_file(path),
        }
        .map_err(at("remove", path))?;
    }
    Ok(gone.len())
}
