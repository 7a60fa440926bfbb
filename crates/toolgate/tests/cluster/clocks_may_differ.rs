//! Gateways whose clocks are an hour apart: what is withdrawn, counted, held or sent does not depend on them. Times do, each
//! by the clock of the gateway that reads it.

use std::path::PathBuf;

use jiff::{Timestamp, fmt::rfc2822};
use serde_json::{Value, json};

use crate::stage::{
    Cluster, GATEWAYS, Load, SCARCE, Scarce, code,
    harness::{Home, Request, eventually, until},
    heard, number, peers,
};

/// Debian's libfaketime, which tells a program another time.
fn faketime() -> PathBuf {
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    let library = peers().join("debian/usr/lib").join(machine).join("faketime/libfaketimeMT.so.1");
    assert!(library.exists(), "there is no {}; run `cargo xtask peers`", library.display());
    library
}

/// What a gateway takes for the time, from the `Date` of its answer (RFC 9110 §6.6.1).
fn clock(cluster: &Cluster, gateway: usize) -> Timestamp {
    let reply = cluster.nodes[gateway].gateway.send(&Request::new("GET", "/healthz"));
    let date = reply.header("date").unwrap().replace("GMT", "+0000");
    rfc2822::parse(&date).unwrap().timestamp()
}

#[test]
#[ignore = "SKIPPED: needs Postgres and Redis (TOOLGATE_PEERS is not set; cargo xtask test sets it)"]
fn a_clock_that_is_an_hour_off_lets_nothing_pass_and_sends_nothing_twice() {
    let library = faketime();
    // The monotonic clock is the machine's own: it has no hour to be moved by.
    let shifted = |nth: usize, home: Home| {
        let Some(shift) = [None, Some("-1h"), Some("+1h")][nth] else { return home };
        home.variable("LD_PRELOAD", library.to_str().unwrap())
            .variable("FAKETIME", shift)
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    };
    let cluster = Cluster::with(shifted);
    let apart = |gateway: usize| clock(&cluster, gateway).duration_since(clock(&cluster, 0)).as_secs() / 60;
    assert!((-61..-50).contains(&apart(1)) && (50..61).contains(&apart(2)), "{} {}", apart(1), apart(2));

    for (node, agrees) in cluster.nodes.iter().zip([true, false, false]) {
        let doctor: Value = serde_json::from_str(&node.gateway.run(&["doctor", "--json"]).stdout).unwrap();
        assert_eq!(doctor["clocks"], agrees, "{doctor}");
        let said = node.gateway.said();
        assert_eq!(!said.contains("this machine; held calls, keys and logins"), agrees, "{said}");
    }

    let load = Load::on(&cluster);
    load.passes_everywhere();
    // The limit is one, whoever counts.
    let Scarce { passed, lost } = cluster.scarce();
    assert!(passed <= SCARCE && passed + lost >= SCARCE, "{passed} passed, {lost} lost");
    // A key that is revoked where it is an hour later is refused where it is two hours earlier.
    let made = cluster.console(0, "POST", "/api/agents/laptop/keys", &json!({})).json();
    let brief = Request::new("GET", "/v1/services").key(made["key"].as_str().unwrap());
    for node in &cluster.nodes {
        until("the key to be known", || node.gateway.send(&brief).status == 200);
    }
    let id = made["key_id"].as_str().unwrap();
    assert_eq!(cluster.console(2, "DELETE", &format!("/api/keys/{id}"), &Value::Null).status, 204);
    for node in &cluster.nodes {
        until("the key to be refused", || node.gateway.send(&brief).status == 401);
    }
    for nth in 0..GATEWAYS {
        held_and_approved(&cluster, nth);
    }
    load.passes_everywhere();
    load.settle(&cluster, &[]);
}

/// A call that is held on one gateway and approved on the next is sent once, or not at all because the time it had for that
/// is over on somebody's clock; its agent is told which.
fn held_and_approved(cluster: &Cluster, at: usize) {
    let target = format!("/v1/held/{}", number());
    let asks = Request::new("POST", &format!("/http/api{target}")).key(&cluster.key);
    let waiting = cluster.nodes[at].gateway.begin(&asks);
    let shown = eventually("the call to be held", || {
        let pending = cluster.console(0, "GET", "/api/approvals?status=pending", &Value::Null).json();
        pending["items"].as_array()?.first().cloned()
    });
    let approve = format!("/api/approvals/{}/approve", shown["id"].as_str().unwrap());
    let approved =
        cluster.console((at + 1) % GATEWAYS, "POST", &approve, &json!({ "digest": shown["digest"] }));
    assert_eq!(approved.status, 200, "{}", approved.text());
    let told = eventually("the call to end", || {
        let reply = cluster.nodes[(at + 2) % GATEWAYS].gateway.send(&asks);
        (!matches!(reply.status, 428 | 503)).then_some(reply)
    });
    drop(waiting);
    match told.status {
        200 => assert_eq!(heard(&target), 1),
        410 => assert_eq!(heard(&target), 0, "{}", told.text()),
        _ => panic!("{} {}", code(&told), told.text()),
    }
}
