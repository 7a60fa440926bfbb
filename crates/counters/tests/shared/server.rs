//! A Redis server of the test's own, on a socket file, so that nobody else can take its place while it is away.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// How often ports are chosen for a server that needs some.
const PORTS_TRIED: usize = 5;

pub struct Server {
    program: PathBuf,
    libraries: PathBuf,
    folder: TempDir,
    process: Child,
    more: Vec<String>,
}

impl Server {
    /// `None`, and a word about it, where there is no Redis.
    pub fn start() -> Option<Self> {
        Self::begin(&[]).map(|begun| begun.expect("Redis does not start"))
    }

    /// With a certificate and its key (PEM) at a port of this machine, which it says. It asks nobody for a certificate.
    pub fn start_tls(certificate: &str, key: &str) -> Option<(Self, u16)> {
        // It reads them when it starts.
        let files = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = files.path().join(name);
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        };
        let (certificate, key) = (write("server.crt", certificate), write("server.key", key));
        // Somebody else may take a port that was free a moment ago.
        for _ in 0..PORTS_TRIED {
            let [port, clear] = [(); 2].map(|()| free_port());
            let (tls, plain) = (port.to_string(), clear.to_string());
            let listen = ["--bind", "127.0.0.1", "--tls-port", &tls, "--port", &plain];
            let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
            let nobody = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"];
            match Self::begin(&[&listen[..], &files, &nobody].concat())? {
                Ok(server) => return Some((server, port)),
                Err(()) => continue,
            }
        }
        panic!("Redis does not start at any port");
    }

    /// Where it listens without TLS, of [`start_tls`](Self::start_tls).
    pub fn port_in_the_clear(&self) -> u16 {
        let at = self.more.iter().position(|word| word == "--port").unwrap();
        self.more[at + 1].parse().unwrap()
    }

    fn begin(more: &[&str]) -> Option<Result<Self, ()>> {
        let Some(peers) = std::env::var_os("TOOLGATE_PEERS").map(PathBuf::from) else {
            eprintln!("not proven: there is no Redis (TOOLGATE_PEERS is not set; run `cargo xtask test`)");
            return None;
        };
        let more: Vec<String> = more.iter().map(|&word| word.to_owned()).collect();
        let root = peers.join("debian/usr");
        let program = root.join("bin/redis-server");
        let libraries = root.join("lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let folder = tempfile::tempdir().unwrap();
        let process = run(&program, &libraries, &socket_in(&folder), &more);
        Some(process.map(|process| Self { program, libraries, folder, process, more }))
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", socket_in(&self.folder).display())
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// After [`kill`](Self::kill): another process, with nothing in its memory.
    pub fn restart(&mut self) {
        self.process = run(&self.program, &self.libraries, &socket_in(&self.folder), &self.more).unwrap();
    }

    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), signal).unwrap();
    }

    /// By its own clock.
    pub fn time(&self) -> Duration {
        let said = self.ask("TIME");
        let numbers: Vec<u64> = said.lines().filter_map(|line| line.trim().parse().ok()).collect();
        let [seconds, micros] = numbers[..] else { panic!("{said:?}") };
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    }

    pub fn wipe(&self) {
        assert!(self.ask("FLUSHALL").starts_with("+OK"));
    }

    /// What it answers to a command.
    pub fn ask(&self, command: &str) -> String {
        ask(&socket_in(&self.folder), command).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already; a frozen one dies all the same.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket_in(folder: &TempDir) -> PathBuf {
    folder.path().join("redis.sock")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An error: it has ended by itself.
fn run(program: &Path, libraries: &Path, socket: &Path, more: &[String]) -> Result<Child, ()> {
    let mut command = Command::new(program);
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--unixsocket"]);
    // What comes later wins.
    command.arg(socket).args(more).env("LD_LIBRARY_PATH", libraries);
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..3_000 {
        if ask(socket, "PING").is_some_and(|said| said.starts_with("+PONG")) {
            return Ok(process);
        }
        if process.try_wait().unwrap().is_some() {
            return Err(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    panic!("Redis does not answer at {}", socket.display());
}

/// One command by hand, so that the test's own view does not come through the client that is tested.
fn ask(socket: &Path, command: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said)
}
