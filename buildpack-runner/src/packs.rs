//! The first-party buildpacks, which travel in the binary.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use types::stack::Pack;

macro_rules! pack {
    ($dir:literal) => {
        [
            ("bin/detect", include_str!(concat!("../buildpacks/", $dir, "/bin/detect"))),
            ("bin/compile", include_str!(concat!("../buildpacks/", $dir, "/bin/compile"))),
            ("bin/release", include_str!(concat!("../buildpacks/", $dir, "/bin/release"))),
        ]
    };
}

/// What all of them source.
const SHARED: &str = include_str!("../buildpacks/lib.sh");
const PYTHON: [(&str, &str); 3] = pack!("python");
const GO: [(&str, &str); 3] = pack!("go");
const NODEJS: [(&str, &str); 3] = pack!("nodejs");
const STATIC: [(&str, &str); 3] = pack!("static");

/// Exit code by which a first-party buildpack says that it lacks compilers.
pub(crate) const WANTS_COMPILERS: i32 = 79;

/// Write one to a folder.
pub(crate) fn unpack(pack: Pack, into: &Path) -> io::Result<()> {
    let files = match pack {
        Pack::Python => PYTHON,
        Pack::Go => GO,
        Pack::Nodejs => NODEJS,
        Pack::Static => STATIC,
    };
    fs::create_dir_all(into.join("bin"))?;
    fs::write(into.join("lib.sh"), SHARED)?;
    for (name, text) in files {
        let path = into.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
