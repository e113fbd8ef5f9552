//! What `bin/release` prints: a small YAML of two levels.
//!
//! Only what buildpacks use is read: `default_process_types:` and `config_vars:`, each with `name: value` lines below,
//! tabs or spaces, quoted or not. Everything else (`addons:`, lists, `---`) is skipped, as it was on Heroku for years.

use std::collections::BTreeMap;

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Commands by process type.
    pub process_types: BTreeMap<String, String>,
    /// Proposed config variables.
    pub config_vars: BTreeMap<String, String>,
}

/// Read it. Nothing is an error: a release that says nothing is allowed.
#[must_use]
pub fn parse(text: &str) -> Release {
    let mut release = Release::default();
    let mut section = String::new();
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with('#') || bare.starts_with("---") || bare.starts_with("- ") {
            continue;
        }
        let Some((name, value)) = bare.split_once(':') else { continue };
        let (name, value) = (unquote(name.trim()), unquote(value.trim()));
        if !line.starts_with([' ', '\t']) {
            section = name;
            continue;
        }
        if value.is_empty() {
            continue;
        }
        match section.as_str() {
            "default_process_types" => release.process_types.insert(name, value),
            "config_vars" => release.config_vars.insert(name, value),
            _ => None,
        };
    }
    release
}

fn unquote(text: &str) -> String {
    if let Some(inner) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return inner.replace("''", "'");
    }
    if let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return inner.replace("\\\"", "\"").replace("\\\\", "\\");
    }
    text.to_owned()
}
