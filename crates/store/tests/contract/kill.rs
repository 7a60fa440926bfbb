//! The kill switch is one row, and what cannot be read is never "off".

use domain::kill::{Kill, KillReason};
use store::{Change, StoreError};

use crate::world::{World, moment};

fn kill(seconds: u32, reason: &str) -> Kill {
    Kill {
        since: moment(seconds),
        reason: KillReason::parse(reason).unwrap(),
        by: "ada@example.com".to_owned(),
    }
}

#[tokio::test]
async fn it_is_turned_on_once_and_off_once() {
    let world = World::new().await;
    assert_eq!(world.store.kill().await.unwrap(), None);
    let (first, second) = (kill(1, "laptop stolen"), kill(2, "again"));
    assert!(!world.change(Change::TurnKillOff(first.clone())).await, "it is off");

    let before = world.store.revision().await.unwrap();
    assert!(world.change(Change::TurnKillOn(first.clone())).await);
    assert!(world.store.revision().await.unwrap() > before, "running gateways read it");
    assert!(!world.change(Change::TurnKillOn(second.clone())).await, "it is on");
    let snapshot = world.store.snapshot().await.unwrap();
    assert_eq!(
        (snapshot.kill, world.second().await.kill().await.unwrap()),
        (Some(first.clone()), Some(first.clone()))
    );

    assert!(!world.change(Change::TurnKillOff(second)).await, "it is another one");
    let before = world.store.revision().await.unwrap();
    assert!(world.change(Change::TurnKillOff(first)).await);
    assert!(world.store.revision().await.unwrap() > before);
    assert_eq!(world.store.snapshot().await.unwrap().kill, None);
    assert_eq!(world.count().await, 2, "what changes nothing is no event");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_no_switch_that_is_off() {
    let world = World::new().await;
    world.change(Change::TurnKillOn(kill(1, "x"))).await;
    assert_eq!(world.execute("UPDATE kill_switch SET reason = ''").await, 1);
    assert!(matches!(world.store.kill().await, Err(StoreError::Damaged { .. })));
    assert!(matches!(world.store.snapshot().await, Err(StoreError::Damaged { .. })));
}
