//! What watches a gateway learns by the binary alone whether it lives and whether it takes calls; before a gateway
//! stops it says so, and takes what still comes.

use std::io::Read as _;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::*;

/// `toolgate health …`, of a gateway that chose its port.
fn health(gateway: &Gateway, arguments: &[&str]) -> Ran {
    let listen = format!("gateway.listen={}", gateway.address());
    gateway.run(&[&["health", "--set", &listen], arguments].concat())
}

fn answer(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The head of what a gateway answers on a connection that its client would keep.
fn kept_head(gateway: &Gateway) -> String {
    let mut connection = send_bytes(gateway.address(), b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

#[test]
fn health_is_what_the_running_gateway_says() {
    let mut stage = Stage::new();
    for (arguments, word) in [(&["health"][..], "alive"), (&["health", "--ready"], "ready")] {
        let ran = health(&stage.gateway, &arguments[1..]);
        assert_eq!((ran.code, ran.stdout.contains(word)), (0, true), "{}{}", ran.stdout, ran.stderr);
        let ran = health(&stage.gateway, &[&arguments[1..], &["--json"]].concat());
        assert_eq!(answer(&ran), json!({ word: true, "reason": null }));
    }
    let address = stage.gateway.address();
    assert!(stage.gateway.stop().success());
    let ran = stage.gateway.run(&["health", "--set", &format!("gateway.listen={address}")]);
    assert_eq!(ran.code, 1);
    let error = format!("error: the gateway does not answer ({address}, ");
    assert!(ran.stderr.starts_with(&error) && ran.stderr.contains("connection refused"), "{}", ran.stderr);
    let ran = stage.gateway.run(&["health", "--set", "gateway.listen=127.0.0.1:0"]);
    assert_eq!((ran.code, ran.stderr.contains("gateway.listen")), (1, true), "{}", ran.stderr);
}

#[test]
fn a_sealed_gateway_lives_and_is_not_ready() {
    let home = Home::new(POLICY);
    std::fs::rename(home.path().join("vault.key"), home.path().join("elsewhere")).unwrap();
    let gateway = home.serve_sealed();
    assert_eq!(health(&gateway, &[]).code, 0);
    let ran = health(&gateway, &["--ready", "--json"]);
    assert_eq!((ran.code, answer(&ran)), (1, json!({ "ready": false, "reason": "sealed" })));
}

#[test]
fn health_needs_no_name_of_the_certificate() {
    let made = rcgen::generate_simple_self_signed(vec!["gate.example.com".to_owned()]).unwrap();
    let home = Home::new(POLICY);
    home.write("cert.pem", &made.cert.pem());
    home.write("key.pem", &made.signing_key.serialize_pem());
    let tls = ["gateway.tls.cert=cert.pem", "gateway.tls.key=key.pem"];
    let gateway = home.set(tls[0]).set(tls[1]).serve();
    let ran = health(&gateway, &["--ready", "--set", tls[0], "--set", tls[1]]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    // In the clear nobody answers.
    assert_eq!(health(&gateway, &["--ready"]).code, 1);
}

#[test]
fn a_gateway_that_leaves_is_not_ready_and_takes_what_comes() {
    // Longer than any test: the second signal ends it.
    let mut stage = Stage::with(Home::new(POLICY).set("gateway.shutdown_delay=1h"));
    assert!(!kept_head(&stage.gateway).contains("connection: close"));
    stage.gateway.signal(Signal::SIGTERM);
    until("the stop to be told", || stage.gateway.said().contains("/readyz says 503"));
    let ran = health(&stage.gateway, &["--ready", "--json"]);
    assert_eq!((ran.code, answer(&ran)), (1, json!({ "ready": false, "reason": "stopping" })));
    assert_eq!(health(&stage.gateway, &[]).code, 0);
    assert_eq!(stage.at_web().call("echo", "{}").verdict(), 200);
    assert!(kept_head(&stage.gateway).contains("connection: close"), "proxies shall let go of it");
    assert!(stage.gateway.stop().success());
}

#[test]
fn a_gateway_stops_by_itself_when_it_has_left() {
    let mut stage = Stage::with(Home::new(POLICY).set("gateway.shutdown_delay=200ms"));
    stage.gateway.signal(Signal::SIGTERM);
    until("the stop", || stage.gateway.said().contains("stopped: "));
    let said = stage.gateway.said();
    assert!(said.contains("requests are taken for 200 ms more"), "{said}");
    assert!(stage.gateway.ended().success());
}
