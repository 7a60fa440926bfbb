//! The stage for calls that wait for people: `web` over MCP, `api` over HTTP, and somebody at the desk.

use domain::approval::Status;
use serde_json::Value;

use super::{
    Agent, Desk, Gateway, Hit, Home, Reply, Request, Step, Upstream, answer, eventually, mcp, until,
};

/// `user` may read and refund little; writing and refunding much waits for one person, and hasty things for a second.
pub const HELD_POLICY: &str = r#"
version: 1
roles:
  user:
    allow:
      - { service: web, tools: ["read_*", echo] }
      - { service: api, requests: ["GET /v1/**", "POST /v1/refunds", "POST /v1/hasty"] }
      - { service: api, requests: ["PATCH /v1/risky"], risk: 0.6 }
    approve:
      - { name: writes, service: web, tools: [write_note] }
      - { name: big refunds, service: api, requests: ["POST /v1/refunds"], when: args.amount > 1000 }
      - { name: hasty, service: api, requests: ["POST /v1/hasty"], decide_within: 4s }
  reader:
    allow:
      - { service: web, tools: ["read_*", echo] }
deny:
  - { name: no deletes, service: "*", tools: ["delete_*"], requests: ["DELETE /**"] }
limits:
  per_key: 100000/1s
  per_tool: 100000/1s
  housekeeping: 100000/1s
  refusals: 100000/1s
"#;

/// How long a connection waits where the test wants its 428.
pub const SHORT: &str = "gateway.hold=50ms";
/// How long it waits where the test wants its answer: longer than any test, shorter than the client.
pub const LONG: &str = "gateway.hold=55s";

/// A gateway where calls are held.
pub struct HeldStage {
    /// The gateway.
    pub gateway: Gateway,
    /// What stands behind `web`.
    pub web: Upstream,
    /// What stands behind `api`.
    pub api: Upstream,
    /// The key of `laptop`, a user.
    pub key: String,
    /// Where people decide.
    pub desk: Desk,
}

impl HeldStage {
    /// With this `gateway.hold`.
    pub fn new(hold: &str) -> Self {
        Self::behind(hold, |hit| {
            let body = format!("{{\"refunded\":{}}}", hit.json()["amount"]);
            answer("201 Created", "Content-Type: application/json\r\nX-Refund: 7\r\n", body)
        })
    }

    /// With an HTTP API of one's own.
    pub fn behind(hold: &str, api: impl Fn(&Hit) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::with(Home::new(HELD_POLICY).set(hold), Upstream::mcp(), Upstream::start(api))
    }

    /// On a home of one's own.
    pub fn with(home: Home, web: Upstream, api: Upstream) -> Self {
        let home = home.services(&[web.declare("web"), api.declare_api("api", "")]);
        let key = home.key("laptop", "user", "web,api");
        let desk = Desk::of(&home);
        Self { gateway: home.serve(), web, api, key, desk }
    }

    /// `laptop` at `web`.
    pub fn at_web(&self) -> Agent {
        self.gateway.agent(&self.key, "web")
    }

    /// The request of `laptop` for a refund.
    pub fn refund(&self, amount: u32) -> Request {
        let body = format!("{{\"amount\":{amount}}}");
        self.request("POST", "/http/api/v1/refunds").header("Content-Type", "application/json").body(body)
    }

    /// A request of `laptop`.
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(method, target).key(&self.key)
    }

    /// Sends a request of `laptop` without a body.
    pub fn send(&self, method: &str, target: &str) -> Reply {
        self.gateway.send(&self.request(method, target))
    }

    /// Asks for a refund that is held, and gives the approval's id.
    pub fn held_refund(&self, amount: u32) -> String {
        let reply = self.gateway.send(&self.refund(amount));
        assert_eq!(reply.status, 428, "{}", reply.text());
        approval(&reply)
    }

    /// A key of another agent, once the gateway knows it.
    pub fn other_key(&self, agent: &str, role: &str, scope: &str) -> String {
        let key = self.gateway.key(agent, role, scope);
        until("the key to be known", || {
            self.gateway.send(&Request::new("GET", "/v1/services").key(&key)).status == 200
        });
        key
    }

    /// The state of a held call.
    pub fn state(&self, id: &str) -> Value {
        let reply = self.send("GET", &format!("/v1/approvals/{id}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// The result of a held call, or why there is none.
    pub fn result(&self, id: &str) -> Reply {
        self.send("GET", &format!("/v1/approvals/{id}/result"))
    }

    /// Waits until a held call has this status. Asking delivers nothing.
    pub fn reached(&self, id: &str, status: &str) -> Value {
        eventually(&format!("{id} to be {status}"), || {
            let state = self.state(id);
            (state["status"] == status).then_some(state)
        })
    }

    /// The calls that wait for people.
    pub fn pending(&self) -> Vec<String> {
        let pending = self.desk.in_status(Status::Pending);
        pending.iter().map(|approval| approval.held.id.to_string()).collect()
    }

    /// The one call that waits for people, as soon as there is one.
    pub fn waiting(&self) -> String {
        let mut waiting = eventually("a call to wait", || Some(self.pending()).filter(|ids| !ids.is_empty()));
        assert_eq!(waiting.len(), 1, "{waiting:?}");
        waiting.remove(0)
    }
}

/// The approval that a held call's answer names, on HTTP or MCP.
pub fn approval(reply: &Reply) -> String {
    let json = reply.json();
    let document = if json["error"].is_object() { &json["error"]["data"] } else { &json };
    document["approval"]["id"].as_str().unwrap_or_else(|| panic!("no approval: {json}")).to_owned()
}

/// An MCP server with a tool of our tool's name, on two pages.
pub fn paged(hit: &Hit) -> Vec<Step> {
    if hit.rpc_method() != "tools/list" {
        return mcp(hit);
    }
    let id = hit.id().unwrap();
    let result = match hit.json()["params"]["cursor"].as_str() {
        None => r#"{"tools":[{"name":"echo"},{"name":"toolgate_wait","x":1}],"nextCursor":"2"}"#,
        Some(_) => r#"{"tools":[{"name":"read_note"}] }"#,
    };
    super::json(super::rpc(&id, result))
}
