//! Several gateways on one store: each has its number, nobody touches what a living one is doing, and what a dead one left is
//! found. On a file there is one.

use std::time::Duration;

use domain::{
    approval::Status,
    audit::{Event, Kind},
};
use store::{Store, StoreError, Sync};

use crate::{
    approvals::{bring_to, claim, held, hold, status, world},
    idempotency,
    world::{Raw, World, all_done, call, moment, options},
};

/// Looks at what takes a moment to come, for a minute at most.
async fn eventually(what: &str, mut is: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("waited for {what}");
}

async fn applies(store: &Store, change: store::Change) -> bool {
    let entry = store::Entry { change: Some(change), event: Event::new(moment(0), Kind::Intent) };
    matches!(store.append(&[entry]).await.unwrap()[..], [store::Applied::Done])
}

/// Two gateways on one store, and two approved calls.
async fn two_gateways() -> (World, Store, Store) {
    let world = world().await;
    let (first, second) = (world.second().await, world.second().await);
    first.serve().await.unwrap();
    second.serve().await.unwrap();
    for number in [1, 2] {
        assert!(world.change(hold(held(number, "laptop", 1))).await);
        bring_to(&world, number, Status::Approved).await;
    }
    (world, first, second)
}

#[tokio::test]
async fn a_file_is_served_by_one_gateway() {
    let world = World::on_file().await;
    world.store.serve().await.unwrap();
    let second = world.second().await;
    let fault = second.serve().await.unwrap_err();
    assert!(matches!(fault, StoreError::Served { .. }), "{fault}");
    world.store.close().await;
    second.serve().await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_starts_finds_what_the_one_before_it_was_doing() {
    let world = world().await;
    let first = world.second().await;
    first.serve().await.unwrap();
    assert!(world.change(hold(held(1, "laptop", 1))).await);
    bring_to(&world, 1, Status::Approved).await;
    assert!(applies(&first, claim(1, 20)).await);
    assert!(applies(&first, idempotency::claim("laptop", "k", 1)).await);
    assert!(first.lost_executions(9).await.unwrap().is_empty(), "it lives");
    assert_eq!(first.lose_claims().await.unwrap(), 0, "it lives");
    first.close().await;
    let second = world.second().await;
    second.serve().await.unwrap();
    eventually("the server to have noticed its end", async || {
        second.disown_the_dead().await.unwrap();
        second.lost_executions(9).await.unwrap().len() == 1
    })
    .await;
    assert_eq!(second.lose_claims().await.unwrap(), 1);
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn the_work_of_a_living_gateway_is_left_alone_and_that_of_a_dead_one_is_found() {
    let (world, first, second) = two_gateways().await;
    assert!(applies(&first, claim(1, 20)).await);
    assert!(applies(&second, claim(2, 20)).await);
    assert!(applies(&second, idempotency::claim("laptop", "k", 2)).await);
    assert!(!first.disown_the_dead().await.unwrap(), "both live");
    // A third one starts beside them.
    let third = world.second().await;
    third.serve().await.unwrap();
    assert!(third.lost_executions(9).await.unwrap().is_empty());
    second.close().await;
    eventually("its number to be free", async || first.disown_the_dead().await.unwrap()).await;
    let lost = first.lost_executions(9).await.unwrap();
    assert_eq!(lost.iter().map(|one| one.held.id).collect::<Vec<_>>(), [crate::approvals::id(2)]);
    assert_eq!(first.lose_claims().await.unwrap(), 1);
    assert_eq!(status(&world.store, 1).await, Status::Executing);
}

/// Each database has locks of its own; `pg_locks` has those of all.
const HERE: &str = "database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Breaks the connections of a store whose gateway has this number, as the network or a restart does.
async fn cut_off(world: &World, number: i64) {
    let cut = format!(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory' AND objid = {number} \
         AND classid = {} AND granted AND {HERE}",
        0x6761_7465
    );
    assert_eq!(world.execute(&cut).await, 1, "its connection");
}

/// Under which numbers calls are executed.
async fn nodes(world: &World) -> Vec<i64> {
    let Raw::Postgres(mut raw) = world.raw().await else { panic!("no server") };
    let select = "SELECT node FROM approvals WHERE status = 'executing' ORDER BY id";
    sqlx::query_scalar(select).fetch_all(&mut raw).await.unwrap()
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn a_gateway_that_was_cut_off_takes_its_number_back_and_keeps_its_work() {
    let (world, first, second) = two_gateways().await;
    assert!(applies(&first, claim(1, 20)).await);
    let before = nodes(&world).await;
    cut_off(&world, before[0]).await;
    // Others see that its lock is free, and wait a little.
    assert!(!second.disown_the_dead().await.unwrap());
    eventually("it to write again", async || {
        let entry = store::Entry { change: Some(claim(2, 20)), event: Event::new(moment(0), Kind::Intent) };
        matches!(first.append(&[entry]).await.as_deref(), Ok([store::Applied::Done]))
    })
    .await;
    assert_eq!(nodes(&world).await, [before[0]; 2]);
    for _ in 0..9 {
        assert!(!second.disown_the_dead().await.unwrap(), "it lives");
    }
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn a_gateway_whose_number_is_held_up_claims_under_a_new_one_that_nobody_had() {
    let world = world().await;
    let (first, second) = (world.second().await, world.second().await);
    first.serve().await.unwrap();
    for number in [1, 2] {
        assert!(world.change(hold(held(number, "laptop", 1))).await);
        bring_to(&world, number, Status::Approved).await;
    }
    assert!(applies(&first, claim(1, 20)).await);
    let before = nodes(&world).await[0];
    // Somebody waits for the lock, and has it as soon as the connection is cut.
    let mut holder = world.raw().await;
    let wait = format!("SELECT pg_advisory_lock({}, {before})", 0x6761_7465);
    let holding = tokio::spawn(async move { holder.execute(&wait).await.map(|_| holder) });
    eventually("somebody to wait", async || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        world.number(waiting).await == 1
    })
    .await;
    cut_off(&world, before).await;
    let holder = holding.await.unwrap().unwrap();
    let claiming = store::Entry { change: Some(claim(2, 20)), event: Event::new(moment(0), Kind::Intent) };
    eventually("it to write again", async || {
        matches!(first.append(std::slice::from_ref(&claiming)).await.as_deref(), Ok([store::Applied::Done]))
    })
    .await;
    let after = nodes(&world).await;
    assert!(after[0] == before && after[1] > before, "{after:?}");
    // What it was doing under the old number is given up when nobody has that any more; what it does now is its own.
    drop(holder);
    second.serve().await.unwrap();
    eventually("the old number to be given up", async || {
        second.disown_the_dead().await.unwrap();
        nodes(&world).await[0] == 0
    })
    .await;
    assert_eq!(nodes(&world).await, [0, after[1]]);
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn a_gateway_looks_for_overdue_work_of_its_own_and_of_nobody() {
    let world = world().await;
    let (first, second) = (world.second().await, world.second().await);
    first.serve().await.unwrap();
    second.serve().await.unwrap();
    for (number, gateway) in [(1, &first), (2, &second)] {
        assert!(world.change(hold(held(number, "laptop", 1))).await);
        bring_to(&world, number, Status::Approved).await;
        assert!(applies(gateway, claim(number, 20)).await);
    }
    let overdue = async |gateway: &Store| {
        let found = gateway.executing_approvals(moment(9_000), 9).await.unwrap();
        found.into_iter().map(|one| one.held.id).collect::<Vec<_>>()
    };
    assert_eq!(overdue(&first).await, [crate::approvals::id(1)], "whatever its clock says");
    assert_eq!(overdue(&second).await, [crate::approvals::id(2)]);
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn one_gateway_of_all_notifies_and_another_one_goes_on_when_it_dies() {
    let world = World::new().await;
    assert!(world.store.is_notifier().await.unwrap());
    assert!(world.store.is_notifier().await.unwrap(), "it stays so");
    let second = world.second().await;
    assert!(!second.is_notifier().await.unwrap());
    world.store.close().await;
    eventually("the turn", async || second.is_notifier().await.unwrap()).await;
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn a_change_is_pushed_to_who_listens() {
    let world = World::new().await;
    let second = world.second().await;
    let mut changes = second.changes();
    // The first time it begins to listen.
    changes.next().await;
    assert!(world.change(store::Change::CreateAgent(crate::world::agent("laptop"))).await);
    tokio::time::timeout(Duration::from_secs(60), changes.next()).await.expect("news");
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn a_server_that_hung_up_is_found_again_and_nothing_is_lost_or_written_twice() {
    let world = World::new().await;
    world.store.serve().await.unwrap();
    let mut changes = world.store.changes();
    changes.next().await;
    for round in 1..=5 {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        world.execute(cut).await;
        let entry: store::Entry = call(round)[0].clone().into();
        eventually("the trail", async || world.store.append(std::slice::from_ref(&entry)).await.is_ok())
            .await;
        eventually("the readers", async || world.store.revision().await.is_ok()).await;
    }
    assert_eq!(world.count().await, 5);
    tokio::time::timeout(Duration::from_secs(60), changes.next()).await.expect("it listens again");
}

#[tokio::test]
async fn who_gives_up_half_way_holds_nobody_up() {
    let world = World::new().await;
    let second = world.second().await;
    let agent = |number: u32| store::Change::CreateAgent(crate::world::agent(&format!("agent{number}")));
    for number in 1..=10 {
        let entries = [store::Entry { change: Some(agent(number)), event: call(1)[0].clone() }];
        // Polled a few times, then dropped: a transaction may be open.
        let appending = world.store.append(&entries);
        let _ = tokio::time::timeout(Duration::from_micros(u64::from(number) * 300), appending).await;
        all_done(&second.append(&[call(2)[0].clone().into()]).await.unwrap());
    }
    assert!(world.count().await >= 10);
}

#[tokio::test]
async fn a_text_with_a_nul_is_kept_and_verifies() {
    let world = World::new().await;
    let mut event = call(1)[0].clone();
    event.action = Some("a\0b".into());
    all_done(&world.store.append(&[event.into()]).await.unwrap());
    let [row] = &world.store.events(&store::Query::default()).await.unwrap()[..] else { panic!("one") };
    assert!(row.rec.contains("a\\u0000b"), "{}", row.rec);
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn a_server_that_does_not_flush_is_refused_unless_it_is_said() {
    let world = World::new().await;
    let Raw::Postgres(mut raw) = world.raw().await else { panic!("no server") };
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut raw).await.unwrap();
    let opened = Store::open(&options(world.place.clone(), Sync::Flush)).await;
    match fsync.as_str() {
        "off" => assert!(matches!(opened, Err(StoreError::NotDurable { setting: "fsync", .. }))),
        _ => assert!(opened.is_ok()),
    }
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn a_turn_is_one_gateways_until_it_ends() {
    let world = world().await;
    let (first, second) = (world.second().await, world.second().await);
    let turn = first.turn("oauth files token").await.unwrap();
    // What has another name waits for nobody.
    drop(second.turn("oauth files other").await.unwrap());
    let mut waiting = tokio::spawn(async move { second.turn("oauth files token").await.map(drop) });
    let early = tokio::time::timeout(std::time::Duration::from_millis(500), &mut waiting).await;
    assert!(early.is_err(), "two had the turn at once");
    drop(turn);
    waiting.await.unwrap().unwrap();
}
