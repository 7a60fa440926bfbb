//! A throw-away Redis server for tests, from Debian's packages below `target/peers`, on a free port of this machine, gone when
//! the run ends. It keeps everything in memory.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// How often its socket is looked for: for half a minute.
const LOOKS: usize = 600;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a port is chosen: somebody else may take it before the server does.
const PORTS: usize = 5;

/// A server that runs until this is dropped.
pub struct Redis {
    folder: PathBuf,
    process: Child,
    port: u16,
}

impl Redis {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// When the folder cannot be made, or the server does not start.
    pub fn start() -> Result<Self> {
        for nth in 0..PORTS {
            let folder = std::env::temp_dir().join(format!("toolgate-redis-{}-{nth}", std::process::id()));
            fs::create_dir(&folder).context("a folder for Redis cannot be made")?;
            let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr())?.port();
            let process = command(&folder, port).spawn().context("`redis-server` cannot be started")?;
            let mut redis = Self { folder, process, port };
            if redis.listens()? {
                return Ok(redis);
            }
        }
        bail!("`redis-server` does not start; see: target/peers/debian/usr/bin/redis-server --port 0")
    }

    /// Waits for the socket file, which it makes after it has its port. False: it has ended.
    fn listens(&mut self) -> Result<bool> {
        for _ in 0..LOOKS {
            if self.folder.join("redis.sock").exists() {
                return Ok(true);
            }
            if self.process.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(false)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

fn command(folder: &Path, port: u16) -> Command {
    let root = workspace::peers().join("debian/usr");
    let mut command = Command::new(root.join("bin/redis-server"));
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.arg("--unixsocket").arg(folder.join("redis.sock"));
    let libraries = root.join("lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    command.env("LD_LIBRARY_PATH", libraries);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Best effort: it may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
