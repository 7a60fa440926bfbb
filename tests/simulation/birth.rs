//! The store that every run begins with: two agents, three people, one service. Made once, copied for each run.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use admin::{Actor, Admin, Expected, NewKey};
use domain::{
    key::PresentedKey,
    names::{AgentName, RoleName, ServiceName},
    operator::{Email, OperatorRole, PresentedToken, TokenLifetime},
    policy::Policy,
    service::parse_declarations,
};
use jiff::Timestamp;
use store::{Birth, Place, Store, StoreOptions, Sync};
use tempfile::TempDir;
use vault::RootKey;

/// How many agents there are, and how many people.
pub const AGENTS: usize = 2;
pub const PEOPLE: usize = 3;

const POLICY: &str = r#"
version: 1
roles:
  user:
    allow:
      - { service: bank, requests: ["POST /small/*"] }
    approve:
      - { name: big, service: bank, requests: ["POST /big/*"] }
      - { name: huge, service: bank, requests: ["POST /huge/*"], approvals: 2 }
limits: { per_key: 10000/1s, per_tool: 10000/1s, refusals: 10000/1s, housekeeping: 10000/1s }
"#;

const SERVICES: &str = "services: [ { name: bank, kind: http, url: 'http://bank.test', network: private } ]";

/// What all runs have in common.
pub struct Common {
    folder: TempDir,
    pub policy: Arc<Policy>,
    pub root: RootKey,
    pub keys: Vec<PresentedKey>,
    pub tokens: Vec<PresentedToken>,
    /// The first moment of every run.
    pub start: Timestamp,
}

impl Common {
    /// Makes it; takes as long as hashing six passwords.
    pub async fn make() -> Self {
        let folder = memory_folder();
        let start: Timestamp = "2026-01-05T09:00:00Z".parse().unwrap();
        let root = RootKey::from_bytes([7; 32]);
        let place = Place::File(folder.path().join("first.db"));
        let create = Some(Birth { install: [9; 16], now: start });
        let options = StoreOptions { place, sync: Sync::Os, create };
        let store = Arc::new(Store::open(&options).await.unwrap());
        let vault = admin::open_vault(&store, &root, start).await.unwrap();
        let pepper = admin::open_pepper(&store, &vault).await.unwrap();
        admin::open_session_sealer(&store, &vault).await.unwrap();
        let desk = Admin::new(Arc::clone(&store));
        let actor = Actor::os_user("root");
        for declared in parse_declarations("services.yaml", SERVICES).unwrap() {
            desk.put_service(&actor, start, declared.service, Expected::Anything).await.unwrap();
        }
        let scope = BTreeSet::from([ServiceName::parse("bank").unwrap()]);
        let mut keys = Vec::new();
        for agent in 0..AGENTS {
            let agent = AgentName::parse(&format!("agent-{agent}")).unwrap();
            let (role, scope) = (Some(RoleName::parse("user").unwrap()), Some(scope.clone()));
            let new = NewKey { agent, role, scope, expires_at: None };
            keys.push(desk.create_key(&actor, start, &pepper, new).await.unwrap().key);
        }
        let mut tokens = Vec::new();
        for person in 0..PEOPLE {
            let email = Email::parse(&format!("person-{person}@example.com")).unwrap();
            let password = "a password of some length";
            desk.create_operator(&actor, start, email.clone(), OperatorRole::Owner, password).await.unwrap();
            let made = desk.create_token(start, &pepper, (&email, password), TokenLifetime::DEFAULT).await;
            tokens.push(made.unwrap().token);
        }
        drop(desk);
        Arc::into_inner(store).unwrap().close().await;
        let (policy, _) = domain::policy::parse("policy.yaml", POLICY).unwrap();
        Self { folder, policy: Arc::new(policy), root, keys, tokens, start }
    }

    /// A store of its own for a run.
    pub fn copy(&self, into: &TempDir) -> PathBuf {
        let path = into.path().join("toolgate.db");
        std::fs::copy(self.folder.path().join("first.db"), &path).unwrap();
        path
    }
}

/// A folder in memory, where the machine has one: whether a disk keeps what it was given is for other tests.
pub fn memory_folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}
