//! Installs what the black-box tests run against, exactly as the lock files in `tests/peers` say, below
//! `target/peers`. Packages' own install scripts are never run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::steps::Steps;
use crate::workspace::{self, cargo};
use crate::{debian, toolchain};

/// What decides which packages are there, in `tests/peers`.
const LOCKS: [&str; 4] = [".npmrc", "package.json", "package-lock.json", "requirements.txt"];

/// `cargo xtask peers`: what is installed stays as long as the lock files do.
pub fn run(steps: &mut Steps, _arguments: &[String]) -> Result<()> {
    toolchain::run(steps)?;
    install(steps)
}

/// Fetches packages and builds the Rust client.
fn install(steps: &mut Steps) -> Result<()> {
    fetch(steps)?;
    build(steps)
}

/// Installs the packages unless an earlier run with the same lock files did.
pub fn fetch(steps: &mut Steps) -> Result<()> {
    packages(steps)?;
    debian::install(steps, debian::TESTED)
}

/// Builds the Rust client.
pub fn build(steps: &mut Steps) -> Result<()> {
    steps.command(
        "rust client",
        cargo(&["build", "--locked", "--manifest-path", "tests/peers/other_clients/rmcp/Cargo.toml"])
            .env("CARGO_TARGET_DIR", workspace::peers().join("rmcp")),
    )
}

/// Servers, clients and test material from npm and PyPI, unless an earlier run with the same lock files did.
pub fn packages(steps: &mut Steps) -> Result<()> {
    let locks = workspace::root().join("tests/peers");
    let folder = workspace::peers();
    let stamp = folder.join("installed");
    let wanted = contents(&locks)?;
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    steps.work("empty target/peers", "rm -r target/peers", || {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("the old peers cannot be removed");
            }
            _ => fs::create_dir_all(&folder)?,
        }
        for name in LOCKS {
            fs::copy(locks.join(name), folder.join(name))
                .with_context(|| format!("`{name}` cannot be copied"))?;
        }
        Ok(())
    })?;
    steps.command(
        "npm peers",
        workspace::command("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder),
    )?;
    let venv = folder.join("venv");
    steps.command("python environment", workspace::command("python3").args(["-m", "venv"]).arg(&venv))?;
    // The lock file names every package, so nothing is resolved: a release made today cannot change what is installed.
    let pip = |arguments: &[&str]| {
        let mut command = workspace::command(venv.join("bin/python"));
        command.args(["-m", "pip", "--disable-pip-version-check"]).args(arguments);
        command
    };
    steps.command(
        "python peers",
        pip(&[
            "install",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--requirement",
        ])
        .arg(folder.join("requirements.txt")),
    )?;
    steps.command("python peers are whole", &mut pip(&["check"]))?;
    fs::write(stamp, wanted).context("the list of installed peers cannot be written")
}

/// The lock files in one text: the same text means the same packages.
fn contents(folder: &Path) -> Result<String> {
    LOCKS
        .iter()
        .map(|name| {
            fs::read_to_string(folder.join(name))
                .with_context(|| format!("`tests/peers/{name}` cannot be read"))
        })
        .collect()
}
