//! What of the host's package-client settings a build gets: certificates, mirrors, proxies, and nothing else.
//!
//! The choice is pure: [`choose`] takes texts and an environment and gives variables and small files. Only settings
//! that say *where packages come from* pass; paths of the host, hooks and everything unknown stay behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use types::job::{FileMount, FileSource};

/// Where a build finds the certificate authorities.
pub const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Variables that point clients with no other way to the bundle; measured: uv and upstream Node.js need theirs.
const CA_VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
];

/// Variables that pass from the operator's environment, by their lower-case names.
const PASSED: [&str; 24] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "pip_index_url",
    "pip_extra_index_url",
    "pip_trusted_host",
    "pip_default_timeout",
    "pip_retries",
    "uv_index_url",
    "uv_default_index",
    "uv_index",
    "npm_config_registry",
    "npm_config_proxy",
    "npm_config_https_proxy",
    "npm_config_noproxy",
    "npm_config_strict_ssl",
    "yarn_registry",
    "goproxy",
    "gosumdb",
    "gonosumdb",
    "goprivate",
    "gonoproxy",
];

/// Keys of pip's configuration that pass.
const PIP_KEYS: [&str; 6] = ["index-url", "extra-index-url", "trusted-host", "timeout", "retries", "proxy"];

/// Keys of npm's configuration that pass, besides scopes and passwords of registries.
const NPM_KEYS: [&str; 8] =
    ["registry", "proxy", "https-proxy", "noproxy", "strict-ssl", "always-auth", "fetch-retries", "fetch-timeout"];

/// What there is on the host.
#[derive(Clone, Debug, Default)]
pub struct HostClients {
    /// The operator's environment.
    pub env: BTreeMap<String, String>,
    /// pip's configuration files, the weakest first.
    pub pip: Vec<String>,
    /// npm's configuration files, the weakest first.
    pub npm: Vec<String>,
    /// The file that `go env -w` writes.
    pub go: String,
}

impl HostClients {
    /// Read them: the system's files and those of the operator, whose folder is `home`.
    #[must_use]
    pub fn read(env: BTreeMap<String, String>, home: &Path) -> HostClients {
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let all = |system: &[&str], own: &[&str]| {
            system
                .iter()
                .map(|path| text(Path::new(path)))
                .chain(own.iter().map(|path| text(&home.join(path))))
                .collect()
        };
        HostClients {
            env,
            pip: all(&["/etc/xdg/pip/pip.conf", "/etc/pip.conf"], &[".pip/pip.conf", ".config/pip/pip.conf"]),
            npm: all(&["/usr/etc/npmrc", "/usr/local/etc/npmrc", "/etc/npmrc"], &[".npmrc"]),
            go: text(&home.join(".config/go/env")),
        }
    }
}

/// What a build job is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildClientSettings {
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Files in its root.
    pub files: Vec<FileMount>,
}

/// Choose.
#[must_use]
pub fn choose(host: &HostClients) -> BuildClientSettings {
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    let mut files = vec![FileMount { path: CA_BUNDLE.to_owned(), source: FileSource::CaBundle }];
    for name in CA_VARIABLES {
        env.insert(name.to_owned(), CA_BUNDLE.to_owned());
    }
    for line in host.go.lines() {
        if let Some((name, value)) = line.split_once('=')
            && name.starts_with("GO")
            && PASSED.contains(&name.to_ascii_lowercase().as_str())
        {
            env.insert(name.to_owned(), value.trim().to_owned());
        }
    }
    for (name, value) in &host.env {
        if PASSED.contains(&name.to_ascii_lowercase().as_str()) && !value.is_empty() {
            env.insert(name.clone(), value.clone());
        }
    }
    let pip = pip_conf(&host.pip);
    if !pip.is_empty() {
        files.push(FileMount { path: "/etc/pip.conf".to_owned(), source: FileSource::Text(pip) });
    }
    let npm = npmrc(&host.npm);
    if !npm.is_empty() {
        files.push(FileMount { path: "/etc/npmrc".to_owned(), source: FileSource::Text(npm) });
        // Debian's npm reads this file by itself, others look below their own prefix.
        env.insert("NPM_CONFIG_GLOBALCONFIG".to_owned(), "/etc/npmrc".to_owned());
    }
    BuildClientSettings { env, files }
}

fn pip_conf(texts: &[String]) -> String {
    let mut chosen: BTreeMap<String, String> = BTreeMap::new();
    for text in texts {
        let mut section = String::new();
        let mut key: Option<String> = None;
        for line in text.lines() {
            let bare = line.trim();
            if bare.is_empty() || bare.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.trim().clone_into(&mut section);
                key = None;
            } else if line.starts_with([' ', '\t']) {
                // A value goes on in indented lines.
                if let Some(value) = key.as_ref().and_then(|key| chosen.get_mut(key)) {
                    value.push_str("\n    ");
                    value.push_str(bare);
                }
            } else if let Some((name, value)) = bare.split_once(['=', ':']) {
                let name = name.trim().to_ascii_lowercase().replace('_', "-");
                let wanted = matches!(section.as_str(), "global" | "install") && PIP_KEYS.contains(&name.as_str());
                key = wanted.then(|| name.clone());
                if wanted {
                    chosen.insert(name, value.trim().to_owned());
                }
            }
        }
    }
    if chosen.is_empty() {
        return String::new();
    }
    let lines: String = chosen.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    format!("[global]\n{lines}")
}

fn npmrc(texts: &[String]) -> String {
    let mut chosen: BTreeMap<String, String> = BTreeMap::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let bare = line.trim();
        if bare.starts_with(['#', ';']) {
            continue;
        }
        if let Some((name, value)) = bare.split_once('=') {
            let name = name.trim();
            let scope = name.starts_with('@') && name.ends_with(":registry");
            let password = name.starts_with("//") && name.rsplit_once(':').is_some_and(|(_, key)| is_password(key));
            if NPM_KEYS.contains(&name) || scope || password {
                chosen.insert(name.to_owned(), value.trim().to_owned());
            }
        }
    }
    chosen.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

fn is_password(key: &str) -> bool {
    matches!(key, "_authToken" | "_auth" | "_password" | "username" | "email" | "always-auth")
}
