//! The stage that promises are tested on: the real binary on a temporary home, real sockets, counting upstreams.
//! It must never know how the binary does what it promises.

mod agent;
pub mod all;
mod api;
mod child;
mod console;
mod counted;
mod database;
mod desk;
mod gateway;
mod held;
mod home;
mod http;
mod issuer;
pub mod keyed;
mod lock;
mod modern;
pub mod pages;
mod upstream;

use std::time::Duration;

pub use agent::{Agent, call};
pub use api::{API_POLICY, ApiStage, SECRET};
pub use child::{ChildServer, is_running};
pub use console::{Browser, PASSWORD};
pub use counted::{COUNTED_POLICY, Counted, CountedStage, Does, Way};
pub use database::Database;
pub use desk::{Desk, is_busy, now};
pub use gateway::{Gateway, Twin};
pub use held::{HELD_POLICY, HeldStage, LONG, SHORT, approval, paged};
pub use home::{Home, Ran, older_program, program};
pub use http::{Answer, Reply, Request, attempt, open, send, send_bytes};
pub use issuer::Issuer;
pub use lock::Lock;
pub use modern::{Modern, message_in};
pub use upstream::{
    ClosedPort, Hit, Latch, Step, TOOLS, Upstream, answer, events, json, mcp, rpc, say, stream_head,
};

/// A policy without limits that a test would meet by accident. `user` may read, nobody may delete.
pub const POLICY: &str = r#"
version: 1
roles:
  admin:
    allow: ["*"]
  user:
    allow:
      - name: reading
        service: web
        tools: ["read_*", echo]
        resources: ["file:///public/**"]
        prompts: [hello]
      - name: playing
        service: child
        tools: ["read_*", echo, awkward, crash, flood, garbage, huge, large, fork, environ, pid, hang, slow, progress, ask, pair]
        resources: ["file:///public/**"]
        prompts: [hello]
  other:
    allow: []
deny:
  - { name: no deletes, service: "*", tools: ["delete_*"] }
limits:
  per_key: 100000/1s
  per_tool: 100000/1s
  housekeeping: 100000/1s
  refusals: 100000/1s
"#;

/// How often something is looked for before the test gives up: for at least a minute.
const LOOKS: usize = 3_000;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` finds something. A slow machine waits longer; only a broken promise waits in vain.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    panic!("waited in vain: {what}");
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
}

/// The usual stage: `web` over HTTP, `child` over stdio, and a user's key for both.
pub struct Stage {
    /// The gateway.
    pub gateway: Gateway,
    /// What stands behind `web`.
    pub web: Upstream,
    /// What stands behind `child`.
    pub child: ChildServer,
    /// The key of `laptop`, a user.
    pub key: String,
}

impl Stage {
    /// With [`POLICY`].
    pub fn new() -> Self {
        Self::with(Home::new(POLICY))
    }

    /// On a home of one's own.
    pub fn with(home: Home) -> Self {
        Self::behind(home, Upstream::mcp())
    }

    /// With an HTTP upstream of one's own.
    pub fn behind(home: Home, web: Upstream) -> Self {
        let child = ChildServer::new();
        let home = home.services(&[web.declare("web"), child.declare("child")]);
        let key = home.key("laptop", "user", "web,child");
        Self { gateway: home.serve(), web, child, key }
    }

    /// `laptop` at `web`.
    pub fn at_web(&self) -> Agent {
        self.gateway.agent(&self.key, "web")
    }

    /// `laptop` at `child`, with a session.
    pub fn at_child(&self) -> Agent {
        self.gateway.agent(&self.key, "child").connected()
    }
}
