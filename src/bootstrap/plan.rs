//! What is to be done next, from what is there. Pure.

use std::collections::BTreeMap;
use std::fmt;

use types::Digest;
use types::cell::FormationSpec;

use super::SYSTEM_APPS;

/// What this run of the bootstrap has seen to be there.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Installed apps, with what the scheduler is asked for.
    pub formations: BTreeMap<&'static str, FormationSpec>,
    /// A scheduler is placed; it places the rest.
    pub placed: bool,
    /// The layers of the git receiver's root.
    pub git_layers: Vec<Digest>,
}

/// One thing to do. Doing it again does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make an app, or bring it up to date.
    Install(&'static str),
    /// Commit an app's jobs to this host, without a scheduler.
    Place(&'static str),
    /// Make the stack layers that the git receiver runs on.
    MakeLayers,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Install(name) => write!(f, "install {name}"),
            Step::Place(name) => write!(f, "place {name}"),
            Step::MakeLayers => f.write_str("make stack layers"),
        }
    }
}

/// The next step, if any is left. The scheduler comes first, since it places all others; layers come last,
/// since they take longest and only the git receiver waits for them.
pub(super) fn next(observed: &Observed) -> Option<Step> {
    for name in SYSTEM_APPS {
        if observed.formations.contains_key(name) {
            if name == "scheduler" && !observed.placed {
                return Some(Step::Place(name));
            }
            continue;
        }
        if name == "gitd" && observed.git_layers.is_empty() {
            return Some(Step::MakeLayers);
        }
        return Some(Step::Install(name));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formation(name: &str) -> FormationSpec {
        let text = format!(r#"{{"app":"system-{name}","app_name":"{name}","release":"r","processes":{{}}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn plan_from_nothing_ends_and_can_be_cut_anywhere() {
        let mut observed = Observed::default();
        let mut steps = Vec::new();
        while let Some(step) = next(&observed) {
            // The same plan comes out as long as a step has not been done.
            assert_eq!(next(&observed), Some(step.clone()));
            match &step {
                Step::Install(name) => drop(observed.formations.insert(name, formation(name))),
                Step::Place(_) => observed.placed = true,
                Step::MakeLayers => observed.git_layers = vec![Digest::parse(&"a".repeat(64)).unwrap()],
            }
            steps.push(step.to_string());
        }
        let expected = [
            "install scheduler",
            "place scheduler",
            "install controller",
            "install blobs",
            "install router",
            "make stack layers",
            "install gitd",
        ];
        assert_eq!(steps, expected);
    }
}
