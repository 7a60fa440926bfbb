//! Project tasks: what CI runs, and what a developer runs before CI does. Everything a test needs is
//! installed below `target/` and every server a test starts is stopped by that test; nothing is left running.

mod bench;
mod browser;
mod check;
mod conformance;
mod debian;
mod npm;
mod older;
mod peers;
mod postgres;
mod redis;
mod shared;
mod soak;
mod steps;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::steps::Steps;

/// A task: its name, what help says about it, and what it runs with the remaining arguments.
type Task = (&'static str, &'static str, fn(&mut Steps, &[String]) -> Result<()>);

const TASKS: &[Task] = &[
    ("test", "everything CI runs: check, peers, build, all tests, the demo's own proof", test::run),
    ("check", "formatting, lints, dependencies, licences", check::run),
    ("peers", "install the real MCP servers and clients below target/peers", peers::run),
    ("conformance", "hold the official MCP conformance suite against the gateway", conformance::run),
    ("browser", "drive a real browser through the console", browser::run),
    ("screenshots", "pictures of every page of the console into docs/screenshots", browser::screenshots),
    ("bench", "measure the gateway next to nginx and print a report (--quick, --seconds N)", bench::run),
    ("shared", "the behaviour suite on Postgres and Redis, several gateways included", shared::run),
    ("older", "an older version (REVISION) beside this one, on one store and on its homes", older::run),
    ("soak", "fuzz every parser of foreign bytes (--seconds N for each target)", soak::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut steps = Steps::begin();
    match dispatch(&mut steps, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            steps::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(steps: &mut Steps, arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        help();
        return Ok(());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        help();
        return Ok(());
    }
    match TASKS.iter().find(|(task, ..)| task == name) {
        Some((_, _, run)) => run(steps, rest),
        None => bail!("there is no task `{name}`; see: cargo xtask help"),
    }
}

fn help() {
    steps::say("Usage: cargo xtask TASK\n");
    for (name, what, _) in TASKS {
        steps::say(&format!("  {name:<11} {what}"));
    }
}
