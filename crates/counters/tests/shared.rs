//! What limits counted at a server keep, held against a real Redis that each test starts for itself. Without
//! `TOOLGATE_PEERS`, where `cargo xtask peers` has put one, they say so and prove nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests may fail loudly, and look at the clock of the server they hold to it"
)]

#[path = "shared/authority.rs"]
mod authority;
#[path = "shared/processes.rs"]
mod processes;
#[path = "shared/server.rs"]
mod server;

use std::{sync::Arc, time::Duration};

use authority::{Authority, Valid};
use counters::{BadServer, Counters, Lost, Memory, OnLoss, Reach, Shared, SharedOptions, Taken, Trouble};
use domain::{
    clock::{Agreement, Clock, Now},
    key::KeyId,
    quota::{Bucket, Charge, Charges, Owner, Quota},
    trust::{Distrust, Privacy},
};

use server::Server;

const NOW: Duration = Duration::from_secs(7);

fn key(number: u32) -> Owner {
    Owner::Key(KeyId::parse(&format!("{number:08}")).unwrap())
}

fn charge(bucket: Bucket, quota: &str) -> Charge {
    Charge { bucket, quota: Quota::parse(quota).unwrap() }
}

fn charges(owner: Owner, list: &[Charge]) -> Charges {
    Charges { owner, list: list.iter().copied().collect() }
}

/// What a gateway knows of a server. One that is there is waited for, however slow the machine is.
fn options(server: &Server, on_loss: OnLoss) -> SharedOptions {
    SharedOptions {
        url: server.url(),
        authority: None,
        install: [7; 16],
        counted: false,
        on_loss,
        capacity: 1_000,
        answer_within: Duration::from_secs(60),
    }
}

/// A gateway's counters, with the task that looks after the connection.
async fn node(server: &Server, on_loss: OnLoss) -> (Counters, Arc<Shared>) {
    started(&options(server, on_loss)).await
}

async fn started(options: &SharedOptions) -> (Counters, Arc<Shared>) {
    let shared = Shared::new(options).unwrap();
    tokio::spawn(Arc::clone(&shared).run());
    until("the server to be reached", || shared.is_up()).await;
    (Counters::Shared { keys: Arc::clone(&shared), sources: Memory::new(100) }, shared)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain: {what}");
}

async fn admitted(counters: &Counters, charges: &Charges, tries: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..tries {
        admitted += usize::from(counters.take(NOW, charges).await == Ok(Taken::Admitted));
    }
    admitted
}

#[tokio::test]
async fn all_charges_are_counted_or_none() {
    let Some(server) = Server::start() else { return };
    let (counters, _) = node(&server, OnLoss::Deny).await;
    let both = charges(key(1), &[charge(Bucket::Key, "10/1d"), charge(Bucket::Tool(1), "2/1d")]);
    assert_eq!(admitted(&counters, &both, 2).await, 2);
    for _ in 0..20 {
        let Ok(Taken::Over { which: 1, retry_after }) = counters.take(NOW, &both).await else {
            panic!("the tool's limit refuses");
        };
        let half_a_day = Duration::from_secs(43_200);
        assert!(retry_after <= half_a_day && retry_after > half_a_day - Duration::from_secs(600));
    }
    // The key was charged twice, not twenty times.
    let only_key = charges(key(1), &[charge(Bucket::Key, "10/1d")]);
    assert_eq!(admitted(&counters, &only_key, 20).await, 8);
    // Another quota is another bucket, and so is another owner's.
    assert_eq!(admitted(&counters, &charges(key(1), &[charge(Bucket::Key, "3/1d")]), 9).await, 3);
    assert_eq!(admitted(&counters, &charges(key(2), &[charge(Bucket::Key, "10/1d")]), 20).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_together_admit_what_one_may() {
    let Some(server) = Server::start() else { return };
    let quota = "40/1s";
    let from = server.time();
    let mut nodes = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (counters, _) = node(&server, OnLoss::Deny).await;
        nodes.spawn(async move {
            let both = charges(key(1), &[charge(Bucket::Key, quota), charge(Bucket::Tool(9), "80/1s")]);
            let mut took = 0;
            for _ in 0..1_500 {
                took += u64::from(counters.take(NOW, &both).await == Ok(Taken::Admitted));
            }
            took
        });
    }
    let took: u64 = nodes.join_all().await.into_iter().sum();
    let lasted = server.time() - from;
    let bound = 40 + lasted.as_micros() as u64 * 40 / 1_000_000 + 1;
    assert!(took <= bound, "{took} were admitted in {lasted:?}, {bound} may be");
    assert!(took >= 40, "the burst is there for whoever comes first: {took}");
}

#[tokio::test]
async fn who_cannot_count_lets_nobody_pass() {
    let Some(mut server) = Server::start() else { return };
    let (counters, shared) = node(&server, OnLoss::Deny).await;
    let one = charges(key(1), &[charge(Bucket::Key, "1000/1d")]);
    assert_eq!(counters.take(NOW, &one).await, Ok(Taken::Admitted));
    server.kill();
    assert_eq!(counters.take(NOW, &one).await, Err(Lost));
    until("the loss to be seen", || !shared.is_up()).await;
    assert!(!shared.admits());
    server.restart();
    until("the server to be back", || shared.is_up()).await;
    assert_ne!(counters.take(NOW, &one).await, Err(Lost), "it counts again without a restart of the gateway");
}

#[tokio::test]
async fn a_server_that_lost_its_memory_starts_empty() {
    let Some(mut server) = Server::start() else { return };
    let (counters, shared) = node(&server, OnLoss::Deny).await;
    let one = charges(key(1), &[charge(Bucket::Key, "5/1d")]);
    assert_eq!(admitted(&counters, &one, 9).await, 5);
    server.kill();
    assert_eq!(counters.take(NOW, &one).await, Err(Lost));
    server.restart();
    until("the server to be back", || shared.is_up()).await;
    assert_eq!(admitted(&counters, &one, 3).await, 0, "nobody gets a second burst");
    let other = charges(key(2), &[charge(Bucket::Key, "1000000/1s")]);
    let mut came = 0;
    for _ in 0..3_000 {
        came = admitted(&counters, &other, 1).await;
        if came == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(came, 1, "a limit that starts empty fills as it always does");
    // A gateway that never knew the server before sees the same marker.
    let (late, _) = node(&server, OnLoss::Deny).await;
    assert_eq!(admitted(&late, &one, 3).await, 0);
}

#[tokio::test]
async fn memory_that_is_wiped_under_way_is_taken_for_spent() {
    let Some(server) = Server::start() else { return };
    let (counters, _) = node(&server, OnLoss::Deny).await;
    let one = charges(key(1), &[charge(Bucket::Key, "5/1d")]);
    assert_eq!(admitted(&counters, &one, 9).await, 5);
    server.wipe();
    assert_eq!(admitted(&counters, &one, 3).await, 0);
}

#[tokio::test]
async fn a_gateway_that_begins_beside_a_wiped_server_gives_no_second_burst() {
    let Some(server) = Server::start() else { return };
    let (counters, shared) = node(&server, OnLoss::Deny).await;
    // What the store is told, so that the next one knows.
    shared.marked().await;
    let knows = SharedOptions { counted: true, ..options(&server, OnLoss::Deny) };
    let one = charges(key(1), &[charge(Bucket::Key, "5/1d")]);
    assert_eq!(admitted(&counters, &one, 3).await, 3);
    let (second, _) = started(&knows).await;
    assert_eq!(admitted(&second, &one, 9).await, 2, "nothing was lost: it goes on with what is left");
    server.wipe();
    let (third, _) = started(&knows).await;
    let other = charges(key(2), &[charge(Bucket::Key, "5/1d")]);
    assert_eq!(admitted(&third, &one, 3).await, 0);
    assert_eq!(admitted(&third, &other, 3).await, 0, "what others had counted is lost too");
    assert_eq!(admitted(&counters, &one, 3).await, 0, "nor is it the others' first start");
}

#[tokio::test]
async fn whoever_only_looks_marks_and_counts_nothing() {
    let Some(server) = Server::start() else { return };
    let shared = Shared::new(&options(&server, OnLoss::Deny)).unwrap();
    let reach = shared.check(&Machine).await.unwrap();
    assert!(reach.server.starts_with("Redis 7.") && reach.kind() == "Redis" && !reach.tls, "{reach:?}");
    assert_eq!(reach.clock.agreement(), Agreement::Agree, "{reach:?}");
    assert_eq!(server.ask("DBSIZE").lines().next(), Some(":0"));
    assert!(!shared.is_up());
}

#[tokio::test]
async fn a_server_must_prove_who_it_is() {
    let (ours, others) = (Authority::new(), Authority::new());
    let good = ours.sign("localhost", Valid::Now);
    let Some((server, port)) = Server::start_tls(&good.certificate, &good.key) else { return };
    let ask = async |host: &str, port: u16, authority: &Authority| {
        let url = format!("rediss://{host}:{port}");
        let authority = Some(authority.certificate());
        let asked = SharedOptions { url, authority, ..options(&server, OnLoss::Deny) };
        Shared::new(&asked).unwrap().check(&Machine).await
    };
    assert!(ask("localhost", port, &ours).await.unwrap().tls);
    let distrust = |found: Result<Reach, Trouble>| match found {
        Err(Trouble::Untrusted(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(distrust(ask("localhost", port, &others).await), Distrust::UnknownAuthority);
    assert_eq!(distrust(ask("127.0.0.1", port, &ours).await), Distrust::OtherName);
    // It waits for the end of what looks like a command, or answers that it knows none such.
    let clear = ask("localhost", server.port_in_the_clear(), &ours).await.unwrap_err();
    let late = Trouble::Other("it does not answer in time, or speaks no TLS".to_owned());
    assert!(clear == late || clear == Trouble::Untrusted(Distrust::NoTls), "{clear:?}");
    let nobody =
        SharedOptions { url: format!("rediss://localhost:{port}"), ..options(&server, OnLoss::Deny) };
    let unknown = Shared::new(&nobody).unwrap().check(&Machine).await;
    assert_eq!(distrust(unknown), Distrust::UnknownAuthority, "this machine trusts no such authority");
    for (valid, why) in [(Valid::Before, Distrust::Expired), (Valid::Later, Distrust::NotYetValid)] {
        let bad = ours.sign("localhost", valid);
        let (_server, port) = Server::start_tls(&bad.certificate, &bad.key).unwrap();
        assert_eq!(distrust(ask("localhost", port, &ours).await), why);
    }
    let own = ours.as_server();
    let (_server, port) = Server::start_tls(&own.certificate, &own.key).unwrap();
    assert_eq!(distrust(ask("localhost", port, &ours).await), Distrust::Authority);
}

/// The machine's clocks.
struct Machine;

impl Clock for Machine {
    fn now(&self) -> Now {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let start = START.get_or_init(std::time::Instant::now);
        Now { wall: jiff::Timestamp::now(), monotonic: start.elapsed() }
    }
}

#[test]
fn urls_that_only_look_like_tls_are_refused() {
    let of = |url: &str, authority: Option<&str>| {
        let options = SharedOptions {
            url: url.to_owned(),
            authority: authority.map(str::to_owned),
            install: [7; 16],
            counted: false,
            on_loss: OnLoss::Deny,
            capacity: 1,
            answer_within: Duration::from_secs(1),
        };
        Shared::new(&options).map(|_| ())
    };
    assert_eq!(of("rediss://db.example", None), Ok(()));
    assert_eq!(of("rediss://db.example/#insecure", None), Err(BadServer::Insecure));
    assert_eq!(of("redis://db.example", Some("")), Err(BadServer::Unasked));
    assert_eq!(of("http://db.example", None), Err(BadServer::Url));
    let torn = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    assert_eq!(of("rediss://db.example", Some(torn)), Err(BadServer::Authority));
    for (url, seen) in [
        ("redis://db.example", Privacy::Clear),
        ("rediss://db.example", Privacy::Proven),
        ("redis://localhost:1", Privacy::Here),
        ("redis://[::1]:1", Privacy::Here),
        ("redis+unix:///run/redis.sock", Privacy::Here),
    ] {
        assert_eq!(counters::privacy(url), seen, "{url}");
    }
}

#[tokio::test]
async fn gateways_that_count_alone_stay_within_the_limit_together() {
    let Some(mut server) = Server::start() else { return };
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(node(&server, OnLoss::Share { nodes: 3 }).await);
    }
    server.kill();
    let one = charges(key(1), &[charge(Bucket::Key, "100/1d")]);
    let mut took = 0;
    for (counters, shared) in &nodes {
        took += admitted(counters, &one, 100).await;
        assert!(shared.admits());
    }
    assert_eq!(took, 99, "three times floor(100 / 3)");
    let scarce = charges(key(1), &[charge(Bucket::Key, "100/1d"), charge(Bucket::Tool(1), "2/1d")]);
    assert_eq!(nodes[0].0.take(NOW, &scarce).await, Err(Lost), "two cannot be shared by three");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let Some(server) = Server::start() else { return };
    let answer_within = Duration::from_millis(300);
    let (counters, shared) =
        started(&SharedOptions { answer_within, ..options(&server, OnLoss::Deny) }).await;
    let one = charges(key(1), &[charge(Bucket::Key, "1000/1d")]);
    server.freeze();
    assert_eq!(counters.take(NOW, &one).await, Err(Lost));
    assert!(!shared.is_up(), "nobody waits for it any more");
    server.thaw();
    for _ in 0..3_000 {
        if counters.take(NOW, &one).await == Ok(Taken::Admitted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it is never counted again");
}

#[tokio::test]
async fn sources_are_counted_here() {
    let Some(mut server) = Server::start() else { return };
    let (counters, _) = node(&server, OnLoss::Deny).await;
    server.kill();
    let source = domain::quota::failed_authentication("192.0.2.1".parse().unwrap());
    assert_eq!(admitted(&counters, &source, 40).await, 20);
}
