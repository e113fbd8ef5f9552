//! What CI runs, in the order in which it fails soonest.

use anyhow::Result;

pub(crate) fn run() -> Result<()> {
    crate::cargo(&["fmt", "--all", "--", "--check"], &[])?;
    crate::tidy::run()?;
    crate::cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])?;
    // The binary that the cluster tests run is built once, as users build it.
    crate::cargo(&["build", "--release", "--package", "slipway"], &[])?;
    crate::cargo(&["test", "--workspace", "--no-fail-fast"], &[("CI", "true")])?;
    crate::cargo(&["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])
}
