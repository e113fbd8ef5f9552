//! The host's apt sources, read and narrowed to the distribution's own.

use std::collections::BTreeMap;

/// A place that packages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where.
    pub uri: String,
    /// Which suite, e.g. `bookworm-updates`.
    pub suite: String,
    /// Which components, e.g. `main`.
    pub components: Vec<String>,
    /// Options by their one-line names, e.g. `signed-by`.
    pub options: BTreeMap<String, String>,
    /// A public key that stood in the entry itself.
    pub key: Option<String>,
}

/// Read a file of the one-line form (`deb [signed-by=...] URI suite component...`).
#[must_use]
pub fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    let mut rest = rest.trim_start();
    let mut options = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('[') {
        let (inside, after) = inner.split_once(']')?;
        for (name, value) in inside.split_whitespace().filter_map(|option| option.split_once('=')) {
            options.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        rest = after.trim_start();
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source { uri, suite, components: words.collect(), options, key: None })
}

/// Read a file of the deb822 form (stanzas of `Name: value`).
#[must_use]
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            stanza(&fields, &mut sources);
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = fields.get_mut(&last) {
                value.push('\n');
                // A lone full stop stands for an empty line, as in keys.
                value.push_str(if line.trim() == "." { "" } else { line.trim() });
            }
        } else if let Some((name, value)) = line.split_once(':') {
            last = name.trim().to_ascii_lowercase();
            fields.insert(last.clone(), value.trim().to_owned());
        }
    }
    sources
}

fn stanza(fields: &BTreeMap<String, String>, sources: &mut Vec<Source>) {
    let words = |name: &str| -> Vec<String> {
        fields.get(name).map(|value| value.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
    };
    let off = fields.get("enabled").is_some_and(|value| matches!(value.as_str(), "no" | "false" | "0"));
    if off || !words("types").iter().any(|kind| kind == "deb") {
        return;
    }
    let mut options = BTreeMap::new();
    let mut key = None;
    for (field, option) in
        [("architectures", "arch"), ("trusted", "trusted"), ("check-valid-until", "check-valid-until")]
    {
        if let Some(value) = fields.get(field) {
            options.insert(option.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(","));
        }
    }
    if let Some(signed) = fields.get("signed-by") {
        if signed.contains("BEGIN PGP") {
            key = Some(format!("{}\n", signed.trim()));
        } else {
            options.insert("signed-by".to_owned(), signed.split_whitespace().collect::<Vec<_>>().join(","));
        }
    }
    for uri in words("uris") {
        for suite in words("suites") {
            let components = words("components");
            sources.push(Source { uri: uri.clone(), suite, components, options: options.clone(), key: key.clone() });
        }
    }
}

/// Whether this may be one of the distribution's own: what its name says. Its `Origin` is asked later.
#[must_use]
pub fn may_be_own(source: &Source, codename: &str) -> bool {
    let suite = source.suite.strip_prefix(codename);
    matches!(suite, Some("" | "-updates" | "-security" | "/updates"))
        && source.components.iter().any(|component| component == "main")
        && !source.uri.starts_with("cdrom:")
}

/// Write one line that apt reads; `key_path` is where the entry's own key was put.
#[must_use]
pub fn line(source: &Source, key_path: Option<&str>) -> String {
    let mut options: Vec<String> = source.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if let Some(path) = key_path {
        options.push(format!("signed-by={path}"));
    }
    let options = if options.is_empty() { String::new() } else { format!("[{}] ", options.join(" ")) };
    format!("deb {options}{} {} {}\n", source.uri, source.suite, source.components.join(" "))
}
