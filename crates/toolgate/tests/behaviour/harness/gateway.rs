//! A running gateway. When it is dropped, what no test should forget is checked: it ended well and left no child, its
//! trail verifies, and no key is on its disk or in its output.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write},
    net::{SocketAddr, TcpStream},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    Agent, Answer, Home, Modern, Reply, Request, eventually, http, is_running, older_program, open, program,
    send, until,
};

/// What the last line of the introduction has in it.
const READY: &str = "ready in";

/// A running `serve`.
struct Serving {
    process: Child,
    address: SocketAddr,
    said: Arc<Mutex<String>>,
    talk: std::thread::JoinHandle<()>,
    answer: std::thread::JoinHandle<String>,
}

impl Serving {
    /// Waits until a line of its talk has `sign` in it; the first address of that line, or of the line that begins
    /// with `gateway`, is where agents knock.
    fn start(mut command: Command, sign: &str) -> Self {
        let mut process = command.spawn().unwrap();
        let (mut stdout, stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&said);
        let talk = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writeln!(Sink(&sink), "{line}").unwrap();
            }
        });
        let answer = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text).unwrap_or_default()
        });
        let address = eventually("the gateway to listen", || {
            assert!(process.try_wait().unwrap().is_none(), "serve ended: {}", said.lock().unwrap());
            let said = said.lock().unwrap();
            let told = said.lines().find(|line| line.contains(sign) && said.ends_with('\n'))?;
            Some(if told.contains("http://") { address_of(told) } else { address_in(&said, "gateway") })
        });
        Self { process, address, said, talk, answer }
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }
}

/// Where a line of the introduction says that a listener is: `gateway   http://127.0.0.1:8484`, or `https`.
fn address_in(said: &str, listener: &str) -> SocketAddr {
    address_of(said.lines().find(|line| line.starts_with(listener)).unwrap())
}

fn address_of(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("://").unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

struct Sink<'s>(&'s Mutex<String>);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A gateway that runs, and the home it runs on.
pub struct Gateway {
    home: Home,
    serving: Option<Serving>,
}

impl Deref for Gateway {
    type Target = Home;
    fn deref(&self) -> &Home {
        &self.home
    }
}

impl Gateway {
    pub(super) fn start(home: Home) -> Self {
        let serving = Serving::start(home.serving(), READY);
        Self { home, serving: Some(serving) }
    }

    pub(super) fn start_sealed(home: Home) -> Self {
        let serving = Serving::start(home.serving(), "answers 503");
        Self { home, serving: Some(serving) }
    }

    /// Where agents knock.
    pub fn address(&self) -> SocketAddr {
        self.serving().address
    }

    /// A second gateway on the same home, whose store must be one that gateways can share. Stop it before the first one. It is
    /// of an older version where there is one.
    pub fn twin(&self) -> Twin {
        self.twin_of(&older_program().unwrap_or_else(program))
    }

    /// The same, of this program.
    pub fn twin_of(&self, program: &Path) -> Twin {
        assert!(self.home.is_on_postgres(), "several gateways need Postgres: set TOOLGATE_POSTGRES");
        Twin { serving: Serving::start(self.home.serving_by(program), READY), killed: false }
    }

    /// Where people look.
    pub fn console(&self) -> SocketAddr {
        address_in(&self.said(), "console")
    }

    /// Sends a request and waits for the whole answer.
    pub fn send(&self, request: &Request) -> Reply {
        send(self.address(), request)
    }

    /// Sends a request and waits for the head of the answer.
    pub fn open(&self, request: &Request) -> Answer {
        open(self.address(), request)
    }

    /// Sends a request and waits for nothing; the client is there as long as the connection is kept.
    pub fn begin(&self, request: &Request) -> TcpStream {
        http::begin(self.address(), request)
    }

    /// An agent with this key at this service.
    pub fn agent(&self, key: &str, service: &str) -> Agent {
        Agent::new(self.address(), key, &format!("/mcp/{service}"))
    }

    /// An agent with this key at the endpoint of all its services.
    pub fn agent_of_all(&self, key: &str) -> Agent {
        Agent::new(self.address(), key, "/mcp")
    }

    /// An agent of the newest version with this key at this service.
    pub fn modern(&self, key: &str, service: &str) -> Modern {
        Modern::new(self.address(), key, service)
    }

    /// What `serve` said on stderr so far.
    pub fn said(&self) -> String {
        self.serving().said.lock().unwrap().clone()
    }

    /// The gateway's process.
    pub fn pid(&self) -> Pid {
        self.serving().pid()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.serving().signal(signal);
    }

    /// Lifts the limit of a home that is [`cramped`](Home::cramped).
    pub fn give_room(&self) {
        let pid = self.pid().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap();
        assert!(status.success());
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Waits for the end that was asked for.
    pub fn ended(&mut self) -> ExitStatus {
        let mut serving = self.serving.take().expect("it runs");
        let status = eventually("the gateway to end", || serving.process.try_wait().unwrap());
        assert_eq!(serving.answer.join().unwrap(), "", "stdout belongs to answers");
        serving.talk.join().unwrap();
        let said = serving.said.lock().unwrap();
        assert!(!said.contains("panicked"), "{said}");
        for key in &*self.home.keys.lock().unwrap() {
            assert!(!said.contains(secret_of(key)), "a key is in the log: {said}");
        }
        status
    }

    /// Ends it as a crash would, and starts it again.
    pub fn crash_and_restart(&mut self) {
        self.signal(Signal::SIGKILL);
        self.ended();
        self.restart();
    }

    /// SIGTERM to what runs, then this program in its place.
    pub fn replace(&mut self, program: PathBuf) {
        let status = self.stop();
        assert!(status.success(), "the gateway ended with {status}");
        self.take_program(program);
        self.restart();
    }

    /// Runs this program for whatever comes next.
    pub fn take_program(&mut self, program: PathBuf) {
        self.home.set_program(program);
    }

    /// Starts it again on the same home.
    pub fn restart(&mut self) {
        assert!(self.serving.is_none(), "it runs");
        self.serving = Some(Serving::start(self.home.serving(), READY));
    }

    fn serving(&self) -> &Serving {
        self.serving.as_ref().expect("it runs")
    }
}

/// A second gateway, which ends before the first one does.
pub struct Twin {
    serving: Serving,
    killed: bool,
}

impl Twin {
    /// Where agents knock.
    pub fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// Where people look.
    pub fn console(&self) -> SocketAddr {
        address_in(&self.serving.said.lock().unwrap(), "console")
    }

    /// An agent with this key at this service.
    pub fn agent(&self, key: &str, service: &str) -> Agent {
        Agent::new(self.address(), key, &format!("/mcp/{service}"))
    }

    /// An agent with this key at the endpoint of all its services.
    pub fn agent_of_all(&self, key: &str) -> Agent {
        Agent::new(self.address(), key, "/mcp")
    }

    /// Sends a request and waits for the whole answer.
    pub fn send(&self, request: &Request) -> Reply {
        send(self.address(), request)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.serving.signal(Signal::SIGKILL);
        self.killed = true;
        eventually("the second gateway to end", || self.serving.process.try_wait().unwrap());
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        if self.killed {
            return;
        }
        self.serving.signal(Signal::SIGTERM);
        let ended = eventually("the second gateway to end", || self.serving.process.try_wait().unwrap());
        assert!(std::thread::panicking() || ended.success(), "{}", self.serving.said.lock().unwrap());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(serving) = &mut self.serving {
                eprintln!("{}", serving.said.lock().unwrap());
                let _ = serving.process.kill();
                let _ = serving.process.wait();
            }
            return;
        }
        let children = self.serving.as_ref().map(|serving| descendants(serving.pid())).unwrap_or_default();
        if self.serving.is_some() {
            let status = self.stop();
            assert!(status.success(), "the gateway ended with {status}");
        }
        until("the children to be gone", || !children.iter().any(|pid| is_running(*pid)));
        let verified = self.ok(&["audit", "verify", "--json"]);
        let verified: Value = serde_json::from_str(&verified.stdout).unwrap();
        assert_eq!(verified["ok"], true, "{verified}");
        for key in &*self.home.keys.lock().unwrap() {
            for file in files_below(self.path()) {
                let bytes = std::fs::read(&file).unwrap();
                let secret = secret_of(key).as_bytes();
                let found = bytes.windows(secret.len()).any(|window| window == secret);
                assert!(!found, "a key is in {}", file.display());
            }
        }
    }
}

/// The part of a key that nobody may write down: `agt_<id>_<secret>_<check>`.
fn secret_of(key: &str) -> &str {
    let body = key.rsplit_once('_').map_or(key, |(body, _)| body);
    body.splitn(3, '_').nth(2).unwrap_or(body)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The processes below this one.
fn descendants(parent: Pid) -> Vec<i32> {
    let children = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let children = children.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<i32> = children
        .flat_map(|line| line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    let below: Vec<i32> = children.iter().flat_map(|child| descendants(Pid::from_raw(*child))).collect();
    [children, below].concat()
}
