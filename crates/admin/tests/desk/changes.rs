//! Agents, keys, services and operators are changed, and each change is an event.

use std::sync::Arc;

use admin::{Actor, Admin, AdminError, AgentUpdate, NewKey, Warning, What, open_pepper};
use domain::{
    agent::AgentState,
    kill::KillReason,
    names::{AgentName, RoleName, ServiceName},
    operator::{Email, OperatorRole},
    service::parse_declarations,
};
use store::{Query, Store};
use vault::Pepper;

use crate::install::{at, now, store, vault};

struct Desk {
    admin: Admin,
    store: Arc<Store>,
    pepper: Pepper,
    actor: Actor,
    _folder: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let (store, folder) = store().await;
        let vault = vault(&store).await;
        let pepper = open_pepper(&store, &vault).await.unwrap();
        let (admin, actor) = (Admin::new(store.clone()), Actor::os_user("ada"));
        Self { admin, store, pepper, actor, _folder: folder }
    }

    async fn create_key(&self, new: NewKey) -> Result<admin::CreatedKey, AdminError> {
        self.admin.create_key(&self.actor, now(), &self.pepper, new).await
    }

    async fn apply(&self, text: &str) -> Vec<(String, What)> {
        let declared = parse_declarations("services.yaml", text).unwrap();
        let services = declared.into_iter().map(|declared| declared.service.into()).collect();
        let changes = self.admin.apply_services(&self.actor, now(), services).await.unwrap();
        changes.into_iter().map(|change| (change.service.name.to_string(), change.what)).collect()
    }

    /// `action agent service` of every event, in order.
    async fn trail(&self) -> Vec<String> {
        assert!(self.store.verify(|_, _| {}).await.unwrap().ok);
        let events = self.store.events(&Query::default()).await.unwrap();
        for event in &events {
            assert_eq!(event.kind, "operator");
            assert!(event.rec.contains("\"operator\":\"os:ada\""), "{}", event.rec);
        }
        let about =
            |event: &store::EventRow| event.agent.clone().or(event.service.clone()).unwrap_or_default();
        events.iter().map(|event| format!("{} {}", event.action.clone().unwrap(), about(event))).collect()
    }
}

fn wish(agent: &str) -> NewKey {
    NewKey { agent: AgentName::parse(agent).unwrap(), role: None, scope: None, expires_at: None }
}

fn scope(names: &[&str]) -> Option<std::collections::BTreeSet<ServiceName>> {
    Some(names.iter().map(|name| ServiceName::parse(name).unwrap()).collect())
}

const FILES: &str = "services:\n  - { name: files, kind: mcp, command: [npx, server, /srv] }\n";

#[tokio::test]
async fn a_first_key_makes_its_agent_and_is_stored_as_a_mac_only() {
    let desk = Desk::new().await;
    desk.apply(FILES).await;
    let role = Some(RoleName::parse("user").unwrap());
    let made = desk.create_key(NewKey { role, scope: scope(&["files"]), ..wish("laptop") }).await.unwrap();
    assert!(made.agent_made && made.warnings.is_empty());
    let snapshot = desk.store.snapshot().await.unwrap();
    assert_eq!(snapshot.keys[0].mac, desk.pepper.mac(&made.key));
    assert_eq!(snapshot.keys[0].id, made.key_id);
    let again = desk.create_key(wish("laptop")).await.unwrap();
    assert!(!again.agent_made && again.key != made.key);
    assert_eq!(
        desk.trail().await,
        ["services.create files", "agents.create laptop", "keys.create laptop", "keys.create laptop"]
    );
    let store::Place::File(path) = desk.store.place() else { panic!("it is a file") };
    let file = std::fs::read(path).unwrap();
    let log = std::fs::read(path.with_extension("db-wal")).unwrap();
    let secret = &made.key.reveal().as_bytes()[13..56];
    assert!(!file.windows(43).any(|bytes| bytes == secret) && !log.windows(43).any(|bytes| bytes == secret));
}

#[tokio::test]
async fn a_bare_key_has_the_readonly_role_no_scope_and_warnings() {
    let desk = Desk::new().await;
    let made = desk.create_key(wish("laptop")).await.unwrap();
    assert_eq!((made.agent.role.as_str(), made.agent.scope.len()), ("readonly", 0));
    assert_eq!(made.warnings, [Warning::RoleDefaulted, Warning::EmptyScope(made.agent.name)]);
}

#[tokio::test]
async fn a_key_wish_never_changes_an_agent() {
    let desk = Desk::new().await;
    desk.apply(FILES).await;
    desk.create_key(wish("laptop")).await.unwrap();
    let admin = RoleName::parse("admin").unwrap();
    let cases = [
        (
            NewKey { role: Some(admin), ..wish("laptop") },
            "agent `laptop` has role `readonly`, not `admin`; change the agent first",
        ),
        (
            NewKey { scope: scope(&["files"]), ..wish("laptop") },
            "agent `laptop` has scope `–`, not `files`; change the agent first",
        ),
        (
            NewKey { scope: scope(&["fils"]), ..wish("phone") },
            "there is no service `fils` (scope); did you mean `files`? look at the list of services",
        ),
        (
            NewKey { expires_at: Some(now()), ..wish("laptop") },
            "the key would expire before it is made; give a later time",
        ),
    ];
    let before = desk.trail().await;
    for (new, sentence) in cases {
        assert_eq!(desk.create_key(new).await.err().unwrap().to_string(), sentence);
    }
    assert_eq!(desk.trail().await, before, "a refused wish leaves no trace of a change");
}

#[tokio::test]
async fn a_deleted_agents_name_is_not_given_again() {
    let desk = Desk::new().await;
    desk.create_key(wish("laptop")).await.unwrap();
    let name = AgentName::parse("laptop").unwrap();
    assert!(desk.admin.set_agent_state(&desk.actor, now(), &name, AgentState::Deleted, None).await.unwrap());
    let refused = desk.create_key(wish("laptop")).await.err().unwrap();
    assert!(matches!(refused, AdminError::AgentDeleted(_)), "{refused}");
    assert!(desk.admin.set_agent_state(&desk.actor, now(), &name, AgentState::Active, None).await.is_err());
    assert_eq!(desk.admin.show_agent(&name).await.unwrap().agent.state, AgentState::Deleted);
}

#[tokio::test]
async fn a_key_is_revoked_by_a_start_of_its_id_and_only_once() {
    let desk = Desk::new().await;
    let made = desk.create_key(wish("laptop")).await.unwrap();
    let id = made.key_id.to_string();
    for nothing in ["", "agt_"] {
        let refused = desk.admin.revoke_key(&desk.actor, now(), nothing).await;
        assert!(matches!(refused, Err(AdminError::NoSuchKey(_))), "nothing is the start of every id");
    }
    let revoked = desk.admin.revoke_key(&desk.actor, now(), &id[..5]).await.unwrap();
    assert_eq!((revoked.key.id, revoked.already), (made.key_id, None));
    let later = at(9);
    let again = desk.admin.revoke_key(&desk.actor, later, made.key.reveal()).await.unwrap();
    assert_eq!(again.already, Some(now()));
    assert_eq!(desk.trail().await.last().unwrap(), "keys.revoke laptop");
    assert_eq!(desk.trail().await.len(), 3);
}

#[tokio::test]
async fn an_error_about_a_key_never_shows_its_secret() {
    let desk = Desk::new().await;
    let foreign = domain::key::mint([9; 5], [8; 32]);
    let error = desk.admin.revoke_key(&desk.actor, now(), foreign.reveal()).await.unwrap_err().to_string();
    assert!(error.contains(foreign.id().as_str()) && !error.contains(&foreign.reveal()[13..56]), "{error}");
}

#[tokio::test]
async fn an_update_says_before_and_after_and_nothing_is_written_for_nothing() {
    let desk = Desk::new().await;
    desk.apply(FILES).await;
    desk.create_key(wish("laptop")).await.unwrap();
    let name = AgentName::parse("laptop").unwrap();
    let update = AgentUpdate { role: None, scope: scope(&["files"]), seen: None };
    let (before, after) = desk.admin.update_agent(&desk.actor, now(), &name, update.clone()).await.unwrap();
    assert_eq!((before.scope.len(), after.scope.len()), (0, 1));
    let length = desk.trail().await.len();
    desk.admin.update_agent(&desk.actor, now(), &name, update).await.unwrap();
    assert!(desk.admin.set_agent_state(&desk.actor, now(), &name, AgentState::Disabled, None).await.unwrap());
    assert!(
        !desk.admin.set_agent_state(&desk.actor, now(), &name, AgentState::Disabled, None).await.unwrap()
    );
    assert_eq!(desk.trail().await.len(), length + 1);
    let near = AgentName::parse("latpop").unwrap();
    let error = desk.admin.show_agent(&near).await.unwrap_err().to_string();
    assert_eq!(error, "there is no agent `latpop`; did you mean `laptop`? look at the list of agents");
}

#[tokio::test]
async fn applying_says_what_is_added_changed_and_same() {
    let desk = Desk::new().await;
    let first = "services:\n  - { name: a, kind: mcp, url: https://a.example/mcp }\n  - { name: b, kind: mcp, command: [b], env: { X: one } }\n";
    let second = "services:\n  - { name: a, kind: mcp, url: https://a.example/mcp }\n  - { name: b, kind: mcp, command: [b, c], env: { X: two } }\n";
    assert!(desk.apply(first).await.iter().all(|(_, what)| *what == What::Added));
    let changes = desk.apply(second).await;
    assert_eq!(changes[0], ("a".to_owned(), What::Same));
    let What::Changed(differences) = &changes[1].1 else { panic!("{:?}", changes[1]) };
    let shown: Vec<_> = differences.iter().map(|d| format!("{} {} → {}", d.field, d.from, d.to)).collect();
    assert_eq!(shown, ["command b → b c", "env X → X"], "values of the environment are not shown");
    assert_eq!(desk.trail().await, ["services.create a", "services.create b", "services.update b"]);
    assert_eq!(desk.apply(FILES).await.len(), 1);
    assert_eq!(
        desk.admin.list_services().await.unwrap().len(),
        3,
        "services that the file does not name stay"
    );
}

#[tokio::test]
async fn removing_what_is_not_there_helps() {
    let desk = Desk::new().await;
    desk.apply(FILES).await;
    let wrong = ServiceName::parse("flies").unwrap();
    let error = desk.admin.remove_service(&desk.actor, now(), &wrong, None).await.unwrap_err().to_string();
    assert_eq!(error, "there is no service `flies`; did you mean `files`? look at the list of services");
    desk.admin.remove_service(&desk.actor, now(), &ServiceName::parse("files").unwrap(), None).await.unwrap();
    assert!(desk.admin.list_services().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_operator_needs_a_long_password_and_a_new_address() {
    let desk = Desk::new().await;
    let create = async |email: &str, password: &str| {
        let email = Email::parse(email).unwrap();
        desk.admin.create_operator(&desk.actor, now(), email, OperatorRole::Owner, password).await
    };
    let short = create("ada@example.com", "elevenchars").await.unwrap_err().to_string();
    assert_eq!(short, "the password has 11 characters; use 12 or more");
    create("ada@example.com", "twelve chars").await.unwrap();
    assert!(matches!(create("ADA@example.com", "twelve chars").await, Err(AdminError::OperatorExists(_))));
    assert_eq!(desk.admin.list_operators().await.unwrap().len(), 1);
    let events = desk.store.events(&Query::default()).await.unwrap();
    assert_eq!(events.len(), 1);
    assert!(!events[0].rec.contains("argon2") && !events[0].rec.contains("twelve"));
}

#[tokio::test]
async fn the_kill_switch_is_turned_by_a_name_and_for_a_reason() {
    let desk = Desk::new().await;
    let reason = |text| KillReason::parse(text).unwrap();
    assert_eq!(desk.admin.turn_kill_off(&desk.actor, now()).await.unwrap(), None);
    let (kill, changed) = desk.admin.turn_kill_on(&desk.actor, now(), reason("stolen")).await.unwrap();
    assert_eq!((kill.since, kill.reason.as_str(), kill.by.as_str()), (now(), "stolen", "os:ada"));
    assert!(changed);
    let later = at(9);
    let other = Actor::os_user("grace");
    let (same, changed) = desk.admin.turn_kill_on(&other, later, reason("other")).await.unwrap();
    assert!(!changed && same == kill, "who comes second sees who was first");
    assert_eq!(desk.admin.kill().await.unwrap(), Some(kill.clone()));
    assert_eq!(desk.admin.turn_kill_off(&desk.actor, later).await.unwrap(), Some(kill));
    assert_eq!(desk.admin.kill().await.unwrap(), None);
    assert_eq!(desk.trail().await, ["kill.on ", "kill.off "]);
    let events = desk.store.events(&Query::default()).await.unwrap();
    assert!(events.iter().all(|event| event.rec.contains("stolen")), "both say what it was for");
}
