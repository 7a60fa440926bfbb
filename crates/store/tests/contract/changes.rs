//! A change and its event are written together, or neither is.

use std::collections::BTreeSet;

use domain::{
    agent::AgentState,
    key::KeyId,
    names::{RoleName, ServiceName},
    operator::{Email, Operator, OperatorRole},
    service::{HttpUpstream, Network, Pins, RefusalForm, Service, UnknownMethods, Upstream, UpstreamUrl},
};
use store::{Applied, Change, Entry, FoundKey};

use crate::world::{World, agent, call, key, moment, name};

#[tokio::test]
async fn what_is_written_reads_back() {
    let world = World::new().await;
    assert!(world.change(Change::CreateAgent(agent("laptop"))).await);
    assert!(world.change(Change::CreateKey(key("7kq2m9xd", "laptop", 1))).await);
    let snapshot = world.store.snapshot().await.unwrap();
    assert_eq!((snapshot.agents, snapshot.keys), (vec![agent("laptop")], vec![key("7kq2m9xd", "laptop", 1)]));
    assert_eq!(world.store.agent(&name("laptop")).await.unwrap(), Some(agent("laptop")));
    assert_eq!(world.store.agent(&name("nobody")).await.unwrap(), None);
}

#[tokio::test]
async fn a_failed_condition_writes_no_event_and_moves_no_revision() {
    let world = World::new().await;
    assert!(world.change(Change::CreateAgent(agent("laptop"))).await);
    let before = world.store.revision().await.unwrap();
    let role = RoleName::parse("admin").unwrap();
    let scope = agent("laptop").scope;
    let failing = [
        Change::CreateAgent(agent("laptop")),
        Change::UpdateAgent { name: name("nobody"), from: (role.clone(), scope.clone()), role, scope },
        Change::SetAgentState { name: name("laptop"), state: AgentState::Active, seen: None },
        Change::CreateKey(key("7kq2m9xd", "nobody", 1)),
        Change::RevokeKey { id: KeyId::parse("7kq2m9xd").unwrap(), at: moment(3) },
        put(service("https://a.example/"), Some(1)),
        Change::RemoveService { name: ServiceName::parse("far").unwrap(), seen: None },
    ];
    for change in failing {
        let shown = format!("{change:?}");
        assert!(!world.change(change).await, "{shown}");
    }
    assert_eq!((world.count().await, world.store.revision().await.unwrap()), (1, before));
}

#[tokio::test]
async fn a_group_applies_what_it_can_in_order() {
    let world = World::new().await;
    let entry = |change| Entry { change, event: call(1)[0].clone() };
    let group = [
        entry(Some(Change::CreateAgent(agent("laptop")))),
        entry(Some(Change::CreateAgent(agent("laptop")))),
        entry(None),
        entry(Some(Change::CreateKey(key("7kq2m9xd", "laptop", 1)))),
    ];
    let applied = world.store.append(&group).await.unwrap();
    assert!(matches!(applied[..], [Applied::Done, Applied::ConditionFailed, Applied::Done, Applied::Done]));
    assert_eq!(world.count().await, 3);
}

#[tokio::test]
async fn every_change_of_the_world_moves_the_revision_once() {
    let world = World::new().await;
    let mut last = world.store.revision().await.unwrap();
    let id = KeyId::parse("7kq2m9xd").unwrap();
    let moving = [
        Change::CreateAgent(agent("laptop")),
        Change::CreateKey(key("7kq2m9xd", "laptop", 1)),
        Change::SetAgentState { name: name("laptop"), state: AgentState::Disabled, seen: None },
        Change::RevokeKey { id, at: moment(3) },
        put(service("https://a.example/"), None),
        Change::RemoveService { name: ServiceName::parse("far").unwrap(), seen: None },
    ];
    for change in moving {
        assert!(world.change(change).await);
        let now = world.store.revision().await.unwrap();
        assert_eq!(now.0, last.0 + 1);
        last = now;
    }
    world.fill(3).await;
    world.store.note_key_use(&[(id, moment(5))]).await.unwrap();
    assert_eq!(world.store.revision().await.unwrap(), last, "events and uses of keys move nothing");
}

#[tokio::test]
async fn a_deleted_agent_stays_deleted_and_keeps_its_name() {
    let world = World::new().await;
    world.change(Change::CreateAgent(agent("laptop"))).await;
    assert!(
        world
            .change(Change::SetAgentState { name: name("laptop"), state: AgentState::Deleted, seen: None })
            .await
    );
    assert!(
        !world
            .change(Change::SetAgentState { name: name("laptop"), state: AgentState::Active, seen: None })
            .await
    );
    assert!(!world.change(Change::CreateAgent(agent("laptop"))).await);
    assert!(!world.change(Change::CreateKey(key("7kq2m9xd", "laptop", 1))).await);
}

#[tokio::test]
async fn a_key_is_revoked_once_and_a_mac_is_held_once() {
    let world = World::new().await;
    world.change(Change::CreateAgent(agent("laptop"))).await;
    assert!(world.change(Change::CreateKey(key("7kq2m9xd", "laptop", 1))).await);
    assert!(!world.change(Change::CreateKey(key("7kq2m9xd", "laptop", 2))).await, "the id is taken");
    assert!(!world.change(Change::CreateKey(key("00000000", "laptop", 1))).await, "the MAC is taken");
    let id = KeyId::parse("7kq2m9xd").unwrap();
    assert!(world.change(Change::RevokeKey { id, at: moment(3) }).await);
    assert!(!world.change(Change::RevokeKey { id, at: moment(4) }).await);
    assert_eq!(world.store.snapshot().await.unwrap().keys[0].revoked_at, Some(moment(3)));
}

#[tokio::test]
async fn a_unique_start_of_a_key_id_will_do() {
    let world = World::new().await;
    world.change(Change::CreateAgent(agent("laptop"))).await;
    world.change(Change::CreateKey(key("7kq2m9xd", "laptop", 1))).await;
    world.change(Change::CreateKey(key("7kq2zzzz", "laptop", 2))).await;
    let found = async |start: &str| world.store.find_key(start).await.unwrap();
    assert_eq!(found("7kq2m").await, FoundKey::One(key("7kq2m9xd", "laptop", 1)));
    assert_eq!(found("8").await, FoundKey::None);
    let FoundKey::Several(ids) = found("7kq").await else { panic!("not several") };
    assert_eq!(ids, ["7kq2m9xd", "7kq2zzzz"].map(|id| KeyId::parse(id).unwrap()));
}

#[tokio::test]
async fn a_service_is_replaced_only_as_it_was_seen() {
    let world = World::new().await;
    assert!(world.change(put(service("https://a.example/"), None)).await);
    assert!(!world.change(put(service("https://b.example/"), None)).await);
    let seen = world.store.load_services().await.unwrap()[0].revision;
    let replace = |url| put(service(url), Some(seen));
    assert!(world.change(replace("https://b.example/")).await);
    assert!(!world.change(replace("https://c.example/")).await, "somebody else was quicker");
    let stored = world.store.load_services().await.unwrap();
    assert_eq!((stored.len(), &stored[0].service), (1, &service("https://b.example/")));
}

#[tokio::test]
async fn the_last_use_of_a_key_never_goes_back() {
    let world = World::new().await;
    world.change(Change::CreateAgent(agent("laptop"))).await;
    world.change(Change::CreateKey(key("7kq2m9xd", "laptop", 1))).await;
    let id = KeyId::parse("7kq2m9xd").unwrap();
    world.store.note_key_use(&[(id, moment(7)), (id, moment(5))]).await.unwrap();
    world.store.note_key_use(&[(id, moment(6))]).await.unwrap();
    assert_eq!(world.store.snapshot().await.unwrap().keys[0].last_used_at, Some(moment(7)));
    assert_eq!(world.count().await, 2);
}

#[tokio::test]
async fn an_operator_is_added_once() {
    let world = World::new().await;
    let operator = Operator {
        email: Email::parse("ada@example.com").unwrap(),
        role: OperatorRole::Owner,
        password_hash: "$argon2id$…".to_owned(),
        created_at: moment(1),
    };
    assert!(world.change(Change::CreateOperator(operator.clone())).await);
    assert!(!world.change(Change::CreateOperator(operator)).await);
    let operators = world.store.operators().await.unwrap();
    assert_eq!((operators.len(), operators[0].email.as_str()), (1, "ada@example.com"));
}

#[tokio::test]
async fn the_first_sealed_value_wins() {
    let world = World::new().await;
    assert_eq!(world.store.sealed_get("pepper").await.unwrap(), None);
    let second = world.second().await;
    let (a, b) = tokio::join!(
        world.store.sealed_put_if_absent("pepper", b"one"),
        second.sealed_put_if_absent("pepper", b"two")
    );
    assert_eq!(a.unwrap(), b.unwrap());
    assert!(world.store.sealed_get("pepper").await.unwrap().is_some());
}

pub fn put(service: Service, replaces: Option<i64>) -> Change {
    Change::PutService { service, replaces, documentation: None, keeps: BTreeSet::new() }
}

pub fn service(url: &str) -> Service {
    let url = UpstreamUrl::parse(url).unwrap();
    Service {
        name: ServiceName::parse("far").unwrap(),
        upstream: Upstream::Http(HttpUpstream { url, network: Network::Public, ca_pem: None }),
        unknown_methods: UnknownMethods::Refuse,
        refusals: RefusalForm::Error,
        trust_annotations: false,
        pins: Pins::default(),
        credentials: Vec::new(),
        documentation: None,
    }
}

#[tokio::test]
async fn an_agent_is_changed_only_as_it_was_seen() {
    let world = World::new().await;
    assert!(world.change(Change::CreateAgent(agent("laptop"))).await);
    let seen = agent("laptop");
    let update = |from: (RoleName, BTreeSet<ServiceName>), role: &str| Change::UpdateAgent {
        name: name("laptop"),
        from,
        role: RoleName::parse(role).unwrap(),
        scope: seen.scope.clone(),
    };
    let from = (seen.role.clone(), seen.scope.clone());
    assert!(world.change(update(from.clone(), "other")).await);
    assert!(!world.change(update(from, "third")).await, "it has another role by now");
    let now = world.store.agent(&name("laptop")).await.unwrap().unwrap();
    assert_eq!(now.role.as_str(), "other");
}

#[tokio::test]
async fn what_was_seen_must_still_be_so() {
    let world = World::new().await;
    let made = agent("laptop");
    assert!(world.change(Change::CreateAgent(made.clone())).await);
    let seen = |state| Some((made.role.clone(), made.scope.clone(), state));
    let set = |state, seen| Change::SetAgentState { name: name("laptop"), state, seen };
    assert!(!world.change(set(AgentState::Deleted, seen(AgentState::Disabled))).await, "another state");
    assert!(world.change(set(AgentState::Disabled, seen(AgentState::Active))).await);
    let other = Some((RoleName::parse("admin").unwrap(), made.scope.clone(), AgentState::Disabled));
    assert!(!world.change(set(AgentState::Deleted, other)).await, "another role");
    let mut more = made.scope.clone();
    assert!(more.insert(ServiceName::parse("elsewhere").unwrap()));
    let more = Some((made.role.clone(), more, AgentState::Disabled));
    assert!(!world.change(set(AgentState::Deleted, more)).await, "another scope");
    assert!(world.change(set(AgentState::Deleted, seen(AgentState::Disabled))).await);

    assert!(world.change(put(service("https://a.example/"), None)).await);
    let revision = world.store.load_services().await.unwrap()[0].revision;
    let remove = |seen| Change::RemoveService { name: ServiceName::parse("far").unwrap(), seen: Some(seen) };
    assert!(!world.change(remove(revision - 1)).await);
    assert!(world.change(remove(revision)).await);
}
