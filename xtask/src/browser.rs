//! A real browser at the console: Debian's Chromium, unpacked beside the other peers, driven by Playwright. Nothing is
//! installed on the machine, and the browser of nobody is touched.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::steps::Steps;
use crate::workspace::{self, cargo};
use crate::{debian, npm, toolchain};

/// `cargo xtask browser`; `cargo xtask browser --news` measures how soon an open inbox shows a call that is held.
pub fn run(steps: &mut Steps, arguments: &[String]) -> Result<()> {
    prepare(steps)?;
    match arguments.iter().any(|argument| argument == "--news") {
        true => steps.command("news", &mut node(&["news.mjs"])?),
        false => drive(steps, "1"),
    }
}

/// `cargo xtask screenshots`: pictures of every page into `docs/screenshots`.
pub fn screenshots(steps: &mut Steps, _arguments: &[String]) -> Result<()> {
    prepare(steps)?;
    debian::install(steps, debian::PICTURED)?;
    let pictures = workspace::root().join("docs/screenshots");
    steps.command("screenshots", node(&["screenshots.mjs"])?.arg(pictures))
}

fn prepare(steps: &mut Steps) -> Result<()> {
    toolchain::run(steps)?;
    fetch(steps)?;
    steps.command("build", &mut cargo(&["build", "--locked"]))
}

/// What CI runs of it: the slowest test takes every twelfth of its strings. Without a browser (`tests/peers`) CI sends all.
pub fn test(steps: &mut Steps) -> Result<()> {
    drive(steps, "12")
}

/// Drives the browser through the console of the debug build.
fn drive(steps: &mut Steps, naughty_every: &str) -> Result<()> {
    // Each has a gateway and a browser of its own, and mostly waits for them.
    let tests = [
        "console.test.mjs",
        "naughty.test.mjs",
        "people.test.mjs",
        "sessions.test.mjs",
        "first_hour.test.mjs",
    ];
    let mut node = node(&["--test", "--test-concurrency=3"])?;
    steps.command("browser", node.env("NAUGHTY_EVERY", naughty_every).args(tests))
}

/// Fetches the browser and what drives it, unless an earlier run with the same lock file did.
pub fn fetch(steps: &mut Steps) -> Result<()> {
    debian::install(steps, debian::TESTED)?;
    fonts(&workspace::peers().join("debian"))?;
    npm::install(steps, "browser", &scripts(), &folder())
}

/// A browser without a font draws nothing: the unpacked ones are used beside those of the machine.
fn fonts(debian: &Path) -> Result<()> {
    let folder = debian.join("usr/share/fonts");
    let text = format!(
        "<?xml version=\"1.0\"?>\n<fontconfig>\n<include ignore_missing=\"yes\">/etc/fonts/fonts.conf</include>\n\
         <dir>{}</dir>\n<cachedir>{}</cachedir>\n</fontconfig>\n",
        folder.display(),
        debian.join("fontcache").display()
    );
    fs::write(debian.join("fonts.conf"), text).context("the list of fonts cannot be written")
}

fn scripts() -> PathBuf {
    workspace::root().join("tests/browser")
}

fn folder() -> PathBuf {
    workspace::target().join("browser")
}

/// Node, where the packages are: that is where it looks for them.
fn node(arguments: &[&str]) -> Result<std::process::Command> {
    for entry in fs::read_dir(scripts()).context("the browser's tests cannot be listed")? {
        let script = entry?.path();
        if let Some(name) = script.file_name().filter(|_| script.extension().is_some_and(|end| end == "mjs"))
        {
            fs::copy(&script, folder().join(name)).context("a test cannot be copied")?;
        }
    }
    let mut command = workspace::command("node");
    command
        .args(arguments)
        .current_dir(folder())
        .env("TOOLGATE_BIN", workspace::binary())
        .env("BROWSER_DEBIAN", workspace::peers().join("debian"));
    Ok(command)
}
