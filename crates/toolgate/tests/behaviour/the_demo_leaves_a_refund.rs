//! What the demo prints at its end is so: the console is there, the password opens it, and a refund waits.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Request, send};

/// Far more than the demo takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Demos that start at the same moment find the same port free.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A demo that is ended when nobody holds it any more.
struct Demo {
    _alone: MutexGuard<'static, ()>,
    process: Child,
    /// Where its home is.
    folder: TempDir,
    lines: Receiver<String>,
}

impl Demo {
    fn start() -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_toolgate"));
        command.arg("demo").env("TMPDIR", folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { _alone: alone, process, folder, lines }
    }

    /// The next line that begins with `word`.
    fn line(&self, word: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("the demo gets as far");
            if line.starts_with(word) {
                return line;
            }
        }
    }

    fn homes(&self) -> usize {
        self.folder.path().read_dir().unwrap().count()
    }

    /// Ends it; it must end by itself, without its home.
    fn end(&mut self, with: Signal) -> ExitStatus {
        assert_eq!(self.homes(), 1);
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), with).unwrap();
        let ended = self.process.wait().unwrap();
        assert!(ended.code().is_some(), "{with}: {ended}");
        assert_eq!(self.homes(), 0, "{with}: the home is still there");
        ended
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_demo_that_is_told_to_end_leaves_nothing() {
    for (signal, after) in
        [(Signal::SIGTERM, "BEFORE"), (Signal::SIGHUP, "AFTER"), (Signal::SIGTERM, "Console")]
    {
        let mut demo = Demo::start();
        demo.line(after);
        demo.end(signal);
    }
}

#[test]
fn the_console_of_the_demo_opens_with_what_it_prints_and_a_refund_waits_there() {
    let mut demo = Demo::start();
    let line = demo.line("Console");
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["Console", address, email, password, "1", "refund", "waits", "for", "you"] = words[..] else {
        panic!("{line}");
    };
    assert_eq!(email, "owner@demo.test");
    let address: SocketAddr = address.strip_prefix("http://").unwrap().parse().unwrap();

    let login = Request::post("/api/login", json!({ "email": email, "password": password }).to_string());
    let login = send(address, &login);
    assert_eq!(login.status, 200, "{}", login.text());
    let token = login.json()["access_token"].as_str().unwrap().to_owned();
    let waiting = send(address, &Request::new("GET", "/api/approvals?status=pending").key(&token)).json();
    let waiting = waiting["items"].as_array().unwrap();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0]["action"], "POST /v1/refunds");
    assert_eq!(waiting[0]["rule"], "big refunds");

    assert!(demo.end(Signal::SIGINT).success());
}
