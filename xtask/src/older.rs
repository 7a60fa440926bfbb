//! An older Toolgate beside this one: built from the repository's history, run on the same Postgres and the same homes by the
//! tests of several gateways. Not part of CI: whoever makes a release holds it against the release before.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::shared::Servers;
use crate::steps::Steps;
use crate::workspace::{self, cargo};
use crate::{debian, toolchain};

/// What is run. Every second gateway of these tests is the older one.
const TESTS: &[&str] =
    &["an_older_version_stands_beside::", "several_gateways_are_one::", "two_gateways_on_one_store"];

/// `cargo xtask older REVISION`: a tag, a branch or a commit.
///
/// # Errors
/// When the revision is not there, cannot be built, or a test fails.
pub fn run(steps: &mut Steps, arguments: &[String]) -> Result<()> {
    let [revision] = arguments else { bail!("usage: cargo xtask older REVISION") };
    toolchain::run(steps)?;
    debian::install(steps, debian::TESTED)?;
    let older = build(steps, revision)?;
    let servers = Servers::start(steps)?;
    let mut tests = servers.tests("behaviour", &[], TESTS);
    steps.command("the older version beside this one", tests.env("TOOLGATE_OLDER", older))?;
    steps.summary();
    Ok(())
}

/// Its program, built as that revision says, below `target/older`. The next revision compiles only what differs.
fn build(steps: &mut Steps, revision: &str) -> Result<PathBuf> {
    let commit = format!("{revision}^{{commit}}");
    let found = workspace::command("git")
        .args(["rev-parse", "--verify", "--quiet", "--end-of-options", &commit])
        .output();
    let found = found.context("`git` cannot be started")?;
    if !found.status.success() {
        bail!("there is no revision `{revision}` here; see: git log --oneline");
    }
    let commit = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    let (source, target) =
        (workspace::target().join("older/source"), workspace::target().join("older/target"));
    let mut unpack = workspace::command("sh");
    // Nothing of the revision before may stay; a folder of its own, so that this work tree is left alone.
    unpack
        .args(["-c", "rm -rf \"$1\" && mkdir -p \"$1\" && git archive \"$0\" | tar -x -C \"$1\"", &commit])
        .arg(&source);
    steps.command("the older source", &mut unpack)?;
    let mut build = cargo(&["build", "--locked", "--package", "toolgate"]);
    steps.command("the older version", build.current_dir(&source).env("CARGO_TARGET_DIR", &target))?;
    Ok(target.join("debug/toolgate"))
}
