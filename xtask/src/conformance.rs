//! The official MCP conformance suite, held against the gateway and against the same servers without it. The suite wants a
//! newer Node than most machines have: that comes from npm too, below `target/conformance`.

use anyhow::Result;

use crate::steps::Steps;
use crate::workspace::{self, cargo};
use crate::{npm, peers, toolchain};

/// `cargo xtask conformance`.
pub fn run(steps: &mut Steps, _arguments: &[String]) -> Result<()> {
    toolchain::run(steps)?;
    // The fixture and the client are made of the Python SDK, which the peers bring.
    peers::packages(steps)?;
    fetch(steps)?;
    steps.command("build", &mut cargo(&["build", "--locked"]))?;
    test(steps)
}

/// Fetches the suite and its Node, unless an earlier run with the same lock file did.
pub fn fetch(steps: &mut Steps) -> Result<()> {
    npm::install(steps, "conformance", &scripts(), &folder())
}

/// Runs the suite on the debug build and compares.
pub fn test(steps: &mut Steps) -> Result<()> {
    steps.command(
        "conformance",
        workspace::command(workspace::peers().join("venv/bin/python"))
            .arg(scripts().join("conformance.py"))
            .arg(folder())
            .arg(folder().join("out"))
            .env("TOOLGATE_BIN", workspace::binary()),
    )
}

fn scripts() -> std::path::PathBuf {
    workspace::root().join("tests/conformance")
}

fn folder() -> std::path::PathBuf {
    workspace::target().join("conformance")
}
