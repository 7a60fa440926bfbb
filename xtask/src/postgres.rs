//! A throw-away Postgres for tests, from Debian's packages below `target/peers`: a folder of its own, reached by a socket
//! in it, gone with its folder when the run ends. It does not flush, so it is quick, and worth nothing for anything else.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

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
    peers: PathBuf,
}

/// What servers of tests need of Debian's packages, where they must be copied.
const SERVERS: [&str; 5] = [
    "debian/usr/lib/postgresql",
    "debian/usr/share/postgresql",
    "debian/usr/lib/*-linux-gnu",
    "debian/usr/bin/redis-server",
    "debian/usr/bin/redis-check-rdb",
];

impl Postgres {
    /// Makes a cluster and starts its server. Where whoever it must run as may not enter the build folder, from a copy of the
    /// programs.
    ///
    /// # Errors
    /// When the folder, the cluster or the server cannot be made.
    pub fn start(steps: &mut Steps) -> Result<Self> {
        // A socket's name has room for a hundred characters, which a build folder may fill.
        let folder = std::env::temp_dir().join(format!("toolgate-postgres-{}", std::process::id()));
        let as_nobody = fs::metadata("/proc/self").context("there is no /proc")?.uid() == 0;
        fs::create_dir(&folder).context("a folder for Postgres cannot be made")?;
        let mut postgres = Self { folder, as_nobody, peers: workspace::peers() };
        fs::set_permissions(&postgres.folder, fs::Permissions::from_mode(0o700))?;
        if as_nobody {
            chown(&postgres.folder, Some(NOBODY), Some(NOBODY))?;
        }
        if !postgres.runs() {
            postgres.copy_programs(steps)?;
        }
        if !postgres.runs() {
            bail!("Postgres does not run as the user `nobody`; run as another user than root");
        }
        let data = postgres.data();
        let mut initdb = postgres.command("initdb");
        initdb.args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        initdb.args(["--locale=C.UTF-8", "--pgdata"]).arg(&data).stdout(Stdio::null());
        steps.command("postgres cluster", &mut initdb)?;
        let mut start = postgres.command("pg_ctl");
        start.args(["--wait", "--silent", "--log"]).arg(postgres.folder.join("log"));
        start.arg("--options").arg(format!("-k {} {SETTINGS}", postgres.folder.display()));
        start.arg("--pgdata").arg(&data).arg("start").stdout(Stdio::null());
        steps.command("postgres", &mut start)?;
        Ok(postgres)
    }

    /// Where the programs of servers are, for who must start more of them.
    pub fn peers(&self) -> &Path {
        &self.peers
    }

    fn runs(&self) -> bool {
        let mut look = self.command("initdb");
        look.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        look.status().is_ok_and(|status| status.success())
    }

    /// Into the server's folder, which is gone with it.
    fn copy_programs(&mut self, steps: &mut Steps) -> Result<()> {
        let peers = self.folder.join("peers");
        fs::create_dir(&peers).context("a folder for programs cannot be made")?;
        fs::set_permissions(&peers, fs::Permissions::from_mode(0o755))?;
        let mut copy = workspace::command("sh");
        copy.args(["-c", &format!("cp --archive --parents {} \"$0\"", SERVERS.join(" "))]).arg(&peers);
        steps.command("programs for `nobody`", copy.current_dir(&self.peers))?;
        self.peers = peers;
        Ok(())
    }

    /// The URL of its own database, for tests that make others.
    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.display())
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let programs = self.peers.join("debian").join(debian::POSTGRES);
        let mut command = Command::new(programs.join(program));
        command.current_dir(&self.folder).stdin(Stdio::null());
        let libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|machine| self.peers.join("debian/usr/lib").join(machine).display().to_string());
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
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
