//! Trees of files: sizes, copies, removal.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something in a tree, with its path relative to the top.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) meta: fs::Metadata,
}

/// Everything below `top`, folders before what is in them, sorted by name; `false` from `wanted` leaves out an entry
/// and what is below it.
pub(crate) fn walk(top: &Path, wanted: &mut dyn FnMut(&Entry) -> bool) -> io::Result<()> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut names: Vec<_> =
            fs::read_dir(top.join(&folder))?.map(|entry| entry.map(|e| e.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        let mut below = Vec::new();
        for name in names {
            let path = folder.join(&name);
            let entry = Entry { meta: fs::symlink_metadata(top.join(&path))?, path };
            let is_folder = entry.meta.is_dir();
            let path = entry.path.clone();
            if wanted(&entry) && is_folder {
                below.push(path);
            }
        }
        folders.extend(below.into_iter().rev());
    }
    Ok(())
}

/// Bytes and number of the files below `top`, or of the file that it is; nothing when it is not there.
pub(crate) fn measure(top: &Path) -> (u64, u64) {
    if let Ok(meta) = fs::symlink_metadata(top)
        && meta.is_file()
    {
        return (meta.len(), 1);
    }
    let (mut bytes, mut files) = (0, 0);
    // A cache that cannot be read is as good as none.
    let _ = walk(top, &mut |entry| {
        if entry.meta.is_file() {
            bytes += entry.meta.len();
            files += 1;
        }
        true
    });
    (bytes, files)
}

/// Remove a tree; folders that a tool made read-only (Go's modules) are opened first.
pub(crate) fn remove_tree(top: &Path) -> io::Result<()> {
    match fs::remove_dir_all(top) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Command::new("chmod").arg("-R").arg("u+w").arg("--").arg(top).stderr(Stdio::null()).status()?;
            fs::remove_dir_all(top)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Copy a tree; shares blocks with the original where the file system can.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto", "-T", "--"]).arg(from).arg(to).stdin(Stdio::null());
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// A name for messages and lists.
pub(crate) fn lossy(name: &OsStr) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}
