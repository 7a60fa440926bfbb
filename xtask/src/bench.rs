//! Builds what the measuring rig in `bench/` needs and runs it. Figures are taken from the profile that ships.

use anyhow::Result;

use crate::steps::Steps;
use crate::workspace::{self, cargo};

/// `cargo xtask bench`; the arguments go to the rig.
pub fn run(steps: &mut Steps, arguments: &[String]) -> Result<()> {
    let folder = workspace::target().join("bench");
    let upstream = folder.join("build");
    steps.command("gateway, as shipped", &mut cargo(&["build", "--locked", "--profile", "dist"]))?;
    steps.command(
        "upstream",
        cargo(&["build", "--locked", "--release", "--manifest-path", "bench/upstream/Cargo.toml"])
            .env("CARGO_TARGET_DIR", &upstream),
    )?;
    steps.command(
        "measurements",
        workspace::command("python3")
            .arg("bench/bench.py")
            .arg("--toolgate")
            .arg(workspace::target().join("dist/toolgate"))
            .arg("--upstream")
            .arg(upstream.join("release/bench-upstream"))
            .arg("--work")
            .arg(folder.join("work"))
            .args(arguments),
    )
}
