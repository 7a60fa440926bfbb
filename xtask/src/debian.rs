//! Programs from Debian's packages that tests hold against us: fetched and unpacked below `target/peers/debian`,
//! which needs no root. They are never installed, so no package starts a server.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::steps::Steps;
use crate::workspace;

/// The folder of Postgres' programs.
pub const POSTGRES: &str = "usr/lib/postgresql/15/bin";

/// A package, and the file that says that it is there.
pub type Package = (&'static str, &'static str);

/// What tests need.
pub const TESTED: &[Package] = &[
    ("postgresql-15", "usr/lib/postgresql/15/bin/postgres"),
    ("nginx", "usr/sbin/nginx"),
    ("haproxy", "usr/sbin/haproxy"),
    ("apache2-bin", "usr/sbin/apache2"),
    ("curl", "usr/bin/curl"),
    ("redis-server", "usr/bin/redis-server"),
    ("libfaketime", "usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    ("chromium", "usr/lib/chromium/chromium"),
    ("fonts-dejavu-core", "usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
];

/// What pictures need besides: names for services, the letters that most people see, fewer colours.
pub const PICTURED: &[Package] = &[
    ("libnss-wrapper", "usr/lib/x86_64-linux-gnu/libnss_wrapper.so"),
    ("fonts-inter", "usr/share/fonts/opentype/inter/Inter-Regular.otf"),
    ("pngquant", "usr/bin/pngquant"),
];

/// Fetches and unpacks what is missing of them, with the libraries that this machine does not have.
///
/// # Errors
/// When there is no `apt-get`, or a package cannot be fetched or unpacked.
pub fn install(steps: &mut Steps, packages: &[Package]) -> Result<()> {
    let folder = workspace::peers().join("debian");
    let missing: Vec<&str> =
        packages.iter().filter(|(_, file)| !folder.join(file).exists()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if workspace::command("apt-get").arg("--version").output().is_err() {
        bail!("`apt-get` was not found; this needs {} of Debian 12", missing.join(", "));
    }
    let apt = workspace::peers().join("apt");
    for part in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(apt.join(part)).context("a folder for packages cannot be made")?;
    }
    steps.command("debian list", apt_get(&apt).args(["--quiet", "update"]))?;
    steps.command(
        "debian packages",
        apt_get(&apt)
            .args([
                "--quiet",
                "--yes",
                "--no-install-recommends",
                "--download-only",
                "--reinstall",
                "install",
            ])
            .args(missing),
    )?;
    steps.work("unpack debian packages", "dpkg-deb --extract … target/peers/debian", || {
        unpack(&apt.join("archives"), &folder)
    })?;
    fs::remove_dir_all(apt).context("the fetched packages cannot be removed")
}

fn unpack(archives: &Path, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(archives).context("the packages cannot be listed")? {
        let package = entry?.path();
        if package.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        let mut extract = workspace::command("dpkg-deb");
        let status = extract.arg("--extract").arg(&package).arg(folder).status();
        if !status.context("`dpkg-deb` cannot be started")?.success() {
            bail!("`{}` cannot be unpacked", package.display());
        }
    }
    Ok(())
}

/// `apt-get` with lists and packages of its own, next to the machine's.
fn apt_get(apt: &Path) -> std::process::Command {
    let mut command = workspace::command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    for (name, value) in [("Dir::State::lists", "lists"), ("Dir::Cache::archives", "archives")] {
        command.arg("-o").arg(format!("{name}={}", apt.join(value).display()));
    }
    for name in ["pkgcache", "srcpkgcache"] {
        command.args(["-o", &format!("Dir::Cache::{name}=")]);
    }
    // Nothing of the machine's is changed, so nothing needs to be locked, and no other user is needed.
    command.args(["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="]);
    command
}
