//! `.slugignore`: patterns of files that a build does not need, in the form of `.gitignore` without exceptions.

/// Patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    parts: Vec<String>,
    anchored: bool,
    folder_only: bool,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// Anything else.
    File,
}

impl Ignore {
    /// Read them. Empty lines, comments and exceptions (`!`) are skipped.
    #[must_use]
    pub fn parse(text: &str) -> Ignore {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
        let patterns = lines.filter_map(|line| {
            let bare = line.trim_end_matches('/');
            let parts: Vec<String> = bare.trim_start_matches('/').split('/').map(str::to_owned).collect();
            let empty = parts.iter().all(String::is_empty);
            (!empty).then(|| Pattern { anchored: bare.contains('/'), folder_only: line.ends_with('/'), parts })
        });
        Ignore { patterns: patterns.collect() }
    }

    /// Whether this path, relative to the top, is to go. What is below a folder that goes, goes with it.
    #[must_use]
    pub fn matches(&self, path: &str, kind: Kind) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        self.patterns.iter().any(|pattern| {
            if pattern.folder_only && kind == Kind::File {
                return false;
            }
            if pattern.anchored {
                return whole(&pattern.parts, &parts);
            }
            parts.last().is_some_and(|name| glob(pattern.parts[0].as_bytes(), name.as_bytes()))
        })
    }
}

fn whole(pattern: &[String], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((first, rest)) if first == "**" => (0..=path.len()).any(|skipped| whole(rest, &path[skipped..])),
        Some((first, rest)) => path
            .split_first()
            .is_some_and(|(name, below)| glob(first.as_bytes(), name.as_bytes()) && whole(rest, below)),
    }
}

/// `*` and `?` within one name. Takes at most the product of both lengths.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            n = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}
