//! Agents that never stop calling, at every gateway, and what must be true of their calls whatever the weather was: none
//! without a durable intent, none twice, each answer true.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use sqlx::Row as _;

use super::{
    Cluster,
    harness::{Reply, Request, attempt, eventually, until},
    hits,
};

/// The pause between two calls of an agent.
const PAUSE: Duration = Duration::from_millis(40);
/// What agents are told on a machine that is too slow to confirm and to count in time, whatever the weather is.
const TOO_SLOW: [&str; 2] = ["stale-authorization", "counters-unavailable"];
/// How many calls with one key an agent makes at most, a gateway after the other.
const TRIES: usize = 20;

/// Numbers of calls: no two of this process are the same.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The number of the next call.
pub fn number() -> u64 {
    NEXT.fetch_add(1, Ordering::SeqCst)
}

/// What an agent was told.
#[derive(Debug, Clone)]
pub struct Told {
    /// The call's number.
    pub n: u64,
    /// Which gateway said so.
    pub gateway: usize,
    /// 200, 503 …
    pub status: u16,
    /// `audit-unavailable` …; empty for an answer of the upstream.
    pub code: String,
    /// Whether the call had an idempotency key: then others with its number may follow.
    pub keyed: bool,
}

/// Agents at work.
pub struct Load {
    ends: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<Told>>>,
    agents: Vec<JoinHandle<()>>,
    gateways: usize,
}

impl Load {
    /// Two agents at each gateway: one makes plain calls; one calls with idempotency keys, and goes to the next gateway
    /// with the same key as long as it is refused.
    pub fn on(cluster: &Cluster) -> Self {
        let (ends, told) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Told>>>::default());
        let doors: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.gateway.address()).collect();
        let gateways = doors.len();
        let agents = (0..2 * gateways).map(|nth| {
            let (ends, told, doors, key) =
                (Arc::clone(&ends), Arc::clone(&told), doors.clone(), cluster.key.clone());
            std::thread::spawn(move || {
                let (at, keyed) = (nth % gateways, nth >= gateways);
                while !ends.load(Ordering::SeqCst) {
                    let n = number();
                    for gateway in (at..at + if keyed { TRIES } else { 1 }).map(|one| one % gateways) {
                        let one = call(doors[gateway], gateway, &key, n, keyed);
                        let is_over = one.status != 503 && one.status != 409;
                        told.lock().unwrap().push(one);
                        if is_over {
                            break;
                        }
                        std::thread::sleep(PAUSE);
                    }
                    std::thread::sleep(PAUSE);
                }
            })
        });
        Self { agents: agents.collect(), ends, told, gateways }
    }

    /// Waits until this gateway answers a call that began after now as `is` says.
    pub fn sees(&self, gateway: usize, what: &str, is: impl Fn(&Told) -> bool) {
        let from = NEXT.load(Ordering::SeqCst);
        let began = Instant::now();
        until(&format!("gateway {gateway}: {what}"), || {
            let told = self.told.lock().unwrap();
            told.iter().any(|one| one.gateway == gateway && one.n >= from && !one.keyed && is(one))
        });
        eprintln!("gateway {gateway}: {what} after {:?}", began.elapsed());
    }

    /// Waits until a call to this gateway that began after now is forwarded.
    pub fn passes(&self, gateway: usize) {
        self.sees(gateway, "calls to pass", |told| told.status == 200);
    }

    /// Waits until a call to each gateway that began after now is forwarded.
    pub fn passes_everywhere(&self) {
        for gateway in 0..self.gateways {
            self.passes(gateway);
        }
    }

    /// Waits until a call to this gateway that began after now is refused with one of these codes.
    pub fn refused(&self, gateway: usize, codes: &[&str]) {
        self.sees(gateway, &format!("{codes:?}"), |told| codes.contains(&told.code.as_str()));
    }

    /// The same at each gateway.
    pub fn refused_everywhere(&self, codes: &[&str]) {
        for gateway in 0..self.gateways {
            self.refused(gateway, codes);
        }
    }

    /// The next call's number, for [`Told::n`].
    pub fn now(&self) -> u64 {
        NEXT.load(Ordering::SeqCst)
    }

    /// The calls with a number from this one on that a gateway has let pass.
    pub fn passed(&self, gateway: usize, from: u64) -> Vec<Told> {
        let told = self.told.lock().unwrap();
        let passed = |one: &&Told| one.gateway == gateway && one.n >= from && one.status == 200;
        told.iter().filter(passed).cloned().collect()
    }

    /// Ends it in fair weather, and holds what agents were told against what the upstream heard and the trail says. Codes
    /// other than these, and what a slow machine says, were told to nobody.
    pub fn settle(mut self, cluster: &Cluster, codes: &[&str]) {
        self.ends.store(true, Ordering::SeqCst);
        for agent in self.agents.drain(..) {
            agent.join().unwrap();
        }
        let mut told = std::mem::take(&mut *self.told.lock().unwrap());
        // Whoever asks again under his key is told how it ended: no key is held by nobody.
        let last: BTreeMap<u64, Told> =
            told.iter().filter(|one| one.keyed).map(|one| (one.n, one.clone())).collect();
        for one in last.into_values().filter(|one| one.status != 200) {
            let door = cluster.nodes[one.gateway].gateway.address();
            told.push(eventually(&format!("an end of call {}", one.n), || {
                let again = call(door, one.gateway, &cluster.key, one.n, true);
                (again.status != 503 && again.code != "in-progress").then_some(again)
            }));
        }
        let numbers: BTreeSet<u64> = told.iter().map(|one| one.n).collect();
        let hits = hits(&numbers);
        let passed: BTreeSet<u64> = told.iter().filter(|one| one.status == 200).map(|one| one.n).collect();
        for one in told.iter().filter(|one| one.status != 200) {
            let own = one.keyed && ["in-progress", "outcome-unknown"].contains(&one.code.as_str());
            let known = codes.iter().chain(&TOO_SLOW).any(|code| one.code == *code);
            assert!(own || known, "nobody is told this: {one:?}");
            assert!(own || one.status == 503, "{one:?}");
            assert!(one.keyed || !hits.contains_key(&one.n), "it was sent all the same: {one:?}");
        }
        for (n, count) in &hits {
            assert_eq!(*count, 1, "call {n} was made twice: {:?}", of(&told, *n));
        }
        for n in &passed {
            assert!(hits.contains_key(n), "call {n} was never made: {:?}", of(&told, *n));
        }
        // What was sent and not answered is an outcome that its agent can ask after under its key.
        let heard: BTreeSet<u64> = hits.keys().copied().collect();
        for n in heard.difference(&passed) {
            let last = of(&told, *n).pop().unwrap();
            assert!(last.keyed, "call {n} was made, and refused: {last:?}");
        }
        eventually("the trail to have the outcome of every call", || {
            let trail = trail(cluster);
            let events = |n: u64, kind: &str| trail.get(&(n, kind.to_owned())).copied().unwrap_or(0);
            for n in hits.keys() {
                assert!(
                    events(*n, "intent") >= 1,
                    "call {n} was made without an intent: {:?}",
                    of(&told, *n)
                );
            }
            hits.keys().all(|n| events(*n, "outcome") >= 1).then_some(())
        });
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
    }
}

/// One call.
fn call(door: SocketAddr, gateway: usize, key: &str, n: u64, keyed: bool) -> Told {
    let mut request = Request::new("GET", &format!("/http/api/v1/calls/{n}")).key(key);
    if keyed {
        request = request.header("Idempotency-Key", &format!("call-{n}"));
    }
    let reply = attempt(door, &request).unwrap_or_else(|error| panic!("gateway {gateway} is gone: {error}"));
    Told { n, gateway, status: reply.status, code: code(&reply), keyed }
}

/// The code of a refusal; empty for an answer of the upstream.
pub fn code(reply: &Reply) -> String {
    if reply.status == 200 {
        return String::new();
    }
    let json = reply.json();
    json["type"].as_str().unwrap_or_default().trim_start_matches("urn:toolgate:").to_owned()
}

fn of(told: &[Told], n: u64) -> Vec<Told> {
    told.iter().filter(|one| one.n == n).cloned().collect()
}

/// How many events of each kind the trail has of each numbered call.
fn trail(cluster: &Cluster) -> BTreeMap<(u64, String), usize> {
    let mut trail = BTreeMap::new();
    for row in
        cluster.postgres.ask("SELECT action, kind FROM toolgate.audit WHERE action LIKE 'GET /v1/calls/%'")
    {
        let (action, kind): (String, String) = (row.get(0), row.get(1));
        let n = action.rsplit('/').next().unwrap().parse().unwrap();
        *trail.entry((n, kind)).or_insert(0) += 1;
    }
    trail
}
