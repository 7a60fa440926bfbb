//! What tools say about themselves is kept while their service is there, and tells the trail nothing.

use std::collections::HashMap;

use domain::{
    names::ServiceName,
    risk::{KeptHints, ToolHint},
};
use store::Change;

use crate::{
    changes::{put, service},
    world::World,
};

fn hints(upstream: u8, tools: &[(&str, ToolHint)]) -> KeptHints {
    let tools: HashMap<_, _> = tools.iter().map(|(tool, hint)| ((*tool).to_owned(), *hint)).collect();
    KeptHints { upstream: [upstream; 32], tools }
}

#[tokio::test]
async fn hints_are_kept_until_others_take_their_place() {
    let world = World::new().await;
    let far = ServiceName::parse("far").unwrap();
    let first = hints(1, &[("a", ToolHint::ReadOnly), ("b \u{202e}\"", ToolHint::Destructive)]);
    // Nobody keeps what a service that is not there has said.
    world.store.keep_tool_hints(&far, &first).await.unwrap();
    assert!(world.store.tool_hints().await.unwrap().is_empty());

    assert!(world.change(put(service("https://a.example/"), None)).await);
    let before = (world.count().await, world.store.revision().await.unwrap());
    world.store.keep_tool_hints(&far, &first).await.unwrap();
    let second = world.second().await;
    assert_eq!(second.tool_hints().await.unwrap().get(&far), Some(&first));
    let other = hints(2, &[("b", ToolHint::Plain)]);
    second.keep_tool_hints(&far, &other).await.unwrap();
    assert_eq!(world.store.tool_hints().await.unwrap().get(&far), Some(&other));
    assert_eq!((world.count().await, world.store.revision().await.unwrap()), before, "no event, no revision");
}

#[tokio::test]
async fn hints_go_with_their_service() {
    let world = World::new().await;
    let far = ServiceName::parse("far").unwrap();
    assert!(world.change(put(service("https://a.example/"), None)).await);
    world.store.keep_tool_hints(&far, &hints(1, &[("a", ToolHint::Plain)])).await.unwrap();
    assert!(world.change(Change::RemoveService(far)).await);
    assert!(world.store.tool_hints().await.unwrap().is_empty());
}
