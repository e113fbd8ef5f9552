//! Which of a push's updates are deployed: the deploy branch alone, and never its deletion.

/// Branches that deploy.
pub const DEPLOY_BRANCHES: [&str; 2] = ["main", "master"];

/// One line of what git gives its pre-receive hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The commit before; zeros for a new ref.
    pub old: String,
    /// The commit after; zeros for a deleted ref.
    pub new: String,
    /// The full name of the ref.
    pub name: String,
}

/// Why a push is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was wrong.
    pub message: String,
    /// What to type instead.
    pub hint: String,
}

impl Update {
    /// Parse `OLD NEW NAME`.
    #[must_use]
    pub fn parse(line: &str) -> Option<Update> {
        let (old, rest) = line.split_once(' ')?;
        let (new, name) = rest.split_once(' ')?;
        let hash = |text: &str| matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
        let whole = hash(old) && hash(new) && name.starts_with("refs/");
        whole.then(|| Update { old: old.to_owned(), new: new.to_owned(), name: name.to_owned() })
    }

    fn is_deletion(&self) -> bool {
        self.new.bytes().all(|b| b == b'0')
    }
}

/// The one update that is deployed.
///
/// # Errors
/// Says which command deploys instead.
pub fn choose(updates: &[Update]) -> Result<&Update, Refusal> {
    let refuse = |message: String, hint: &str| Err(Refusal { message, hint: hint.to_owned() });
    let [update] = updates else {
        return refuse(
            format!("{} branches or tags were pushed, and one is deployed at a time", updates.len()),
            "git push slipway main",
        );
    };
    let Some(branch) = update.name.strip_prefix("refs/heads/") else {
        let tag = update.name.strip_prefix("refs/tags/").unwrap_or(&update.name);
        return refuse(
            format!("{tag} is a tag, and only main deploys"),
            &format!("git push slipway {tag}^{{}}:refs/heads/main"),
        );
    };
    if !DEPLOY_BRANCHES.contains(&branch) {
        return refuse(
            format!("the branch {branch} does not deploy; main does"),
            &format!("git push slipway {branch}:main"),
        );
    }
    if update.is_deletion() {
        return refuse(
            format!("{branch} is what runs and cannot be deleted"),
            "slipway scale web=0, or slipway delete",
        );
    }
    Ok(update)
}

#[cfg(test)]
mod tests;
