//! What limits counted at a server keep, held against a real Redis that each test starts for itself. Without
//! `TOOLGATE_PEERS`, where `cargo xtask peers` has put one, they say so and prove nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests may fail loudly, and look at the clock of the server they hold to it"
)]

#[path = "shared/server.rs"]
mod server;

use std::{sync::Arc, time::Duration};

use counters::{Counters, Lost, Memory, OnLoss, Shared, SharedOptions, Taken};
use domain::{
    key::KeyId,
    quota::{Bucket, Charge, Charges, Owner, Quota},
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

/// A gateway's counters, with the task that looks after the connection.
async fn node(server: &Server, on_loss: OnLoss) -> (Counters, Arc<Shared>) {
    // A server that is there is waited for, however slow the machine is.
    patient(server, on_loss, Duration::from_secs(60)).await
}

async fn patient(server: &Server, on_loss: OnLoss, answer_within: Duration) -> (Counters, Arc<Shared>) {
    let options =
        SharedOptions { url: server.url(), install: [7; 16], on_loss, capacity: 1_000, answer_within };
    let shared = Shared::new(&options).unwrap();
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
    let (counters, shared) = patient(&server, OnLoss::Deny, Duration::from_millis(300)).await;
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
