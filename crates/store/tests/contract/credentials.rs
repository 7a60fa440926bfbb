//! Values of credentials: set from what was seen, dropped with what they belong to, never under a version twice.

use std::collections::BTreeSet;

use domain::{
    audit::{Event, Kind},
    credential::{CredentialKind, CredentialSlot},
    names::{CredentialName, ServiceName},
    service::Service,
};
use store::{Applied, Change, Entry, StoredCredential};

use crate::{
    changes::{put, service},
    world::{World, moment},
};

const ORIGIN: &str = "https://a.example:443";

fn name(text: &str) -> CredentialName {
    CredentialName::parse(text).unwrap()
}

fn far() -> ServiceName {
    ServiceName::parse("far").unwrap()
}

fn declared(url: &str, names: &[&str]) -> Service {
    let slot = |text: &&str| CredentialSlot { name: name(text), kind: CredentialKind::Bearer };
    Service { credentials: names.iter().map(slot).collect(), ..service(url) }
}

fn set(text: &str, version: u64, replaces: Option<u64>) -> Change {
    let sealed = vec![1, 0, 0, 0, 1, u8::try_from(version).unwrap()];
    let at = moment(u32::try_from(version).unwrap());
    Change::PutCredential {
        service: far(),
        origin: ORIGIN.into(),
        name: name(text),
        kind: CredentialKind::Bearer,
        version,
        replaces,
        sealed,
        at,
    }
}

async fn listed(world: &World) -> Vec<(String, u64, bool)> {
    let stored = world.store.credentials(&far()).await.unwrap();
    stored.into_iter().map(|it| (it.name.to_string(), it.version, it.has_value)).collect()
}

/// Names and versions that a running gateway sees.
async fn seen(world: &World) -> Vec<(String, u64)> {
    let all = world.store.snapshot().await.unwrap().credentials;
    all.get(&far()).into_iter().flatten().map(|it| (it.name.to_string(), it.version)).collect()
}

async fn world(names: &[&str]) -> World {
    let world = World::new().await;
    assert!(world.change(put(declared("https://a.example/", names), None)).await);
    world
}

async fn replace(world: &World, service: Service, keeps: &[&str]) -> bool {
    let replaces = Some(world.store.load_services().await.unwrap()[0].revision);
    let keeps: BTreeSet<CredentialName> = keeps.iter().map(|text| name(text)).collect();
    world.change(Change::PutService { service, replaces, documentation: None, keeps }).await
}

#[tokio::test]
async fn a_value_is_set_from_what_was_seen_and_moves_the_world() {
    let world = world(&["token"]).await;
    let before = world.store.revision().await.unwrap();
    assert!(!world.change(set("token", 2, Some(1))).await, "there is none to replace");
    assert!(world.change(set("token", 1, None)).await);
    assert!(!world.change(set("token", 2, None)).await, "there is one already");
    assert!(!world.change(set("token", 3, Some(2))).await, "another one is stored");
    assert!(!world.change(set("token", 1, Some(1))).await, "the version is taken");
    assert!(world.change(set("token", 2, Some(1))).await);
    assert_eq!(world.store.revision().await.unwrap().0, before.0 + 2);
    let stored = StoredCredential { name: name("token"), version: 2, set_at: moment(2), has_value: true };
    assert_eq!(world.store.credentials(&far()).await.unwrap(), [stored]);
    let snapshot = world.store.snapshot().await.unwrap();
    assert_eq!(&*snapshot.credentials[&far()][0].sealed, [1, 0, 0, 0, 1, 2]);
    assert_eq!(world.count().await, 3, "what was not done is not told");
}

#[tokio::test]
async fn a_value_needs_its_service_its_slot_and_its_origin() {
    let world = world(&["token"]).await;
    assert!(!world.change(set("other", 1, None)).await, "nothing declares it");
    let mut elsewhere = set("token", 1, None);
    if let Change::PutCredential { origin, .. } = &mut elsewhere {
        "https://b.example:443".clone_into(origin);
    }
    assert!(!world.change(elsewhere).await, "it was sealed for another place");
    let mut otherwise = set("token", 1, None);
    if let Change::PutCredential { kind, .. } = &mut otherwise {
        *kind = CredentialKind::Basic { username: None };
    }
    assert!(!world.change(otherwise).await, "it was meant for another kind");
    assert!(world.change(Change::RemoveService { name: far(), seen: None }).await);
    assert!(!world.change(set("token", 1, None)).await, "the service is gone");
}

#[tokio::test]
async fn a_damaged_row_sinks_no_entry_but_its_own() {
    let world = world(&["token"]).await;
    world.execute("UPDATE services SET definition = '{}'").await;
    let event = || Event::new(moment(2), Kind::System);
    let refresh = || Entry { change: Some(set("token", 1, None)), event: event() };
    let alone = world.store.append(&[refresh()]).await.unwrap();
    assert!(matches!(alone[..], [Applied::Failed(_)]), "the store itself goes on: {alone:?}");
    let applied = world.store.append(&[refresh(), event().into()]).await.unwrap();
    assert!(matches!(applied[..], [Applied::Failed(_), Applied::Done]), "{applied:?}");
    assert_eq!(world.count().await, 2);
}

#[tokio::test]
async fn a_removed_value_keeps_its_version_taken() {
    let world = world(&["token"]).await;
    let remove = |version| Change::RemoveCredential { service: far(), name: name("token"), version };
    assert!(!world.change(remove(1)).await, "there is none");
    assert!(world.change(set("token", 1, None)).await);
    assert!(!world.change(remove(2)).await, "the event would name another value");
    assert!(world.change(remove(1)).await);
    assert!(!world.change(remove(1)).await);
    assert_eq!((listed(&world).await, seen(&world).await), (vec![("token".into(), 1, false)], vec![]));
    assert!(!world.change(set("token", 1, None)).await, "version 1 was given before");
    assert!(!world.change(set("token", 2, Some(1))).await, "there is no value to replace");
    assert!(world.change(set("token", 2, None)).await);
    assert_eq!(seen(&world).await, [("token".to_owned(), 2)]);
}

#[tokio::test]
async fn a_changed_service_drops_what_it_does_not_keep() {
    let world = world(&["a", "b"]).await;
    assert!(world.change(set("a", 1, None)).await);
    assert!(world.change(set("b", 1, None)).await);
    assert!(replace(&world, declared("https://a.example/x", &["a", "b"]), &["a", "b"]).await);
    assert_eq!(seen(&world).await, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert!(replace(&world, declared("https://a.example/x", &["b"]), &["b"]).await);
    assert_eq!(seen(&world).await, [("b".to_owned(), 1)]);
    assert!(replace(&world, declared("https://b.example/", &["b"]), &[]).await);
    assert_eq!(seen(&world).await, []);
    let stale = put(declared("https://c.example/", &["b"]), Some(-1));
    assert!(!world.change(stale).await);
}

#[tokio::test]
async fn a_change_that_does_not_happen_drops_nothing() {
    let world = world(&["a"]).await;
    assert!(world.change(set("a", 1, None)).await);
    assert!(!world.change(put(declared("https://b.example/", &["a"]), Some(-1))).await);
    assert!(!world.change(put(declared("https://b.example/", &["a"]), None)).await);
    assert_eq!(seen(&world).await, [("a".to_owned(), 1)]);
}

#[tokio::test]
async fn a_removed_service_takes_values_and_documentation_along() {
    let world = world(&["token"]).await;
    assert!(world.change(set("token", 1, None)).await);
    let replaces = Some(world.store.load_services().await.unwrap()[0].revision);
    let service = declared("https://a.example/", &["token"]);
    let keeps = BTreeSet::from([name("token")]);
    let documentation = Some("# How to\n".to_owned());
    assert!(world.change(Change::PutService { service, replaces, documentation, keeps }).await);
    assert_eq!(world.store.documentation(&far()).await.unwrap().as_deref(), Some("# How to\n"));
    assert!(replace(&world, declared("https://a.example/", &["token"]), &["token"]).await);
    assert_eq!(world.store.documentation(&far()).await.unwrap(), None, "a service without it has none");

    assert!(world.change(Change::RemoveService { name: far(), seen: None }).await);
    assert!(world.change(put(declared("https://a.example/", &["token"]), None)).await);
    assert_eq!((seen(&world).await, listed(&world).await), (vec![], vec![("token".to_owned(), 1, false)]));
    assert!(world.change(set("token", 2, None)).await, "the name goes on where it stopped");
}

#[tokio::test]
async fn rotation_finds_every_value_with_what_it_is_sealed_for() {
    let world = world(&["a", "b"]).await;
    assert!(world.change(set("a", 1, None)).await);
    assert!(world.change(set("b", 7, None)).await);
    assert!(world.change(Change::RemoveCredential { service: far(), name: name("a"), version: 1 }).await);
    let table = world.store.sealed_tables().iter().find(|table| table.name == "credentials").unwrap();
    let page = world.store.sealed_page(table, None, Some(2), 10).await.unwrap();
    let found: Vec<_> = page
        .iter()
        .map(|row| (&*row.purpose, &*row.service, &*row.origin, &*row.name, row.version))
        .collect();
    assert_eq!(found, [("credential", "far", ORIGIN, "b", 7)]);
}
