//! A throw-away Postgres for tests, from Debian's packages below `target/peers`: a folder of its own, reached by a socket
//! in it, gone with its folder when the run ends. It does not flush, so it is quick, and worth nothing for anything else.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::steps::Steps;
use crate::{debian, workspace};

/// Postgres does not run as root; then it runs as this user, `nobody`.
const NOBODY: u32 = 65_534;

const SETTINGS: &str = "-c listen_addresses= -c max_connections=400 -c shared_buffers=64MB -c fsync=off \
                        -c full_page_writes=off -c jit=off";

/// A server that runs until this is dropped.
pub struct Postgres {
    folder: PathBuf,
    as_nobody: bool,
}

impl Postgres {
    /// Makes a cluster and starts its server. `None`: whoever it must run as cannot reach the programs.
    ///
    /// # Errors
    /// When the folder, the cluster or the server cannot be made.
    pub fn start(steps: &mut Steps) -> Result<Option<Self>> {
        // A socket's name has room for a hundred characters, which a build folder may fill.
        let folder = std::env::temp_dir().join(format!("toolgate-postgres-{}", std::process::id()));
        let as_nobody = fs::metadata("/proc/self").context("there is no /proc")?.uid() == 0;
        fs::create_dir(&folder).context("a folder for Postgres cannot be made")?;
        let postgres = Self { folder, as_nobody };
        fs::set_permissions(&postgres.folder, fs::Permissions::from_mode(0o700))?;
        if as_nobody {
            chown(&postgres.folder, Some(NOBODY), Some(NOBODY))?;
        }
        let mut look = postgres.command("initdb");
        look.arg("--version").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        if !look.status().is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let data = postgres.data();
        let mut initdb = postgres.command("initdb");
        initdb.args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        initdb.args(["--locale=C.UTF-8", "--pgdata"]).arg(&data).stdout(std::process::Stdio::null());
        steps.command("postgres cluster", &mut initdb)?;
        let mut start = postgres.command("pg_ctl");
        start.args(["--wait", "--silent", "--log"]).arg(postgres.folder.join("log"));
        start.arg("--options").arg(format!("-k {} {SETTINGS}", postgres.folder.display()));
        start.arg("--pgdata").arg(&data).arg("start").stdout(std::process::Stdio::null());
        steps.command("postgres", &mut start)?;
        Ok(Some(postgres))
    }

    /// The URL of its own database, for tests that make others.
    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.display())
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let programs = workspace::peers().join("debian").join(debian::POSTGRES);
        let mut command = Command::new(programs.join(program));
        command.current_dir(&self.folder).stdin(std::process::Stdio::null());
        let libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|machine| workspace::peers().join("debian/usr/lib").join(machine).display().to_string());
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
        if self.as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
        stop.args(["--mode=immediate", "--wait", "--silent", "--pgdata"]).arg(self.data()).arg("stop");
        // Best effort: it may not have started.
        let _ = stop.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
