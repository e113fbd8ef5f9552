//! The identity of a tree of files: a digest of names, kinds, modes, owners and contents.
//!
//! Times are left out: the same packages unpacked twice are the same layer.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// What was found on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Hex SHA-256.
    pub digest: String,
    /// Bytes of regular files.
    pub bytes: u64,
    /// How many regular files.
    pub files: u64,
}

/// Read the tree below `root`.
///
/// # Errors
/// When something in it cannot be read.
pub fn read(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree { digest: String::new(), bytes: 0, files: 0 };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    visit(root, root, &mut tree, &mut hash, &mut buffer)?;
    tree.digest = HEXLOWER.encode(&hash.finalize());
    Ok(tree)
}

fn visit(root: &Path, dir: &Path, tree: &mut Tree, hash: &mut Sha256, buffer: &mut [u8]) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let meta = fs::symlink_metadata(&path)?;
        let name = path.strip_prefix(root).unwrap_or(&path);
        head(hash, name, &meta);
        let kind = meta.file_type();
        if kind.is_file() {
            tree.files += 1;
            tree.bytes += meta.len();
            let mut file = File::open(&path)?;
            loop {
                let n = file.read(buffer)?;
                if n == 0 {
                    break;
                }
                hash.update(&buffer[..n]);
            }
        } else if kind.is_symlink() {
            hash.update(fs::read_link(&path)?.as_os_str().as_bytes());
        } else if kind.is_dir() {
            visit(root, &path, tree, hash, buffer)?;
        } else if kind.is_char_device() || kind.is_block_device() {
            // A whiteout of an overlay is the character device 0:0.
            hash.update(meta.rdev().to_le_bytes());
        }
    }
    Ok(())
}

/// Every part has a fixed length or says its own, so that no two trees give the same bytes.
fn head(hash: &mut Sha256, name: &Path, meta: &Metadata) {
    let name = name.as_os_str().as_bytes();
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    for number in [meta.mode(), meta.uid(), meta.gid()] {
        hash.update(number.to_le_bytes());
    }
    let length = if meta.is_dir() { 0 } else { meta.len() };
    hash.update(length.to_le_bytes());
}
