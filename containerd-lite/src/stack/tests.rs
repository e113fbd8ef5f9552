use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use testkit::TempDir;
use types::job::FileSource;
use types::stack::LayerName;

use super::clients::{HostClients, choose};
use super::manifest::{Package, added};
use super::recipe::recipe;
use super::sources::{line, may_be_own, parse_deb822, parse_list};
use super::tree;

#[test]
fn sources_of_the_distribution_are_told_from_others() {
    let text = "# comment\n\
        deb http://mirror.test/debian bookworm main contrib # more\n\
        deb-src http://mirror.test/debian bookworm main\n\
        deb [arch=amd64 signed-by=/usr/share/keyrings/d.gpg] http://mirror.test/debian bookworm-updates main\n\
        deb http://sdk.test/apt sdk-bookworm main\n\
        deb cdrom:[disc]/ bookworm main\n\
        deb http://mirror.test/debian trixie main\n";
    let own: Vec<String> =
        parse_list(text).iter().filter(|source| may_be_own(source, "bookworm")).map(|s| line(s, None)).collect();
    assert_eq!(
        own,
        [
            "deb http://mirror.test/debian bookworm main contrib\n",
            "deb [arch=amd64 signed-by=/usr/share/keyrings/d.gpg] http://mirror.test/debian bookworm-updates main\n",
        ]
    );
}

#[test]
fn deb822_stanzas_become_lines_and_keys_become_files() {
    let text = "Types: deb deb-src\n# note\nURIs: http://a.test/debian http://b.test/debian\nSuites: jammy jammy-updates\n\
        Components: main universe\nSigned-By: /usr/share/keyrings/u.gpg\n\nEnabled: no\nTypes: deb\nURIs: http://c.test\n\
        Suites: jammy\nComponents: main\n\nTypes: deb\nURIs: http://d.test\nSuites: jammy\nComponents: main\nSigned-By:\n \
        -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n";
    let sources = parse_deb822(text);
    assert_eq!(sources.len(), 5);
    assert_eq!(
        line(&sources[1], None),
        "deb [signed-by=/usr/share/keyrings/u.gpg] http://a.test/debian jammy-updates main universe\n"
    );
    let key = sources[4].key.as_deref().expect("a key");
    assert_eq!(key, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n");
    assert_eq!(line(&sources[4], Some("/k.asc")), "deb [signed-by=/k.asc] http://d.test jammy main\n");
}

#[test]
fn tree_digest_is_of_content_and_not_of_times() {
    let dir = TempDir::new("tree");
    let make = |name: &str| {
        let root = dir.path().join(name);
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/f"), "text").unwrap();
        symlink("f", root.join("a/l")).unwrap();
        root
    };
    let (one, two) = (make("one"), make("two"));
    let first = tree::read(&one).unwrap();
    assert_eq!(first, tree::read(&two).unwrap());
    assert_eq!((first.bytes, first.files), (4, 1));
    fs::set_permissions(two.join("a/f"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(first.digest, tree::read(&two).unwrap().digest);
    fs::write(one.join("a/f"), "tex1").unwrap();
    assert_ne!(first.digest, tree::read(&one).unwrap().digest);
}

#[test]
fn every_layer_has_packages_and_the_manifest_lists_what_it_adds() {
    for layer in LayerName::ALL {
        assert!(!recipe(layer).packages.is_empty(), "{layer}");
    }
    let package = |name: &str| Package { name: name.to_owned(), version: "1".to_owned() };
    assert_eq!(added("b 1\na 1\nc 1\n", &[package("b")]), [package("a"), package("c")]);
}

#[test]
fn build_gets_mirrors_and_certificates_and_nothing_else_of_the_host() {
    let env = BTreeMap::from(
        [("PIP_INDEX_URL", "http://pip.test"), ("HTTPS_PROXY", "http://p.test"), ("SECRET", "s"), ("PATH", "/bin")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let host = HostClients {
        env,
        pip: vec![
            "[global]\ncert = /etc/ca.crt\nindex-url = http://one.test\n[list]\nindex-url = http://no.test\n"
                .to_owned(),
            "[global]\nextra-index-url =\n    http://two.test\n    http://three.test\nfind-links = /opt/wheels\n"
                .to_owned(),
        ],
        npm: vec![
            "registry=http://npm.test\ncafile=/etc/ca.crt\n; note\n@corp:registry=http://corp.test\n\
             //corp.test/:_authToken=${TOKEN}\nscript-shell=/bin/zsh\n"
                .to_owned(),
        ],
        go: "GOPROXY=http://go.test\nGOFLAGS=-mod=mod\n".to_owned(),
    };
    let settings = choose(&host);
    assert_eq!(settings.env["PIP_INDEX_URL"], "http://pip.test");
    assert_eq!(settings.env["GOPROXY"], "http://go.test");
    assert_eq!(settings.env["PIP_CERT"], "/etc/ssl/certs/ca-certificates.crt");
    assert!(!settings.env.contains_key("SECRET") && !settings.env.contains_key("PATH"));
    assert!(!settings.env.contains_key("GOFLAGS"));
    let text = |path: &str| {
        let file = settings.files.iter().find(|file| file.path == path).expect(path);
        match &file.source {
            FileSource::Text(text) => text.clone(),
            FileSource::CaBundle => String::new(),
        }
    };
    assert_eq!(
        text("/etc/pip.conf"),
        "[global]\nextra-index-url = \n    http://two.test\n    http://three.test\nindex-url = http://one.test\n"
    );
    assert_eq!(
        text("/etc/npmrc"),
        "//corp.test/:_authToken=${TOKEN}\n@corp:registry=http://corp.test\nregistry=http://npm.test\n"
    );
    assert_eq!(choose(&HostClients::default()).files.len(), 1);
}
