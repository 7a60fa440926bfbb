//! Where things are: the root of the workspace, the build folder, and what is installed below it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace: the folder above this crate.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The build folder: `$CARGO_TARGET_DIR`, else `target/`.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Servers, clients and test material from npm and PyPI.
pub fn peers() -> PathBuf {
    target().join("peers")
}

/// Programs that checks need and that come from crates, in `bin/`.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// The gateway as the black-box tests run it: the build that the Rust tests have made already. Optimizing it takes a
/// machine with two cores five minutes and proves nothing more.
pub fn binary() -> PathBuf {
    target().join("debug").join("toolgate")
}

/// A command that runs at the root of the workspace, with nothing to read.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(std::process::Stdio::null());
    command
}

/// `cargo` with these arguments, at the root of the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = command("cargo");
    command.args(arguments);
    command
}
