//! Between the decision and its execution everything is looked at again: who called, what they may do, what was
//! approved, where it would go and with which credential. Anything else than what people saw is not sent; the call
//! has failed, the agent is told, and the trail says why. So it is while a gateway runs, and where it was away.

use std::collections::HashMap;

use domain::approval::{Approval, Status};
use nix::sys::signal::Signal;

use crate::harness::*;

/// One rule for each service, all before the same upstream.
const RULES: &str = r#"
      - { name: plain, service: api, requests: ["POST /v1/refunds"] }
      - { name: tool, service: web, tools: [refund] }
      - { name: vaulted, service: vaulted, requests: ["POST /v1/refunds"] }
      - { name: moving, service: moving, requests: ["POST /v1/refunds"] }
      - { name: going, service: going, requests: ["POST /v1/refunds"] }
      - { name: granted, service: withdrawn, requests: ["POST /v1/refunds"] }
      - { name: denied, service: denied, requests: ["POST /v1/refunds"] }
      - { name: doubled, service: doubled, requests: ["POST /v1/refunds"] }
      - { name: old name, service: renamed, requests: ["POST /v1/refunds"] }
"#;

/// The same after somebody has edited it.
const RULES_LATER: &str = r#"
      - { name: plain, service: api, requests: ["POST /v1/refunds"] }
      - { name: tool, service: web, tools: [refund] }
      - { name: vaulted, service: vaulted, requests: ["POST /v1/refunds"] }
      - { name: moving, service: moving, requests: ["POST /v1/refunds"] }
      - { name: going, service: going, requests: ["POST /v1/refunds"] }
      - { name: denied, service: denied, requests: ["POST /v1/refunds"] }
      - { name: doubled, service: doubled, requests: ["POST /v1/refunds"], approvals: 2 }
      - { name: new name, service: renamed, requests: ["POST /v1/refunds"] }
deny:
  - { name: closed, service: denied, requests: ["POST /v1/refunds"] }
"#;

fn policy(rules: &str) -> String {
    let open = "100000/1s";
    let limits = format!("per_key: {open}, per_tool: {open}, housekeeping: {open}, refusals: {open}");
    format!("version: 1\nroles:\n  user:\n    approve:{rules}limits: {{ {limits} }}\n")
}

/// What happens to an approved call before it is sent.
struct Case {
    /// What changes.
    what: &'static str,
    /// Who calls.
    agent: &'static str,
    /// Which service.
    service: &'static str,
    /// What the trail says about it; nothing where it is sent.
    why: &'static str,
    /// What whoever is about to decide is told has changed; nothing where nobody can decide any more.
    told: &'static str,
}

impl Case {
    fn is_sent(&self) -> bool {
        self.why.is_empty()
    }
}

const fn case(
    what: &'static str,
    agent: &'static str,
    service: &'static str,
    why: &'static str,
    told: &'static str,
) -> Case {
    Case { what, agent, service, why, told }
}

const CASES: [Case; 18] = [
    case("nothing", "laptop", "api", "", ""),
    case("nothing at a tool", "laptop", "web", "", ""),
    case(
        "the agent's scope",
        "narrowed",
        "api",
        "not in scope",
        "`api` is not in the scope of `narrowed` any more",
    ),
    case(
        "the agent's role",
        "demoted",
        "api",
        "silence means no",
        "the policy says no now: silence means no",
    ),
    case(
        "the agent is disabled",
        "disabled",
        "api",
        "agent disabled",
        "its agent `disabled` is disabled or deleted",
    ),
    case("the key is revoked", "revoked", "api", "revoked", "was revoked"),
    case(
        "the rule is gone",
        "laptop",
        "withdrawn",
        "silence means no",
        "the policy says no now: silence means no",
    ),
    case(
        "a deny",
        "laptop",
        "denied",
        "a deny binds every role",
        "the policy says no now: a deny binds every role, rule closed",
    ),
    case(
        "a larger quorum",
        "laptop",
        "doubled",
        "approved by fewer than its rule wants now",
        "its rule wants 2 people now, not 1",
    ),
    case(
        "another rule",
        "laptop",
        "renamed",
        "approved under another rule",
        "another rule wants a person now: new name",
    ),
    case(
        "the credential",
        "laptop",
        "vaulted",
        "approved with another credential",
        "credential `secret_key` was replaced: version 1 then, version 2 now",
    ),
    case("the origin", "laptop", "moving", "approved for another address", "`moving` was at http"),
    case("the service", "laptop", "going", "not in scope", "the service `going` was removed"),
    case(
        "a byte of the call digest",
        "laptop",
        "api",
        "it is another call",
        "it is not the call whose digest is shown",
    ),
    case(
        "a byte of the approval digest",
        "laptop",
        "api",
        "is not what was shown",
        "it is not what was held",
    ),
    case("the sealed call is another's", "laptop", "api", "cannot be read", ""),
    case("the sealed call is the other's", "laptop", "web", "cannot be read", ""),
    case("a byte of the sealed call", "laptop", "web", "cannot be read", ""),
];

/// The stage, and every case's call.
struct Trial {
    desk: Desk,
    stage: CountedStage,
    keys: HashMap<&'static str, String>,
}

impl Trial {
    fn new() -> Self {
        let services = ["vaulted", "moving", "going", "withdrawn", "denied", "doubled", "renamed"];
        let home = Home::new(&policy(RULES)).set("gateway.hold=5m");
        let stage = CountedStage::beside(home, |api, _| {
            let more = |name: &str| match name {
                "vaulted" => ", credentials: [{ name: secret_key, kind: bearer }]",
                _ => "",
            };
            services.map(|name| (name, api.declare_api(name, more(name)))).to_vec()
        });
        stage.gateway.credential("vaulted", "secret_key", "the-first-secret-value");
        let mut keys = HashMap::from([("laptop", stage.key.clone())]);
        for agent in ["narrowed", "demoted", "disabled", "revoked"] {
            keys.insert(agent, stage.other_key(agent, "api,web"));
        }
        Self { desk: Desk::of(&stage.gateway), stage, keys }
    }

    fn request(&self, place: usize) -> Request {
        let case = &CASES[place];
        let way = if case.service == "web" { Way::Mcp } else { Way::Http };
        let n = u64::try_from(place).unwrap() + 1;
        Counted::new(n, way).at(case.service).request(&self.keys[case.agent])
    }

    /// The row of a case's call.
    fn approval(&self, place: usize) -> Approval {
        let n = format!("\"n\":{},", place + 1);
        let all = self.desk.all();
        let mut found = all.into_iter().filter(|one| one.held.args.as_deref().unwrap().contains(&n));
        let approval = found.next().unwrap();
        assert!(found.next().is_none());
        approval
    }

    /// Everything changes.
    fn change(&self) {
        let (home, id) = (&self.stage.gateway, |what: &str| {
            let place = CASES.iter().position(|case| case.what == what).unwrap();
            self.approval(place).held.id
        });
        home.ok(&["agents", "update", "narrowed", "--scope", "web"]);
        home.ok(&["agents", "update", "demoted", "--role", "readonly"]);
        home.ok(&["agents", "disable", "disabled"]);
        home.ok(&["keys", "revoke", &self.keys["revoked"][4..12]]);
        home.credential("vaulted", "secret_key", "the-second-secret-value");
        // The other upstream is at another port.
        let services = self.stage.moved("moving");
        home.apply(&[services]);
        home.ok(&["services", "remove", "going"]);
        home.write("policy.yaml", &policy(RULES_LATER));
        // The last byte becomes another one, whatever it was.
        let flipped = |column: &str| {
            if home.is_on_postgres() {
                return format!("{column} = set_byte({column}, 0, get_byte({column}, 0) # 1)");
            }
            let start = format!("substr(hex({column}), 1, length(hex({column})) - 2)");
            let end = format!("CASE substr(hex({column}), -2) WHEN '00' THEN '01' ELSE '00' END");
            format!("{column} = unhex({start} || {end})")
        };
        let flip = |column: &str, what: &str| {
            format!("UPDATE approvals SET {} WHERE id = '{}'", flipped(column), id(what))
        };
        let (one, other) = (id("the sealed call is another's"), id("the sealed call is the other's"));
        let damaged = id("a byte of the sealed call");
        let swap = |from: &str, to: &str| {
            format!(
                "UPDATE approval_bodies SET approval = '{to}' WHERE approval = '{from}' AND purpose = 'held-call'"
            )
        };
        let free = match home.is_on_postgres() {
            true => "SET session_replication_role = replica",
            false => "PRAGMA foreign_keys = OFF",
        };
        let statements = [
            flip("call_digest", "a byte of the call digest"),
            flip("approval_digest", "a byte of the approval digest"),
            free.to_owned(),
            swap(one.as_str(), "between"),
            swap(other.as_str(), one.as_str()),
            swap("between", other.as_str()),
            format!("UPDATE approval_bodies SET {} WHERE approval = '{damaged}'", flipped("sealed")),
        ];
        home.edit(&statements);
    }

    /// How everything ended.
    fn assert_ended(&self) {
        let mut sent = Vec::new();
        for (place, case) in CASES.iter().enumerate() {
            let n = u64::try_from(place).unwrap() + 1;
            let wanted = if case.is_sent() { Status::Executed } else { Status::Failed };
            let ended = self.desk.sees(&self.approval(place).held.id, wanted);
            assert_eq!(self.stage.hits(n), usize::from(case.is_sent()), "{}: {ended:?}", case.what);
            if case.is_sent() {
                sent.push(n);
            }
        }
        let mut heard = self.stage.numbers();
        heard.sort_unstable();
        assert_eq!(heard, sent, "nobody else was reached");
        let events = self.stage.gateway.events();
        for (place, case) in CASES.iter().enumerate() {
            let id = self.approval(place).held.id;
            let mut of_it = events.iter().filter(|event| event["approval_id"] == id.as_str());
            let said = |event: &serde_json::Value| {
                let reason = event["decision"]["reason"].as_str().unwrap_or_default();
                let error = event["error"]["message"].as_str().unwrap_or_default();
                reason.contains(case.why) || error.contains(case.why)
            };
            let outcome = of_it.find(|event| event["kind"] == "outcome" && said(event));
            assert!(
                outcome.is_some(),
                "{}: the trail does not say `{}`: {:#?}",
                case.what,
                case.why,
                events.iter().filter(|event| event["approval_id"] == id.as_str()).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn what_changed_while_the_gateway_was_away_is_not_sent() {
    let mut trial = Trial::new();
    let waiting: Vec<_> =
        (0..CASES.len()).map(|place| trial.stage.gateway.begin(&trial.request(place))).collect();
    let held = trial.desk.pending(CASES.len());
    drop(waiting);
    trial.stage.gateway.signal(Signal::SIGKILL);
    trial.stage.gateway.ended();
    for one in &held {
        trial.desk.approve(one.held.id.as_str());
    }
    trial.change();
    trial.stage.gateway.restart();
    trial.assert_ended();
    // Who comes back and may still ask is told by the result.
    for (place, case) in CASES.iter().enumerate().filter(|(_, case)| case.agent == "laptop") {
        let target = format!("/v1/approvals/{}/result", trial.approval(place).held.id);
        let reply = trial.stage.gateway.send(&Request::new("GET", &target).key(&trial.stage.key));
        let told = if case.is_sent() { 200 } else { 403 };
        assert_eq!(reply.verdict(), told, "{}: {}", case.what, reply.text());
    }
}

#[test]
fn what_changes_while_a_gateway_runs_is_not_sent_and_who_waits_is_told() {
    let trial = Trial::new();
    let address = trial.stage.gateway.address();
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..CASES.len())
            .map(|place| {
                let request = trial.request(place);
                scope.spawn(move || send(address, &request))
            })
            .collect();
        let held = trial.desk.pending(CASES.len());
        trial.stage.gateway.ok(&["kill", "on", "--reason", "time to look"]);
        for one in &held {
            trial.desk.approve(one.held.id.as_str());
        }
        trial.change();
        until("the policy to be read", || trial.stage.gateway.said().contains("policy reloaded"));
        trial.stage.gateway.ok(&["kill", "off"]);
        waiting.into_iter().map(|one| one.join().unwrap()).collect()
    });
    trial.assert_ended();
    for (case, reply) in CASES.iter().zip(&replies) {
        let told = if case.is_sent() { 200 } else { 403 };
        assert_eq!(reply.verdict(), told, "{}: {}", case.what, reply.text());
        assert!(case.is_sent() || reply.text().contains("Nothing was sent."), "{}", reply.text());
    }
}

/// Holds a call, approves it while the kill switch is on, lets something happen, and shows that it is not sent.
fn assert_void(stage: &HeldStage, happens: impl FnOnce(), why: &str) {
    let id = stage.held_refund(5000);
    stage.gateway.ok(&["kill", "on", "--reason", "time to look"]);
    stage.desk.approve(&id);
    happens();
    stage.gateway.ok(&["kill", "off"]);
    let ended = eventually("the call to end", || {
        Some(stage.desk.all().remove(0)).filter(|approval| !approval.status.is_under_way())
    });
    assert_eq!((ended.status, stage.api.count()), (Status::Failed, 0), "{ended:?}");
    until("the trail to say why", || {
        let events = stage.gateway.events();
        events.iter().any(|event| event["error"]["message"] == why && event["approval_id"] == id.as_str())
    });
}

#[test]
fn what_was_approved_for_one_path_is_not_sent_below_another() {
    let stage = HeldStage::new(SHORT);
    let moved = stage.api.declare_api("api", "").replace("\", network", "/admin\", network");
    assert!(moved.contains("/admin\""), "{moved}");
    assert_void(&stage, || stage.gateway.apply(&[moved]), "approved for another address or command");
}

#[test]
fn the_yes_of_somebody_who_was_disabled_since_does_not_count() {
    let stage = HeldStage::new(SHORT);
    let _other = Desk::named(&stage.gateway, "grace");
    let disable = || drop(stage.gateway.ok(&["operators", "disable", "ada@example.com"]));
    assert_void(&stage, disable, "approved by somebody who may not decide any more");
}

#[test]
fn what_has_become_too_risky_is_not_sent() {
    let home = Home::new(HELD_POLICY).set(SHORT).set("risk.refuse_at=0.9");
    let api = Upstream::start(|_| answer("201 Created", "", "{}"));
    let stage = HeldStage::with(home, Upstream::mcp(), api);
    let riskier = HELD_POLICY.replace("when: args.amount > 1000", "when: args.amount > 1000, risk: 0.95");
    let happens = || {
        stage.gateway.write("policy.yaml", &riskier);
        until("the policy to be read", || stage.gateway.said().contains("policy reloaded"));
    };
    let refusal = domain::stop::Refusal::TooRisky { score: risk("0.95"), refuse_at: risk("0.9") };
    assert_void(&stage, happens, &refusal.cause());
}

fn risk(text: &str) -> domain::risk::RiskScore {
    domain::risk::RiskScore::parse(text).unwrap()
}

#[test]
fn whoever_is_about_to_decide_is_told_what_has_changed() {
    let trial = Trial::new();
    let waiting: Vec<_> =
        (0..CASES.len()).map(|place| trial.stage.gateway.begin(&trial.request(place))).collect();
    trial.desk.pending(CASES.len());
    let gateway = &trial.stage.gateway;
    let email = gateway.operator("olga", "approver");
    let mut browser = Browser::of(gateway, &email);
    let ids: Vec<String> = (0..CASES.len()).map(|place| trial.approval(place).held.id.to_string()).collect();
    for id in &ids {
        assert_eq!(browser.get(&format!("/api/approvals/{id}")).json()["changes"], serde_json::json!([]));
    }
    trial.change();
    until("the policy to be read", || gateway.said().contains("policy reloaded"));
    for (case, id) in CASES.iter().zip(&ids) {
        let changes = |page: &serde_json::Value| page["changes"].to_string();
        let shown = gateway.run(&["approvals", "show", id, "--json"]);
        if case.told.is_empty() && !case.is_sent() {
            assert_eq!(
                (shown.code, shown.stdout.as_str()),
                (1, ""),
                "{}: what nobody sees nobody decides",
                case.what
            );
            continue;
        }
        let (shown, page) = (
            serde_json::from_str::<serde_json::Value>(&shown.stdout).unwrap(),
            browser.get(&format!("/api/approvals/{id}")).json(),
        );
        assert_eq!(changes(&shown), changes(&page), "{}: terminal and console agree", case.what);
        assert_eq!(page["changes"].as_array().unwrap().is_empty(), case.is_sent(), "{}: {page}", case.what);
        assert!(changes(&page).contains(case.told), "{}: {page}", case.what);
        let (html, text) =
            (browser.get(&format!("/approvals/{id}")).text(), gateway.ok(&["approvals", "show", id]).stdout);
        for warned in
            [html.contains("is not what would be sent now"), text.contains("! changed since it was held")]
        {
            assert_eq!(warned, !case.is_sent(), "{}", case.what);
        }
    }
    assert_eq!(trial.stage.numbers(), [] as [u64; 0]);
    drop(waiting);
}
