//! `audit.retain`: what is older is dropped while calls go on, the trail says so, and it still verifies.

use crate::harness::*;

#[test]
fn old_events_are_dropped_and_the_rest_verifies() {
    let stage = Stage::with(Home::new(POLICY).set("audit.retain=2s"));
    let agent = stage.at_web();
    let first = agent.call("echo", r#"{"n":1}"#).call_id().to_owned();
    let of_first = || stage.gateway.run(&["audit", "show", &first]).code;
    until("the first call to be forgotten", || {
        agent.call("echo", r#"{"n":2}"#);
        of_first() != 0
    });
    let found: serde_json::Value =
        serde_json::from_str(&stage.gateway.ok(&["audit", "verify", "--json"]).stdout).unwrap();
    assert!(found["ok"] == true && found["dropped"].as_u64().unwrap() > 0, "{found}");
    let told = stage.gateway.ok(&["audit", "verify"]).stdout;
    assert!(told.contains(", dropped as `audit.retain` says)"), "{told}");
    let events = stage.gateway.events();
    assert!(events.iter().any(|event| event["action"] == "audit.retain"), "it says so");
}

#[test]
fn a_checkpoint_of_dropped_events_is_said_to_be_too_old() {
    let stage = Stage::with(Home::new(POLICY).set("audit.retain=2s"));
    let home = &*stage.gateway;
    let checkpoint = home.ok(&["audit", "verify", "--json"]).stdout;
    home.write("checkpoint.json", &checkpoint);
    let file = home.path().join("checkpoint.json");
    let agent = stage.at_web();
    until("the checkpoint's event to be dropped", || {
        agent.call("echo", r#"{"n":1}"#);
        let ran = home.run(&["audit", "verify", "--checkpoint", file.to_str().unwrap()]);
        ran.code == 1 && ran.stderr.contains("dropped since (audit.retain)")
    });
}
