//! The parsers of what apps and buildpacks say: total, bounded, and true to what they print.

use buildpack_runner::core::ignore::{Ignore, Kind};
use buildpack_runner::core::line;
use buildpack_runner::core::{procfile, reference, release};
use stdx::Rng;

const SEEDS: [&str; 6] = [
    "web: gunicorn app:app --bind :$PORT\nworker: python w.py\n",
    "# c\r\n\u{feff}a:b\nweb-2:\tx\u{0}y: z\n",
    "---\nconfig_vars:\n  A: 'b''c'\ndefault_process_types:\n\tweb: \"x\\\"y\"\n",
    "*.psd\n/a/**/b/\n!c\n?*?*?\n**\n",
    "https://git.test/pack#v1\n../x\n./a//./b\nheroku/python\n",
    "\u{1b}[1m-----> Step...\u{1b}[0\n       Cache hit: x\n",
];

fn mutate(rng: &mut Rng, seed: &str) -> Vec<u8> {
    let mut bytes = seed.as_bytes().to_vec();
    for _ in 0..=rng.below(8) {
        let at = rng.index(bytes.len() + 1);
        match rng.below(4) {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 if at < bytes.len() => bytes[at] = rng.below(256).to_le_bytes()[0],
            2 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, b":\n#/*! \t"[rng.index(8)]),
        }
    }
    bytes
}

fn each(name: &str, mut check: impl FnMut(&str, &[u8]) -> Result<(), String>) {
    testkit::sweep(name, |seed| {
        let mut rng = Rng::new(seed);
        for text in SEEDS {
            let bytes = mutate(&mut rng, text);
            check(&String::from_utf8_lossy(&bytes), &bytes)?;
        }
        Ok::<(), String>(())
    });
}

#[test]
fn fuzz_procfile() {
    each("fuzz_procfile", |text, _| {
        let Ok(types) = procfile::parse(text) else { return Ok(()) };
        let printed: String = types.iter().map(|(name, command)| format!("{name}: {command}\n")).collect();
        if procfile::parse(&printed) == Ok(types) { Ok(()) } else { Err(format!("not read back: {printed:?}")) }
    });
}

#[test]
fn fuzz_texts_of_buildpacks() {
    each("fuzz_texts_of_buildpacks", |text, bytes| {
        let _ = release::parse(text);
        let _ = line::parse(bytes);
        let ignore = Ignore::parse(text);
        let _ = ignore.matches("a/b/c/d.psd", Kind::File);
        let _ = ignore.matches(text, Kind::Folder);
        for line in text.lines() {
            if let Ok(reference::Reference::InRepo(path)) = reference::parse(line)
                && (path.starts_with('/') || path.split('/').any(|part| part == ".."))
            {
                return Err(format!("{line:?} leads out by {path:?}"));
            }
        }
        Ok(())
    });
}

/// Proves that the sweep would notice: a claim that mutation must break.
#[test]
fn fuzz_canary_is_found() {
    let found = testkit::find(64, |seed| {
        let text = mutate(&mut Rng::new(seed), SEEDS[0]);
        if procfile::parse(&String::from_utf8_lossy(&text)).is_ok() { Ok(()) } else { Err("broken".to_owned()) }
    });
    assert!(found.is_some());
}
