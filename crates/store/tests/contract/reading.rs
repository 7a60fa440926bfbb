//! The trail can be asked for what one looks for, in either order and page by page.

use std::ops::ControlFlow;

use store::{OfCall, Order, Query};

use crate::world::{World, call_id, moment};

async fn seqs(world: &World, query: Query) -> Vec<i64> {
    world.store.events(&query).await.unwrap().iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn every_filter_filters() {
    let world = World::new().await;
    world.fill(4).await;
    let text = |text: &str| Some(text.to_owned());
    let all: Vec<i64> = (1..=8).collect();
    assert_eq!(seqs(&world, Query::default()).await, all);
    assert_eq!(seqs(&world, Query { agent: text("laptop"), ..Query::default() }).await, all);
    assert!(seqs(&world, Query { agent: text("lap"), ..Query::default() }).await.is_empty());
    assert!(seqs(&world, Query { service: text("' OR 1=1 --"), ..Query::default() }).await.is_empty());
    assert_eq!(seqs(&world, Query { action: text("read_file"), ..Query::default() }).await, [3, 4, 7, 8]);
    assert_eq!(seqs(&world, Query { result: text("forwarded"), ..Query::default() }).await, [2, 4, 6, 8]);
    assert_eq!(seqs(&world, Query { kind: text("intent"), ..Query::default() }).await, [1, 3, 5, 7]);
    assert_eq!(
        seqs(&world, Query { since: Some(moment(2)), until: Some(moment(4)), ..Query::default() }).await,
        [3, 4, 5, 6]
    );
    assert_eq!(seqs(&world, Query { after: Some(2), before: Some(5), ..Query::default() }).await, [3, 4]);
    let newest = Query { order: Order::NewestFirst, limit: Some(3), ..Query::default() };
    assert_eq!(seqs(&world, newest).await, [8, 7, 6]);
    let both = Query { kind: text("intent"), action: text("read_file"), limit: Some(1), ..Query::default() };
    assert_eq!(seqs(&world, both).await, [3]);
}

#[tokio::test]
async fn pages_join_without_seam_in_both_orders() {
    let world = World::new().await;
    world.fill(600).await;
    let forward: Vec<i64> = (1..=1200).collect();
    assert_eq!(seqs(&world, Query::default()).await, forward);
    let backward = seqs(&world, Query { order: Order::NewestFirst, ..Query::default() }).await;
    assert!(backward.iter().eq(forward.iter().rev()));
    let mut seen = 0;
    let stop_at_three = |_| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    world.store.for_each_event(&Query::default(), stop_at_three).await.unwrap();
    assert_eq!(seen, 3);
}

#[tokio::test]
async fn a_unique_start_of_a_call_id_will_do() {
    let world = World::new().await;
    world.fill(3).await;
    let id = call_id(2).to_string();
    for start in [id.as_str(), &id[2..], &id[..12]] {
        let OfCall::One(events) = world.store.events_of_call(start).await.unwrap() else { panic!("{start}") };
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 4]);
    }
    assert_eq!(world.store.events_of_call("c_zzz").await.unwrap(), OfCall::None);
    let OfCall::Several(ids) = world.store.events_of_call("c_").await.unwrap() else { panic!("not several") };
    assert_eq!(ids, [1, 2, 3].map(|number| call_id(number).to_string()));
}

#[tokio::test]
async fn an_exported_event_ends_with_the_hash_of_the_rest() {
    let world = World::new().await;
    world.fill(1).await;
    let event = world.store.events(&Query::default()).await.unwrap().remove(0);
    let exported: serde_json::Value = serde_json::from_str(&event.json()).unwrap();
    let (last, hash) = exported.as_object().unwrap().iter().next_back().unwrap();
    let without = event.json().replace(&format!(",\"hash\":{hash}"), "");
    let digest = <sha2::Sha256 as sha2::Digest>::digest(without.as_bytes());
    let mut hex = String::new();
    domain::audit::push_hex(&mut hex, &digest);
    assert_eq!((last.as_str(), hash.as_str().unwrap()), ("hash", hex.as_str()));
}
