//! Three gateways that share a Postgres and a Redis, each on a way of its own to both, before one upstream that counts. What
//! takes time to make is made once for all tests that run at the same time.

#[path = "../../../counters/tests/shared/authority.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate that counts")]
pub mod authority;
mod load;
mod postgres;
mod proxy;
#[path = "../../../counters/tests/shared/server.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate that counts")]
mod redis;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use serde_json::Value;

pub use crate::behaviour::harness;
use harness::{
    Gateway, Home, Latch, Reply, Request, Step, Upstream, answer, eventually, mcp, say, send, stream_head,
};
pub use load::{Load, code, number};
use postgres::Programs;
pub use postgres::{Postgres, Tls};
pub use proxy::{Proxy, Weather};
pub use redis::Server as Redis;

/// How many gateways there are.
pub const GATEWAYS: usize = 3;
/// How many calls of the scarce kind there are in a day.
pub const SCARCE: usize = 12;

/// `scarce` is enough for four at each of three gateways.
const POLICY: &str = r#"
version: 1
roles:
  user:
    allow:
      - { name: calls, service: api, requests: ["GET /v1/calls/*", "GET /v1/scarce"] }
      - { name: streams, service: web, tools: ["read_*"] }
    approve:
      - { name: held, service: api, requests: ["POST /v1/held/*"] }
limits:
  per_key: 100000/1s
  per_tool: 100000/1s
  housekeeping: 100000/1s
  refusals: 100000/1s
  overrides:
    - { service: api, requests: ["GET /v1/scarce"], limit: 12/1d }
"#;

/// One gateway and its ways.
pub struct Node {
    pub gateway: Gateway,
    /// Its way to Postgres.
    pub store: Proxy,
    /// Its way to Redis.
    pub counters: Proxy,
}

/// The gateways and their servers.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub redis: Redis,
    pub postgres: Postgres,
    /// The key of `laptop`, a user of `api` and `web`.
    pub key: String,
    /// A token of `ada`, an owner.
    pub token: String,
    _template: Arc<Template>,
}

impl Cluster {
    /// Three gateways that are alike.
    pub fn new() -> Self {
        Self::with(|_, home| home)
    }

    /// With gateways that differ from each other, or from others.
    pub fn with(each: impl Fn(usize, Home) -> Home + Sync) -> Self {
        let template = Template::any();
        let redis = Redis::start().expect("a Redis below TOOLGATE_PEERS");
        let mut postgres = template.server();
        postgres.start();
        let counted = PathBuf::from(redis.url().trim_start_matches("redis+unix://"));
        let node = |nth| {
            let (store, counters) = (Proxy::to(postgres.socket()), Proxy::to(counted.clone()));
            let home = template
                .home(&format!("postgres://postgres@{}/postgres", store.address))
                .variable("TOOLGATE_COUNTERS_URL", &format!("redis://{}", counters.address));
            Node { gateway: each(nth, home).serve(), store, counters }
        };
        let nodes = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..GATEWAYS).map(|nth| scope.spawn(move || node(nth))).collect();
            starting.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let (key, token) = (template.key.clone(), template.token.clone());
        Self { nodes, redis, postgres, key, token, _template: template }
    }

    /// The weather on every gateway's way to Postgres.
    pub fn store_turns(&self, weather: Weather) {
        self.nodes.iter().for_each(|node| node.store.turns(weather));
    }

    /// What `ada` asks of one gateway's console. One whose store is held up by others is asked again.
    pub fn console(&self, gateway: usize, method: &str, target: &str, body: &Value) -> Reply {
        let request = Request::new(method, target)
            .header("Authorization", &format!("Bearer {}", self.token))
            .header("Content-Type", "application/json");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.body(body);
        eventually("the console to answer", || {
            let reply = send(self.nodes[gateway].gateway.console(), &request);
            (reply.status != 503).then_some(reply)
        })
    }

    /// Asks for three times as many scarce calls as there are, of every gateway in turn.
    pub fn scarce(&self) -> Scarce {
        let ask = Request::new("GET", "/http/api/v1/scarce").key(&self.key);
        let mut scarce = Scarce { passed: 0, lost: 0 };
        for nth in 0..3 * SCARCE {
            eventually("a limit to be counted", || {
                let reply = self.nodes[nth % GATEWAYS].gateway.send(&ask);
                match code(&reply).as_str() {
                    "" => scarce.passed += 1,
                    "rate-limited" => {}
                    "counters-unavailable" | "stale-authorization" => {
                        scarce.lost += 1;
                        return None;
                    }
                    _ => panic!("{}", reply.text()),
                }
                Some(())
            });
        }
        scarce
    }
}

/// How scarce calls ended.
pub struct Scarce {
    /// So many passed.
    pub passed: usize,
    /// So many were refused because nobody counted in time: they may have been counted all the same.
    pub lost: usize,
}

/// Everything that all tests begin with: a home, and a store with services, an agent and an operator. Neither runs.
pub struct Template {
    home: Home,
    postgres: Postgres,
    /// The key of `laptop`, a user of `api` and `web`.
    pub key: String,
    token: String,
}

static TEMPLATE: Mutex<Weak<Template>> = Mutex::new(Weak::new());

impl Template {
    /// The one of the tests that run at this time. It goes with the last of them.
    pub fn any() -> Arc<Self> {
        let mut known = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = known.upgrade() {
            return template;
        }
        let template = Arc::new(Self::make(&Programs::of(&peers())));
        *known = Arc::downgrade(&template);
        template
    }

    /// A home of one more gateway, with its store there.
    pub fn home(&self, store: &str) -> Home {
        let home =
            Home::empty().variable("TOOLGATE_STORE_URL", store).variable("TOOLGATE_AUDIT_SYNC", "flush");
        for file in ["vault.key", "policy.yaml", "toolgate.yaml"] {
            fs::copy(self.home.path().join(file), home.path().join(file)).unwrap();
        }
        home.remember(&self.key);
        home
    }

    /// A server with everything of it, which does not run yet.
    pub fn server(&self) -> Postgres {
        Postgres::like(&self.postgres)
    }

    fn make(programs: &Programs) -> Self {
        let mut postgres = Postgres::new(programs);
        postgres.start();
        let home = Home::empty()
            .variable("TOOLGATE_STORE_URL", &postgres.url())
            .variable("TOOLGATE_AUDIT_SYNC", "flush");
        home.ok(&["init"]);
        home.write("policy.yaml", POLICY);
        home.apply(&[upstream().declare_api("api", ""), upstream().declare("web")]);
        let key = home.key("laptop", "user", "api,web");
        let token = home.operator_token(&home.operator("ada", "owner"));
        postgres.stop();
        Self { home, postgres, key, token }
    }
}

/// Where Debian's programs are unpacked.
pub fn peers() -> PathBuf {
    std::env::var_os("TOOLGATE_PEERS").expect("TOOLGATE_PEERS; run `cargo xtask test`").into()
}

/// The upstream of all tests, which goes with the process: `/v1/…` answers, `GET /mcp` goes on for ever.
fn upstream() -> &'static Upstream {
    static UPSTREAM: OnceLock<Upstream> = OnceLock::new();
    UPSTREAM.get_or_init(|| {
        let never = Latch::new();
        Upstream::start(move |hit| match (hit.method.as_str(), hit.target()) {
            ("GET", "/mcp") => {
                vec![stream_head(), say("data: {}\n\n"), Step::Wait(Arc::clone(&never)), Step::HangUp]
            }
            (_, "/mcp") => mcp(hit),
            (_, target) => {
                if target.starts_with("/v1/held/") {
                    // Long enough for others to take it for lost, were they to look at their own clock only.
                    std::thread::sleep(std::time::Duration::from_secs(2));
                }
                answer("200 OK", "Content-Type: application/json\r\n", "{\"done\":true}")
            }
        })
    })
}

/// How often the upstream heard of each of these numbered calls.
pub fn hits(numbers: &BTreeSet<u64>) -> BTreeMap<u64, usize> {
    let mut hits = BTreeMap::new();
    for hit in upstream().hits() {
        let n = hit.target().strip_prefix("/v1/calls/").and_then(|n| n.parse().ok());
        if let Some(n) = n.filter(|n| numbers.contains(n)) {
            *hits.entry(n).or_insert(0) += 1;
        }
    }
    hits
}

/// How often it heard of one target.
pub fn heard(target: &str) -> usize {
    upstream().hits().iter().filter(|hit| hit.target() == target).count()
}

/// How many rounds of what is worth repeating: few, unless `TOOLGATE_SOAK_ROUNDS` says more.
pub fn rounds(few: usize) -> usize {
    soak().unwrap_or(few)
}

/// `TOOLGATE_SOAK_ROUNDS`, where somebody wants figures.
pub fn soak() -> Option<usize> {
    std::env::var("TOOLGATE_SOAK_ROUNDS").ok()?.parse().ok()
}
