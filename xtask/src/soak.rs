//! Long searches for what breaks a promise: the demo of the release build, the property tests with many more cases, held calls
//! killed at many more moments and decided by many more people, everything on Postgres and Redis, several gateways in bad
//! weather, backups under load, a schema one step ahead, many more seeds of the simulation, then every fuzz target for a
//! while. Not part of CI.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::steps::Steps;
use crate::workspace::{self, cargo};
use crate::{debian, shared};

/// The version that the fuzz targets are run with.
const CARGO_FUZZ: &str = "0.13.2";
const SECONDS_DEFAULT: u32 = 300;
const PROPERTY_CASES: &str = "50000";
/// How often the gateway dies at each place on a held call's way; where it is set, many decide about many calls too, and many
/// processes count limits for longer.
const CRASH_ROUNDS: &str = "50";
/// How many seeds of the simulation are run.
const SEEDS: &str = "100000";

/// `cargo xtask soak [--seconds N]`: N seconds for each fuzz target.
pub fn run(steps: &mut Steps, arguments: &[String]) -> Result<()> {
    let seconds = seconds(arguments)?;
    steps.command(
        "the README's first command",
        &mut cargo(&["run", "--locked", "--release", "--", "demo", "--check"]),
    )?;
    steps.command(
        "property tests",
        cargo(&["test", "--locked", "--release", "--package", "wire", "--package", "domain"])
            .env("PROPTEST_CASES", PROPERTY_CASES),
    )?;
    steps.command(
        "held calls",
        cargo(&["test", "--locked", "--release", "--package", "toolgate", "--test", "behaviour", "--"])
            .args([
                "a_crash_never_sends_twice",
                "an_approval_is_good_for_one_call",
                "a_store_is_saved_and_moved",
            ])
            .env("TOOLGATE_SOAK_ROUNDS", CRASH_ROUNDS),
    )?;
    debian::install(steps, debian::TESTED)?;
    shared::whole(steps, Some(CRASH_ROUNDS))?;
    steps.command(
        "limits at Redis",
        cargo(&["test", "--locked", "--release", "--package", "counters", "--test", "shared"])
            .args(["--", "--nocapture", "eight_processes_keep_ten_limits"])
            .env("TOOLGATE_PEERS", workspace::peers())
            .env("TOOLGATE_SOAK_ROUNDS", CRASH_ROUNDS),
    )?;
    steps.command(
        "simulation",
        cargo(&["test", "--locked", "--release", "--package", "simulation"]).env("TOOLGATE_SEEDS", SEEDS),
    )?;
    steps.command(
        "backups under load",
        cargo(&["test", "--locked", "--release", "--package", "store", "--test", "contract", "moving"])
            .env("TOOLGATE_SOAK_ROUNDS", CRASH_ROUNDS),
    )?;
    steps.command(
        "the schema one step ahead",
        cargo(&["test", "--locked", "--release", "--package", "store", "--test", "contract", "--"])
            .args(["--skip", "moving", "--skip", "upgrading", "--skip", "opening"])
            .env("TOOLGATE_AHEAD", "1"),
    )?;
    let cargo_fuzz = install(steps)?;
    for target in targets()? {
        let limit = format!("-max_total_time={seconds}");
        steps.command(
            &format!("fuzz {target}"),
            workspace::command("rustup").args(["run", "nightly"]).arg(&cargo_fuzz).args([
                "run",
                &target,
                "--",
                &limit,
                "-rss_limit_mb=2048",
            ]),
        )?;
    }
    steps.summary();
    Ok(())
}

fn seconds(arguments: &[String]) -> Result<u32> {
    match arguments {
        [] => Ok(SECONDS_DEFAULT),
        [flag, value] if flag == "--seconds" => {
            value.parse().with_context(|| format!("`{value}` is no number of seconds"))
        }
        _ => bail!("usage: cargo xtask soak [--seconds N]"),
    }
}

/// cargo-fuzz below `target/tools`, for the nightly toolchain that the sanitizers need.
fn install(steps: &mut Steps) -> Result<std::path::PathBuf> {
    let nightly = Command::new("rustup").args(["run", "nightly", "cargo", "--version"]).output();
    if !nightly.is_ok_and(|output| output.status.success()) {
        bail!("fuzzing needs the nightly toolchain; rustup toolchain install nightly --profile minimal");
    }
    let program = workspace::tools().join("bin/cargo-fuzz");
    if !program.exists() {
        let mut install =
            cargo(&["install", "--quiet", "--locked", "cargo-fuzz", "--version", CARGO_FUZZ, "--root"]);
        steps.command("cargo-fuzz", install.arg(workspace::tools()))?;
    }
    Ok(program)
}

/// Every target, by the name of its file.
fn targets() -> Result<Vec<String>> {
    let folder = workspace::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).context("`fuzz/fuzz_targets` cannot be read")? {
        let path = entry?.path();
        if let (Some(name), true) =
            (path.file_stem(), path.extension().is_some_and(|extension| extension == "rs"))
        {
            names.push(name.display().to_string());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_for_each_target_is_an_argument() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(seconds(&[]).unwrap(), SECONDS_DEFAULT);
        assert_eq!(seconds(&words("--seconds 20")).unwrap(), 20);
        assert!(seconds(&words("--seconds soon")).is_err());
        assert!(seconds(&words("--minutes 1")).is_err());
    }
}
