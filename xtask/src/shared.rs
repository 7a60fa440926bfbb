//! The tests with the store on Postgres and the limits at Redis, as several gateways share them: the whole behaviour suite
//! for `soak` and for whoever changes something there, what needs several gateways for CI, and the bad weather, whose tests
//! start servers of their own to stop them.

use std::process::Command;

use anyhow::Result;

use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::steps::Steps;
use crate::workspace::cargo;
use crate::{debian, toolchain};

/// How many tests run at once, in each test program. Most wait for processes.
const TEST_THREADS: &str = "4";

/// The promises of several gateways, which CI has kept on Postgres and Redis; the store's contract is kept there as a whole.
const QUICK: [&str; 8] = [
    "several_gateways_are_one::",
    "two_gateways_on_one_store",
    "that_stands_still",
    "a_gateway_that_starts",
    "what_a_dead_gateway",
    "a_copy_is_the_same",
    "is_brought_to",
    "of_two_gateways",
];

/// Where this is 1, a machine on which Postgres does not run fails the run.
const REQUIRED: &str = "TOOLGATE_REQUIRE_POSTGRES";

/// How often a key is revoked over three gateways, for figures.
const REVOCATIONS: &str = "200";

/// The two servers, until this is dropped.
pub struct Servers {
    postgres: Postgres,
    redis: Redis,
}

impl Servers {
    /// Starts both.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(steps: &mut Steps) -> Result<Self> {
        Ok(Self { postgres: Postgres::start(steps)?, redis: Redis::start()? })
    }

    /// Runs these tests of a test program on both.
    pub fn tests(&self, test: &str, profile: &[&str], filters: &[&str]) -> Command {
        let mut command = program(test, profile);
        command.args(filters);
        command.env("TOOLGATE_POSTGRES", self.postgres.url()).env("TOOLGATE_REDIS", self.redis.url());
        command
    }

    /// Several gateways whose servers, which are others, stop, hang, break off, lose their memory.
    fn weather(&self, profile: &[&str]) -> Command {
        let mut command = program("cluster", profile);
        command.env("TOOLGATE_PEERS", self.postgres.peers());
        command
    }
}

/// Runs the test program of this name, ignored tests too. As part of the workspace, so that nothing is built again with
/// fewer features.
fn program(test: &str, profile: &[&str]) -> Command {
    let mut command = cargo(&["test", "--locked", "--workspace", "--exclude", "simulation"]);
    command.args(["--no-fail-fast", "--test", test]);
    command.args(profile).args(["--", "--include-ignored"]).env("RUST_TEST_THREADS", TEST_THREADS);
    command
}

/// What CI runs: the store's contract, and what is most likely to break.
///
/// # Errors
/// When a test fails. Where Postgres and Redis do not run at all, this is left out, and said at the end; or an error, where
/// `TOOLGATE_REQUIRE_POSTGRES` is 1.
pub fn quick(steps: &mut Steps) -> Result<()> {
    let servers = match Servers::start(steps) {
        Ok(servers) => servers,
        Err(error) if std::env::var_os(REQUIRED).is_some_and(|word| word == "1") => return Err(error),
        Err(error) => {
            steps.leave_out(format!("all tests on Postgres and Redis: {error:#}"));
            return Ok(());
        }
    };
    steps.command("contract on Postgres", &mut servers.tests("contract", &[], &[]))?;
    steps.command("behaviour on Postgres and Redis", &mut servers.tests("behaviour", &[], &QUICK))?;
    steps.command("bad weather", &mut servers.weather(&[]))
}

/// The whole behaviour suite; with `rounds`, built for release and what CI runs once more with so many more of everything.
///
/// # Errors
/// When a server cannot be started, or a test fails.
pub fn whole(steps: &mut Steps, rounds: Option<&str>) -> Result<()> {
    let servers = Servers::start(steps)?;
    let profile: &[&str] = if rounds.is_some() { &["--release"] } else { &[] };
    // What needs an older program is `cargo xtask older`'s.
    let all = ["--skip", "an_older_version_stands_beside::"];
    steps.command("everything on Postgres and Redis", &mut servers.tests("behaviour", profile, &all))?;
    let Some(rounds) = rounds else { return steps.command("bad weather", &mut servers.weather(profile)) };
    steps.command(
        "several gateways",
        servers.tests("behaviour", profile, &QUICK).env("TOOLGATE_SOAK_ROUNDS", rounds),
    )?;
    let mut figures = servers.weather(profile);
    steps.command(
        "bad weather",
        figures.arg("--nocapture").env("RUST_TEST_THREADS", "1").env("TOOLGATE_SOAK_ROUNDS", REVOCATIONS),
    )
}

/// `cargo xtask shared`.
pub fn run(steps: &mut Steps, _arguments: &[String]) -> Result<()> {
    toolchain::run(steps)?;
    debian::install(steps, debian::TESTED)?;
    whole(steps, None)?;
    steps.summary();
    Ok(())
}
