//! A gateway before two counting upstreams, `api` over HTTP and `web` over MCP, whose calls wait for people. Each call
//! carries a number; what its upstream does with it is in the call.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use domain::approval::{Approval, Status};

use super::{
    Desk, Gateway, Home, Latch, Reply, Request, Step, Upstream, answer, call, eventually, mcp, rpc, say, send,
};

/// Everything that matters wants one person; `pairs` wants two.
pub const COUNTED_POLICY: &str = r#"
version: 1
roles:
  user:
    allow:
      - { name: looking, service: api, requests: ["GET /v1/**"] }
    approve:
      - { name: refunds, service: api, requests: ["POST /v1/refunds"] }
      - { name: pairs, service: api, requests: ["POST /v1/pairs"], approvals: 2 }
      - { name: tools, service: web, tools: [refund] }
      - { name: hurried, service: api, requests: ["POST /v1/hurried"], decide_within: 1s }
      - { name: fleeting, service: api, requests: ["POST /v1/fleeting"], execute_within: 1s }
      - { name: jammed, service: jammed-api, requests: ["POST /v1/refunds"] }
      - { name: jammed tools, service: jammed-web, tools: [refund] }
limits:
  per_key: 100000/1s
  per_tool: 100000/1s
  housekeeping: 100000/1s
  refusals: 100000/1s
"#;

/// Which way a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `POST /http/SERVICE/v1/refunds`, unless another path is named.
    Http,
    /// `tools/call` of `refund`.
    Mcp,
}

/// What an upstream does when it has heard a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Answers.
    Answers,
    /// Says nothing.
    KeepsSilent,
    /// Begins an answer.
    AnswersHalf,
    /// Answers when it is told to.
    Hesitates,
}

/// A call.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Its number.
    pub n: u64,
    /// Which way it goes.
    pub way: Way,
    /// `api`, `web`, or one that is jammed.
    pub service: String,
    /// The path, where it is a request.
    pub path: &'static str,
    /// What the upstream does.
    pub does: Does,
    /// Its idempotency key.
    pub key: Option<String>,
}

/// The gateway and its upstreams.
pub struct CountedStage {
    /// The gateway.
    pub gateway: Gateway,
    /// The key of `laptop`, a user.
    pub key: String,
    api: Upstream,
    web: Upstream,
    gates: Arc<Gates>,
}

/// What upstreams that hesitate wait for, and what silent ones wait for: the end.
#[derive(Default)]
struct Gates {
    open: Mutex<HashMap<u64, Arc<Latch>>>,
    end: Arc<Latch>,
}

impl Gates {
    fn of(&self, n: u64) -> Arc<Latch> {
        Arc::clone(self.open.lock().unwrap().entry(n).or_default())
    }
}

impl CountedStage {
    /// On a home of one's own.
    pub fn with(home: Home) -> Self {
        Self::beside(home, |_, _| Vec::new())
    }

    /// With more services for `laptop`, each its name and its declaration, which may be before the same two upstreams.
    pub fn beside(
        home: Home,
        more: impl FnOnce(&Upstream, &Upstream) -> Vec<(&'static str, String)>,
    ) -> Self {
        let gates = Arc::<Gates>::default();
        let (at_api, at_web) = (Arc::clone(&gates), Arc::clone(&gates));
        let api = Upstream::start(move |hit| {
            if hit.method == "GET" {
                return answer("200 OK", "Content-Type: application/json\r\n", "{}");
            }
            let body = hit.json();
            let text = format!("{{\"done\":{}}}", body["n"]);
            steps(&body, answer("200 OK", "Content-Type: application/json\r\n", text), &at_api)
        });
        let web = Upstream::start(move |hit| {
            if hit.rpc_method() != "tools/call" {
                return mcp(hit);
            }
            let arguments = hit.json()["params"]["arguments"].clone();
            let text = format!("done {}", arguments["n"]);
            let result = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
            steps(&arguments, super::json(rpc(&hit.id().unwrap(), &result)), &at_web)
        });
        let more = more(&api, &web);
        let mut declared = vec![api.declare_api("api", ""), web.declare("web")];
        declared.extend(more.iter().map(|(_, declaration)| declaration.clone()));
        let home = home.services(&declared);
        let names: Vec<&str> = ["api", "web"].into_iter().chain(more.iter().map(|(name, _)| *name)).collect();
        let key = home.key("laptop", "user", &names.join(","));
        Self { gateway: home.serve(), key, api, web, gates }
    }

    /// Another agent's key, as soon as the gateway knows it.
    pub fn other_key(&self, agent: &str, scope: &str) -> String {
        let key = self.gateway.key(agent, "user", scope);
        let asks = Request::new("GET", "/v1/services").key(&key);
        super::until("the key to be known", || self.gateway.send(&asks).status == 200);
        key
    }

    /// The request for a call.
    pub fn request(&self, call: &Counted) -> Request {
        call.request(&self.key)
    }

    /// Makes a call and waits for what it is told.
    pub fn send(&self, call: &Counted) -> Reply {
        self.gateway.send(&self.request(call))
    }

    /// Makes a call, and stays or leaves as soon as it is held.
    pub fn hold(&self, call: &Counted, desk: &Desk, stays: bool) -> (Option<std::net::TcpStream>, Approval) {
        let known: Vec<_> = desk.in_status(Status::Pending).into_iter().map(|one| one.held.id).collect();
        let connection = self.gateway.begin(&self.request(call));
        let held = eventually("the call to be held", || {
            desk.in_status(Status::Pending).into_iter().find(|one| !known.contains(&one.held.id))
        });
        (stays.then_some(connection), held)
    }

    /// Makes calls at once, of which nobody waits for an answer; they are held when this returns.
    pub fn hold_all(&self, calls: &[Counted], desk: &Desk) -> Vec<Approval> {
        let mut count = desk.in_status(Status::Pending).len();
        for some in calls.chunks(64) {
            let connections: Vec<_> =
                some.iter().map(|call| self.gateway.begin(&self.request(call))).collect();
            count += connections.len();
            desk.pending(count);
        }
        desk.pending(count)
    }

    /// How often the upstreams have heard of a call.
    pub fn hits(&self, n: u64) -> usize {
        self.numbers().iter().filter(|heard| **heard == n).count()
    }

    /// The numbers of the calls that the upstreams have heard of.
    pub fn numbers(&self) -> Vec<u64> {
        let api = self.api.hits().into_iter().map(|hit| hit.json()["n"].as_u64());
        let web = self.web.hits().into_iter().map(|hit| hit.json()["params"]["arguments"]["n"].as_u64());
        api.chain(web).flatten().collect()
    }

    /// The declaration of a service that was before `api` and is to be before `web`'s upstream.
    pub fn moved(&self, name: &str) -> String {
        self.web.declare_api(name, "")
    }

    /// Lets a hesitating upstream answer.
    pub fn release(&self, n: u64) {
        self.gates.of(n).release();
    }
}

impl Drop for CountedStage {
    fn drop(&mut self) {
        self.gates.end.release();
        for gate in self.gates.open.lock().unwrap().values() {
            gate.release();
        }
    }
}

impl Counted {
    /// A call that is answered.
    pub fn new(n: u64, way: Way) -> Self {
        let service = if way == Way::Http { "api" } else { "web" };
        let path = "/v1/refunds";
        Self { n, way, service: service.to_owned(), path, does: Does::Answers, key: None }
    }

    /// With another upstream.
    pub fn at(mut self, service: &str) -> Self {
        self.service = service.to_owned();
        self
    }

    /// With another path.
    pub fn to(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    /// With an upstream that does something else.
    pub fn that(mut self, does: Does) -> Self {
        self.does = does;
        self
    }

    /// Under an idempotency key.
    pub fn keyed(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// The request, with an agent's key.
    pub fn request(&self, agent: &str) -> Request {
        let arguments = format!(r#"{{"n":{},"does":"{:?}"}}"#, self.n, self.does);
        let request = match self.way {
            Way::Http => Request::new("POST", &format!("/http/{}{}", self.service, self.path))
                .header("Content-Type", "application/json")
                .body(arguments),
            Way::Mcp => Request::post(&format!("/mcp/{}", self.service), call(1, "refund", &arguments)),
        };
        let request = request.key(agent);
        match &self.key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    }

    /// Whether a reply is the upstream's answer to it.
    pub fn is_answered_by(&self, reply: &Reply) -> bool {
        match self.way {
            Way::Http => reply.text() == format!("{{\"done\":{}}}", self.n),
            Way::Mcp => reply.text().contains(&format!("\"done {}\"", self.n)),
        }
    }

    /// Makes it at a gateway until it ends: not held, not in progress any more, and not turned away with nothing sent.
    pub fn insist(&self, address: SocketAddr, agent: &str) -> Reply {
        eventually("the call to end", || {
            let reply = send(address, &self.request(agent));
            (!is_under_way(&reply)).then_some(reply)
        })
    }
}

/// Whether the agent is told to come back later: it is under way, or nothing was sent because a busy machine could not
/// confirm its snapshot, or count, in time.
fn is_under_way(reply: &Reply) -> bool {
    match reply.verdict() {
        428 | 429 | 503 => true,
        409 => reply.text().contains("urn:toolgate:in-progress"),
        _ => false,
    }
}

/// What is done with a call's answer.
fn steps(said: &serde_json::Value, mut whole: Vec<Step>, gates: &Gates) -> Vec<Step> {
    match said["does"].as_str() {
        Some("KeepsSilent") => vec![Step::Wait(Arc::clone(&gates.end)), Step::HangUp],
        Some("AnswersHalf") => vec![
            say(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{\"jsonrpc\":",
            ),
            Step::Wait(Arc::clone(&gates.end)),
            Step::HangUp,
        ],
        Some("Hesitates") => {
            whole.insert(0, Step::Wait(gates.of(said["n"].as_u64().unwrap())));
            whole
        }
        _ => whole,
    }
}
