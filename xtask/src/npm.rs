//! Packages from npm, exactly as a lock file says, in a folder below `target/`. Packages' own install scripts are never run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::steps::Steps;
use crate::workspace;

/// What decides which packages are there.
const LOCKS: [&str; 3] = [".npmrc", "package.json", "package-lock.json"];

/// Installs what the lock file in `locks` says into `folder`, unless an earlier run with the same lock file did.
///
/// # Errors
/// When the folder cannot be written, or a package cannot be fetched.
pub fn install(steps: &mut Steps, name: &str, locks: &Path, folder: &Path) -> Result<()> {
    let stamp = folder.join("installed");
    let wanted = LOCKS.map(|name| fs::read_to_string(locks.join(name)).unwrap_or_default()).join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    fs::create_dir_all(folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
    for name in LOCKS {
        fs::copy(locks.join(name), folder.join(name))
            .with_context(|| format!("`{name}` cannot be copied"))?;
    }
    steps.command(
        &format!("npm {name}"),
        workspace::command("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(folder),
    )?;
    fs::write(stamp, wanted).context("the list of installed packages cannot be written")
}
