//! The endpoint of all services: members of both eras, with sessions and without, over HTTP and stdio.

use std::sync::{Arc, Mutex};

use super::{
    Agent, ChildServer, Gateway, Hit, Home, Reply, Request, Step, Upstream, answer, eventually, json, mcp,
    rpc,
};

/// Every service of the tests may be read; `write_note` of `web` is held.
pub const ALL_POLICY: &str = r#"
version: 1
roles:
  user:
    allow:
      - { service: web, tools: ["read_*", echo], prompts: [hello] }
      - { service: child, tools: ["read_*", echo, pid, progress, hang, ask], prompts: [hello] }
      - { service: kept, tools: ["*"] }
      - { service: newest, tools: ["*"], prompts: ["*"] }
      - { service: odd, tools: ["*"] }
      - { service: dead, tools: ["*"] }
      - { service: silent, tools: ["*"] }
    approve:
      - { name: writes, service: web, tools: [write_note] }
limits:
  per_key: 100000/1s
  per_tool: 100000/1s
  housekeeping: 100000/1s
  refusals: 100000/1s
"#;

/// What a client of the newest protocol says about itself.
pub const NEWEST_META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"x/y":{"n":1.0},"io.modelcontextprotocol/tasks":{}}}}"#;

/// What stands in an object that is a member's value.
pub fn inner(member: &str) -> &str {
    member.split_once('{').unwrap().1
}

/// A request of the newest protocol, with `more` parameters.
pub fn newest(target: &str, method: &str, name: Option<&str>, more: &str) -> Request {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{more}{NEWEST_META}}}}}"#);
    let request =
        Request::post(target, body).header("MCP-Protocol-Version", "2026-07-28").header("Mcp-Method", method);
    match name {
        Some(name) => request.header("Mcp-Name", name),
        None => request,
    }
}

/// A call of the newest protocol.
pub fn newest_call(name: &str, arguments: &str) -> Request {
    newest("/mcp", "tools/call", Some(name), &format!(r#""name":"{name}","arguments":{arguments},"#))
}

fn error(status: &str, id: &str, code: i32) -> Vec<Step> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"no"}}}}"#);
    answer(status, "Content-Type: application/json\r\n", body)
}

/// A server of the newest protocol and no other.
fn only_newest(hit: &Hit) -> Vec<Step> {
    let id = hit.id().unwrap_or_default();
    let params = &hit.json()["params"];
    if params["_meta"]["io.modelcontextprotocol/protocolVersion"] != "2026-07-28" {
        return error("400 Bad Request", &id, -32602);
    }
    let cached = r#""resultType":"complete","ttlMs":3000,"cacheScope":"public""#;
    match hit.rpc_method().as_str() {
        "server/discover" => json(rpc(
            &id,
            &format!(r#"{{"supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{}}}},{cached}}}"#),
        )),
        "tools/list" => json(rpc(&id, &format!(r#"{{"tools":[{{"name":"add","n":1E5}}],{cached}}}"#))),
        "prompts/list" => json(rpc(&id, &format!(r#"{{"prompts":[{{"name":"sum it up"}}],{cached}}}"#))),
        "tools/call" if params["name"] == "asks" && params.get("requestState").is_none() => {
            json(rpc(&id, r#"{"resultType":"input_required","requestState":"s__1","inputRequests":{}}"#))
        }
        "tools/call" | "prompts/get" => json(rpc(&id, r#"{"resultType":"complete","content":[],"z":1.0}"#)),
        _ => error("404 Not Found", &id, -32601),
    }
}

/// A server of the older protocol that gives sessions, and has forgotten those that are not in `known`.
fn with_sessions(known: &Mutex<Vec<String>>, hit: &Hit) -> Vec<Step> {
    let mut known = known.lock().unwrap();
    if hit.rpc_method() == "initialize" {
        let session = format!("session-{}", known.len());
        known.push(session.clone());
        let result = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"k","version":"1"}}"#;
        let headers = format!("Content-Type: application/json\r\nMcp-Session-Id: {session}\r\n");
        return answer("200 OK", &headers, rpc(&hit.id().unwrap(), result));
    }
    match hit.header("mcp-session-id") {
        Some(session) if known.iter().any(|known| known == session) => match hit.rpc_method().as_str() {
            "tools/list" => json(rpc(&hit.id().unwrap(), r#"{"tools":[{"name":"whoami"}]}"#)),
            "tools/call" => {
                let told = format!(r#"{{"content":[{{"type":"text","text":"{session}"}}]}}"#);
                json(rpc(&hit.id().unwrap(), &told))
            }
            _ => mcp(hit),
        },
        _ => answer("404 Not Found", "", "who are you"),
    }
}

/// The gateway before `web`, `kept`, `newest` over HTTP and `child` over stdio.
pub struct AllStage {
    /// The gateway.
    pub gateway: Gateway,
    /// Without sessions.
    pub web: Upstream,
    /// With sessions.
    pub kept: Upstream,
    /// Of the newest protocol and no other.
    pub newest: Upstream,
    /// Over stdio.
    pub child: ChildServer,
    /// The sessions that `kept` knows.
    pub sessions: Arc<Mutex<Vec<String>>>,
    /// The key of `laptop`, a user.
    pub key: String,
}

impl AllStage {
    /// With [`ALL_POLICY`].
    pub fn new() -> Self {
        Self::with(Home::new(ALL_POLICY))
    }

    /// On a home of one's own.
    pub fn with(home: Home) -> Self {
        let sessions = Arc::<Mutex<Vec<String>>>::default();
        let known = Arc::clone(&sessions);
        let (web, newest) = (Upstream::mcp(), Upstream::start(only_newest));
        let kept = Upstream::start(move |hit| with_sessions(&known, hit));
        let child = ChildServer::new();
        let home = home.services(&[
            web.declare("web"),
            kept.declare("kept"),
            newest.declare("newest"),
            child.declare("child"),
        ]);
        let key = home.key("laptop", "user", "web,kept,newest,child");
        Self { gateway: home.serve(), web, kept, newest, child, sessions, key }
    }

    /// A client of the older protocol, with a session.
    pub fn older(&self) -> Agent {
        self.gateway.agent_of_all(&self.key).connected()
    }

    /// Sends it with the key.
    pub fn send(&self, request: Request) -> Reply {
        self.gateway.send(&request.key(&self.key))
    }
}

/// The names in a list.
pub fn names(reply: &Reply, member: &str) -> Vec<String> {
    let json = reply.json();
    let list = json["result"][member].as_array().unwrap_or_else(|| panic!("no list: {json}"));
    list.iter().map(|element| element["name"].as_str().unwrap().to_owned()).collect()
}

/// The calls that arrived at a server.
pub fn calls(upstream: &Upstream) -> Vec<Hit> {
    upstream.hits().into_iter().filter(|hit| hit.rpc_method() == "tools/call").collect()
}

/// A list as soon as it has every one of these services: a slow machine may take longer than a member has.
pub fn listed(what: &str, services: &[&str], mut ask: impl FnMut() -> Reply) -> Reply {
    eventually(what, || {
        let reply = ask();
        let names =
            names(&reply, if reply.json()["result"].get("tools").is_some() { "tools" } else { "prompts" });
        let has = |service: &&str| names.iter().any(|name| name.starts_with(&format!("{service}__")));
        services.iter().all(has).then_some(reply)
    })
}
