//! What is known of tools is kept when nobody was quicker, accepted as it was shown, and goes with its service.

use std::sync::Arc;

use domain::{
    names::ServiceName,
    risk::ToolHint,
    tools::{Definition, Pinned, ToolHash},
};
use store::{Change, PutTool, PutTools};

use crate::{
    changes::{put, service},
    world::{World, moment},
};

fn far() -> ServiceName {
    ServiceName::parse("far").unwrap()
}

fn tool(title: &str, pinned: bool) -> PutTool {
    let text = format!("{{\"name\":\"a \\\"\u{202e}\",\"title\":\"{title}\"}}");
    let definition = Definition::of_kept(&text).unwrap();
    PutTool {
        name: "a \"\u{202e}".to_owned(),
        hash: definition.hash,
        hint: ToolHint::ReadOnly,
        definition: Some(Arc::from(text)),
        pinned,
    }
}

fn tools(replaces: Option<i64>, put: &PutTool) -> Change {
    Change::PutTools(Box::new(PutTools {
        service: far(),
        place: [1; 32],
        replaces,
        listed: true,
        put: vec![put.clone()],
        gone: Vec::new(),
        at: moment(3),
    }))
}

fn accept(hash: ToolHash) -> Change {
    Change::AcceptTool {
        service: far(),
        tool: "a \"\u{202e}".to_owned(),
        hash,
        by: "ada@example.com".into(),
        at: moment(9),
    }
}

#[tokio::test]
async fn tools_are_kept_where_nobody_was_quicker() {
    let world = World::new().await;
    let first = tool("one", true);
    assert!(!world.change(tools(None, &first)).await, "there is no such service");
    assert!(world.change(put(service("https://a.example/"), None)).await);
    let before = world.store.revision().await.unwrap();
    assert!(world.change(tools(None, &first)).await);
    assert!(world.store.revision().await.unwrap() > before, "every node is told");
    assert!(!world.change(tools(None, &first)).await, "somebody was quicker");
    let kept = world.store.tools(&far()).await.unwrap().unwrap();
    assert_eq!((kept.place, kept.listed, kept.tools.len()), ([1; 32], true, 1));
    let known = &kept.tools["a \"\u{202e}"];
    assert_eq!((known.hash, known.hint), (first.hash, ToolHint::ReadOnly));
    assert_eq!(known.pinned, Some(Pinned { hash: first.hash, by_operator: false }));
    assert_eq!(world.store.snapshot().await.unwrap().tool_revisions, [(far(), kept.revision)]);

    let second = tool("two", false);
    assert!(!world.change(tools(Some(kept.revision + 1), &second)).await);
    assert!(world.change(tools(Some(kept.revision), &second)).await);
    let other = world.second().await;
    let (now, stored) = other.stored_tools(&far()).await.unwrap().unwrap();
    assert_eq!(now.tools["a \"\u{202e}"].hash, second.hash);
    assert_eq!(now.tools["a \"\u{202e}"].pinned, known.pinned, "what was pinned stays pinned");
    assert_eq!(stored[0].definition.as_deref(), second.definition.as_deref());
    assert_eq!(stored[0].accepted_definition.as_deref(), first.definition.as_deref());
    assert_eq!((stored[0].accepted_at, &stored[0].accepted_by), (Some(moment(3)), &None));
}

#[tokio::test]
async fn what_was_shown_is_what_is_accepted() {
    let world = World::new().await;
    assert!(world.change(put(service("https://a.example/"), None)).await);
    let (first, second) = (tool("one", false), tool("two", false));
    assert!(world.change(tools(None, &first)).await);
    let before = world.store.tools(&far()).await.unwrap().unwrap();
    assert!(!world.change(accept(second.hash)).await, "another definition was shown");
    assert!(world.change(accept(first.hash)).await);
    assert!(!world.change(accept(first.hash)).await, "it is accepted already");
    let (after, stored) = world.store.stored_tools(&far()).await.unwrap().unwrap();
    assert!(after.revision > before.revision);
    assert_eq!(after.tools["a \"\u{202e}"].pinned, Some(Pinned { hash: first.hash, by_operator: true }));
    assert_eq!(stored[0].accepted_by.as_deref(), Some("ada@example.com"));
    // Nobody accepts what they could not read.
    let unread = PutTool { definition: None, ..second.clone() };
    assert!(world.change(tools(Some(after.revision), &unread)).await);
    assert!(!world.change(accept(second.hash)).await);
}

#[tokio::test]
async fn tools_go_with_their_service() {
    let world = World::new().await;
    assert!(world.change(put(service("https://a.example/"), None)).await);
    assert!(world.change(tools(None, &tool("one", true))).await);
    assert!(world.change(Change::RemoveService { name: far(), seen: None }).await);
    assert!(world.store.tools(&far()).await.unwrap().is_none());
    assert!(world.store.snapshot().await.unwrap().tool_revisions.is_empty());
}
