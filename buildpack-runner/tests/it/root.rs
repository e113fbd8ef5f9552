use crate::agent::stack::{StackOptions, ensure};
use std::path::PathBuf;
use types::stack::LayerName;

#[test]
fn root_scratch() {
    let o = StackOptions::of_host(PathBuf::from("/tmp/bp/stack"));
    for l in LayerName::ALL {
        let r = ensure(&o, l, &mut |p| println!("{p}"));
        match r {
            Ok(l) => println!(
                "OK {} {} {} {} MB {} files {} packages {}",
                l.name,
                l.digest,
                l.dir.display(),
                l.manifest.bytes / 1_000_000,
                l.manifest.files,
                l.manifest.packages.len(),
                l.manifest.millis
            ),
            Err(e) => println!("ERR {e}"),
        }
    }
}
