//! Sinks of notifications follow the trail: nothing is skipped, nothing of before they were there is told.

use domain::audit::{Event, Kind};
use store::{Entry, News, Store};

use crate::world::{World, all_done, moment};

async fn tell(store: &Store, kind: Kind, action: &str) {
    let mut event = Event::new(moment(0), kind);
    event.action = Some(action.into());
    all_done(&store.append(&[Entry::from(event)]).await.unwrap());
}

fn sinks(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test]
async fn a_new_sink_starts_now_and_a_known_one_where_it_was() {
    let world = World::new().await;
    world.fill(2).await;
    assert_eq!(world.store.notify_cursors(&sinks(&["a"])).await.unwrap(), [4]);
    world.fill(1).await;
    assert_eq!(world.second().await.notify_cursors(&sinks(&["b", "a"])).await.unwrap(), [6, 4]);
    world.store.advance_notify_cursor("a", 5).await.unwrap();
    world.store.advance_notify_cursor("a", 3).await.unwrap();
    assert_eq!(world.store.notify_cursors(&sinks(&["a"])).await.unwrap(), [5], "a cursor never goes back");
    assert_eq!(world.store.notify_cursors(&sinks(&["b"])).await.unwrap(), [6], "`b` was forgotten");
}

#[tokio::test]
async fn held_calls_decisions_and_the_kill_switch_are_told_and_nothing_else() {
    let world = World::new().await;
    assert_eq!(world.store.news_after(0).await.unwrap(), News { newest: 0, to_tell: false });
    world.fill(2).await;
    tell(&world.store, Kind::Operator, "agents.disable").await;
    tell(&world.store, Kind::System, "kill.on").await;
    assert_eq!(world.store.news_after(0).await.unwrap(), News { newest: 6, to_tell: false });
    for (kind, action) in [
        (Kind::Held, "write"),
        (Kind::Decision, "write"),
        (Kind::Operator, "kill.on"),
        (Kind::Operator, "kill.off"),
        (Kind::Operator, "keys.revoke"),
    ] {
        tell(&world.store, kind, action).await;
    }
    assert_eq!(world.store.news_after(4).await.unwrap(), News { newest: 11, to_tell: true });
    assert_eq!(world.store.news_after(10).await.unwrap(), News { newest: 11, to_tell: false });
    let seqs = |events: Vec<store::EventRow>| events.iter().map(|event| event.seq).collect::<Vec<_>>();
    assert_eq!(seqs(world.store.events_to_tell(0, 100).await.unwrap()), [7, 8, 9, 10]);
    assert_eq!(seqs(world.store.events_to_tell(7, 2).await.unwrap()), [8, 9]);
}
