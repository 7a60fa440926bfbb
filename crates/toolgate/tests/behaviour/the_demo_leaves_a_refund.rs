//! What the demo prints at its end is so: the console is there, the password opens it, and a refund waits.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::harness::{Request, send};

/// Far more than the demo takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A demo that is ended when nobody holds it any more.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_console_of_the_demo_opens_with_what_it_prints_and_a_refund_waits_there() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolgate"));
    command.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut demo = Demo(command.spawn().unwrap());
    let said = BufReader::new(demo.0.stdout.take().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let line = loop {
        let line = told.recv_timeout(PATIENCE).expect("the demo comes to its end");
        if line.starts_with("Console") {
            break line;
        }
    };
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

    kill(Pid::from_raw(i32::try_from(demo.0.id()).unwrap()), Signal::SIGINT).unwrap();
    assert!(demo.0.wait().unwrap().success());
}
