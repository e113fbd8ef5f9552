//! The slug: everything that the run job has below `app/`, as a plain tar.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use types::stack::APP_UID;

use crate::core::phases::size;
use crate::failure::{Failure, FailureCode, at};
use crate::files::{self, Entry};
use crate::limits::FILES_MAX;

pub(crate) struct Slug {
    entries: Vec<Entry>,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    /// What cannot be in a slug, e.g. a socket.
    pub(crate) skipped: Vec<PathBuf>,
}

/// Look at everything in `build`.
pub(crate) fn gather(build: &Path, bytes_max: u64) -> Result<Slug, Failure> {
    let mut slug = Slug { entries: Vec::new(), bytes: 0, files: 0, skipped: Vec::new() };
    let walked = files::walk(build, &mut |entry| {
        // What the app's history was is not needed to run it.
        if entry.path == Path::new(".git") {
            return false;
        }
        let kind = entry.meta.file_type();
        if kind.is_file() {
            slug.bytes += entry.meta.len();
            slug.files += 1;
        } else if !kind.is_dir() && !kind.is_symlink() {
            slug.skipped.push(entry.path.clone());
            return false;
        }
        slug.entries.push(entry.clone());
        slug.entries.len() as u64 <= FILES_MAX
    });
    walked.map_err(at("read", build))?;
    if slug.bytes > bytes_max || slug.entries.len() as u64 > FILES_MAX {
        let what = format!(
            "the slug has {} in {} files; it may have {} in {FILES_MAX} files\nlargest at its top: {}",
            size(slug.bytes),
            slug.files,
            size(bytes_max),
            largest(build)
        );
        let todo = "remove what the running app does not need, e.g. by .slugignore";
        return Err(Failure::new(FailureCode::SlugTooLarge, what, todo));
    }
    Ok(slug)
}

fn largest(build: &Path) -> String {
    let Ok(entries) = fs::read_dir(build) else { return String::new() };
    let mut sizes: Vec<(u64, String)> =
        entries.flatten().map(|entry| (files::measure(&entry.path()).0, files::lossy(&entry.file_name()))).collect();
    sizes.sort_by(|one, two| two.cmp(one));
    let told: Vec<String> = sizes.iter().take(3).map(|(bytes, name)| format!("{name} ({})", size(*bytes))).collect();
    told.join(", ")
}

impl Slug {
    /// Write the tar.
    pub(crate) fn write(&self, build: &Path, out: &mut dyn Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(io::BufWriter::with_capacity(256 * 1024, out));
        let mut top = header(&fs::symlink_metadata(build)?);
        top.set_entry_type(tar::EntryType::Directory);
        top.set_mode(0o755);
        tar.append_data(&mut top, "app/", io::empty())?;
        for entry in &self.entries {
            let (from, name) = (build.join(&entry.path), Path::new("app").join(&entry.path));
            let kind = entry.meta.file_type();
            let mut header = header(&entry.meta);
            if kind.is_dir() {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, name, io::empty())?;
            } else if kind.is_symlink() {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, name, fs::read_link(&from)?)?;
            } else {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(entry.meta.len());
                tar.append_data(&mut header, name, File::open(&from)?)?;
            }
        }
        tar.into_inner()?.flush()
    }
}

fn header(meta: &fs::Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    // A program in a slug runs as its user, whoever it was made by.
    header.set_mode(meta.mode() & 0o777);
    header.set_uid(u64::from(APP_UID));
    header.set_gid(u64::from(APP_UID));
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header
}
