//! What the machine must bring: a Rust toolchain, a C compiler, Python and Node. Everything else is
//! installed below `target/`. It must never install over what a developer has.

use std::process::Command;

use anyhow::{Result, bail};

use crate::steps::Steps;
use crate::workspace;

const PYTHON_MIN: (u32, u32) = (3, 11);
const NODE_MIN: (u32, u32) = (20, 0);

/// Fails with one sentence that says what is missing and what to do about it.
pub fn run(steps: &mut Steps) -> Result<()> {
    steps.work("toolchain", "cargo --version; cc --version; python3 --version; node --version", || {
        require("cargo", &["--version"], "install Rust with rustup")?;
        require("cargo", &["fmt", "--version"], "rustup component add rustfmt")?;
        require("cargo", &["clippy", "--version"], "rustup component add clippy")?;
        require("cc", &["--version"], "apt-get install gcc libc6-dev")?;
        require("npm", &["--version"], "it comes with Node")?;
        require_version("python3", "apt-get install python3", PYTHON_MIN)?;
        require_version("node", "install Node 20 or newer", NODE_MIN)
    })?;
    if succeeds(Command::new("python3").args(["-c", "import ensurepip"])) {
        return Ok(());
    }
    // Debian splits the module that makes virtual environments off the interpreter.
    steps.command("package list", workspace::command("apt-get").args(["update", "--quiet"]))?;
    steps.command(
        "python3-venv",
        workspace::command("apt-get").args(["install", "--yes", "--no-install-recommends", "python3-venv"]),
    )
}

fn require(program: &str, arguments: &[&str], advice: &str) -> Result<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => bail!("`{program}` does not work ({}); {advice}", output.status),
        Err(error) => bail!("`{program}` was not found ({error}); {advice}"),
    }
}

fn require_version(program: &str, advice: &str, least: (u32, u32)) -> Result<()> {
    let said = require(program, &["--version"], advice)?;
    match version(&said) {
        Some(found) if found >= least => Ok(()),
        _ => bail!("`{program}` is `{}`, {}.{} or newer is needed; {advice}", said.trim(), least.0, least.1),
    }
}

/// The first two numbers of what a program calls its version.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim_start_matches(|letter: char| !letter.is_ascii_digit()).split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.trim().parse().ok()?))
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_say() {
        assert_eq!(version("Python 3.11.7\n"), Some((3, 11)));
        assert_eq!(version("v20.20.2\n"), Some((20, 20)));
        assert_eq!(version("nothing"), None);
    }

    #[test]
    fn an_old_program_is_refused_by_name() {
        let error = require_version("cargo", "update it", (u32::MAX, 0)).unwrap_err().to_string();
        assert!(error.starts_with("`cargo` is `cargo ") && error.ends_with("update it"), "{error}");
    }

    #[test]
    fn a_missing_program_is_refused_by_name() {
        let error = require("toolgate-no-such-program", &[], "do this").unwrap_err().to_string();
        assert!(error.contains("`toolgate-no-such-program` was not found") && error.ends_with("do this"));
    }
}
