//! The grammar of what buildpacks print: arrows begin a step, some details tell of the cache.

/// A line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `-----> Installing dependencies`.
    Step(String),
    /// `       Cache hit: requirements unchanged`.
    Cache(String),
    /// Anything else.
    Other,
}

/// Longest name of a step.
const STEP_CHARS_MAX: usize = 60;

/// Read a line, without its end.
#[must_use]
pub fn parse(line: &[u8]) -> Line {
    let text = String::from_utf8_lossy(line);
    let text = plain(&text);
    if let Some(step) = text.strip_prefix("----->") {
        let step = step.trim().trim_end_matches(['.', '\u{2026}']);
        return if step.is_empty() { Line::Other } else { Line::Step(step.chars().take(STEP_CHARS_MAX).collect()) };
    }
    let bare = text.trim();
    match bare.strip_prefix("Cache ") {
        Some(said) if said.starts_with("hit") || said.starts_with("miss") => Line::Cache(said.to_owned()),
        _ => Line::Other,
    }
}

/// Without the sequences that colour a terminal.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' && rest.peek() == Some(&'[') {
            rest.find(|c| c.is_ascii_alphabetic());
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out
}
