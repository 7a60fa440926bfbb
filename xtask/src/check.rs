//! What can be said about the code without running it. It must never change a file.

use anyhow::Result;

use crate::steps::Steps;
use crate::workspace::{self, cargo};

/// The version whose verdicts `deny.toml` was written for.
const CARGO_DENY: &str = "0.20.2";

/// `cargo xtask check`.
pub fn run(steps: &mut Steps, _arguments: &[String]) -> Result<()> {
    formatting(steps)?;
    lints(steps)?;
    dependencies(steps)
}

/// Workspaces of their own, which `--all` does not reach.
const OUTSIDE: [&str; 3] = ["bench/upstream", "fuzz", "tests/peers/other_clients/rmcp"];

fn formatting(steps: &mut Steps) -> Result<()> {
    steps.command("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
    for folder in OUTSIDE {
        let manifest = format!("{folder}/Cargo.toml");
        steps.command(
            &format!("formatting of {folder}"),
            &mut cargo(&["fmt", "--check", "--manifest-path", &manifest]),
        )?;
    }
    Ok(())
}

fn lints(steps: &mut Steps) -> Result<()> {
    // What is built with the simulation is another store and another pipeline: see `test.rs`.
    let parts = [
        ("lints", ["--workspace", "--exclude=simulation"]),
        ("lints of the simulation", ["--package", "simulation"]),
    ];
    for (what, which) in parts {
        let mut clippy = cargo(&["clippy", "--locked", "--all-targets"]);
        steps.command(what, clippy.args(which).args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// Banned crates, licences and sources. Advisories need a database from outside and are not checked here.
fn dependencies(steps: &mut Steps) -> Result<()> {
    let cargo_deny = workspace::tools().join("bin/cargo-deny");
    if !cargo_deny.exists() {
        // An unoptimised build: it is ready in half the time and runs for seconds.
        let mut install = cargo(&["install", "--quiet", "--locked", "--debug", "--no-default-features"]);
        install.args(["cargo-deny", "--version", CARGO_DENY, "--root"]).arg(workspace::tools());
        install.env("CARGO_PROFILE_DEV_DEBUG", "0").arg("--target-dir").arg(workspace::tools().join("build"));
        steps.command("cargo-deny", &mut install)?;
    }
    let mut deny = workspace::command(&cargo_deny);
    deny.args(["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    steps.command("dependencies", &mut deny)
}
