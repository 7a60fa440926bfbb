//! The oldest events are dropped with a word about it, and nothing else is.

use domain::audit::{Event, Kind};
use store::{Applied, Change, Entry, Oldest};

use crate::world::{World, moment};

/// Drops them as `admin` does, with the event that tells of it.
async fn drop_them(world: &World, oldest: Oldest) -> bool {
    let mut event = Event::new(moment(100), Kind::System);
    event.action = Some(store::RETAIN.into());
    event.args = Some(format!(r#"{{"through":{}}}"#, oldest.through).into());
    event.digest = Some(oldest.hash);
    let entry = Entry { change: Some(Change::DropOldest(oldest)), event };
    matches!(world.store.append(&[entry]).await.unwrap()[0], Applied::Done)
}

/// What a check of the trail says: whether it holds, its events, those that were dropped, where it breaks.
async fn found(world: &World) -> (bool, u64, u64, Option<i64>) {
    let found = world.store.verify(|_, _| {}).await.unwrap();
    (found.ok, found.events, found.dropped, found.first_broken.map(|broken| broken.seq))
}

#[tokio::test]
async fn old_events_go_and_the_trail_still_verifies() {
    let world = World::new().await;
    // Two events a call, at the call's second.
    world.fill(10).await;
    assert_eq!(world.store.oldest_before(moment(1), 99).await.unwrap(), None);
    let oldest = world.store.oldest_before(moment(5), 99).await.unwrap().unwrap();
    assert_eq!(oldest.through, 8);
    assert_eq!(world.store.oldest_before(moment(5), 3).await.unwrap().unwrap().through, 3);
    assert!(drop_them(&world, oldest).await);
    assert_eq!(found(&world).await, (true, 13, 8, None));
    assert!(!drop_them(&world, oldest).await, "they are gone");
    assert_eq!(found(&world).await, (true, 13, 8, None));
    // Again, and the trail goes on; another process sees the same.
    let oldest = world.store.oldest_before(moment(7), 99).await.unwrap().unwrap();
    assert!(drop_them(&world, oldest).await);
    world.fill(1).await;
    assert_eq!(found(&world).await, (true, 12, 12, None));
    assert_eq!(world.second().await.verify(|_, _| {}).await.unwrap().dropped, 12);
}

#[tokio::test]
async fn the_newest_event_stays() {
    let world = World::new().await;
    world.fill(2).await;
    let oldest = world.store.oldest_before(moment(1_000), 99).await.unwrap().unwrap();
    assert_eq!(oldest.through, 3);
    let hash = world.store.hash_of_event(4).await.unwrap().unwrap();
    assert!(!drop_them(&world, Oldest { through: 4, hash }).await);
    assert!(!drop_them(&world, Oldest { hash: [7; 32], ..oldest }).await, "of another trail");
    assert_eq!(found(&world).await, (true, 4, 0, None));
}

#[tokio::test]
async fn what_is_cut_off_without_a_word_is_missing() {
    let world = World::new().await;
    world.fill(10).await;
    world.execute("DELETE FROM audit WHERE seq <= 4").await;
    assert_eq!(found(&world).await, (false, 0, 0, Some(1)));
    let world = World::new().await;
    world.fill(10).await;
    let oldest = world.store.oldest_before(moment(3), 99).await.unwrap().unwrap();
    assert!(drop_them(&world, oldest).await);
    world.execute("DELETE FROM audit WHERE seq <= 6").await;
    assert_eq!(found(&world).await, (false, 0, 0, Some(5)));
    // With the word of it gone too, what is left hangs in the air.
    let world = World::new().await;
    world.fill(10).await;
    let oldest = world.store.oldest_before(moment(3), 99).await.unwrap().unwrap();
    assert!(drop_them(&world, oldest).await);
    world.execute("DELETE FROM audit WHERE kind = 'system'").await;
    assert_eq!(found(&world).await, (false, 0, 0, Some(1)));
}
