//! The stage for HTTP services: `api`, an HTTP API with a bearer credential, and a user's key for it.

use super::{Gateway, Hit, Home, Reply, Request, Step, Upstream, answer};

/// What only the upstream and the vault should ever see.
pub const SECRET: &str = "sk_live_\"9f3%c4/ü+b1d7e2a8";

/// `user` may read everything below `/v1`, and make notes, however risky; nobody may delete.
pub const API_POLICY: &str = r#"
version: 1
roles:
  user:
    allow:
      - { name: reading, service: api, requests: ["GET /v1/**", "HEAD /v1/**"] }
      - { name: noting, service: api, requests: ["POST /v1/notes", "PUT /v1/notes/*"], risk: ignore }
  other:
    allow: []
deny:
  - { name: no deletes, service: "*", requests: ["DELETE /**"] }
limits:
  per_key: 100000/1s
  per_tool: 100000/1s
  housekeeping: 100000/1s
  refusals: 100000/1s
"#;

/// A gateway before an HTTP API.
pub struct ApiStage {
    /// The gateway.
    pub gateway: Gateway,
    /// What stands behind `api`.
    pub api: Upstream,
    /// The key of `laptop`, a user.
    pub key: String,
}

impl ApiStage {
    /// An API that answers `{"ok":true}`.
    pub fn new() -> Self {
        Self::behind(|_| answer("200 OK", "Content-Type: application/json\r\n", "{\"ok\":true}"))
    }

    /// An API that answers what `answer` says.
    pub fn behind(answer: impl Fn(&Hit) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::with(Home::new(API_POLICY), "", answer)
    }

    /// On a home of one's own, with more keys in the service's declaration.
    pub fn with(home: Home, more: &str, answer: impl Fn(&Hit) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let api = Upstream::start(answer);
        let more = format!(", credentials: [{{ name: secret_key, kind: bearer }}]{more}");
        let home = home.services(&[api.declare_api("api", &more)]);
        home.credential("api", "secret_key", SECRET);
        let key = home.key("laptop", "user", "api");
        Self { gateway: home.serve(), api, key }
    }

    /// A request of `laptop`.
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(method, target).key(&self.key)
    }

    /// Sends a request of `laptop` without a body.
    pub fn send(&self, method: &str, target: &str) -> Reply {
        self.gateway.send(&self.request(method, target))
    }

    /// A JSON request of `laptop`.
    pub fn post(&self, target: &str, body: &str) -> Reply {
        let request = self.request("POST", target).header("Content-Type", "application/json");
        self.gateway.send(&request.body(body))
    }
}
