//! A store on a temporary folder, and small facts to fill it with.

use std::{path::PathBuf, time::Duration};

use domain::{
    agent::{Agent, AgentState, Key},
    audit::{Event, Kind, ResultWord},
    key::{KeyId, KeyMac},
    names::{AgentName, CallId, RoleName, ServiceName},
};
use jiff::Timestamp;
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use store::{Applied, Birth, Change, Entry, Store, StoreOptions, Sync};

pub struct World {
    pub store: Store,
    pub path: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toolgate.db");
        let store = Store::open(&options(&path, Sync::Os)).await.unwrap();
        Self { store, path, _folder: folder }
    }

    /// The same file through another connection, as another process has it.
    pub async fn second(&self) -> Store {
        Store::open(&StoreOptions { create: None, ..options(&self.path, Sync::Os) }).await.unwrap()
    }

    /// The file behind the store's back.
    pub async fn raw(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(Duration::from_secs(5))
            .connect()
            .await
            .unwrap()
    }

    pub async fn execute(&self, sql: &'static str) -> u64 {
        sqlx::query(sql).execute(&mut self.raw().await).await.unwrap().rows_affected()
    }

    /// Calls 1 to `calls`, an intent and an outcome each.
    pub async fn fill(&self, calls: u32) {
        let entries: Vec<Entry> = (1..=calls).flat_map(call).map(Entry::from).collect();
        all_done(&self.store.append(&entries).await.unwrap());
    }

    pub async fn change(&self, change: Change) -> bool {
        let event = Event::new(moment(0), Kind::Operator);
        let applied = self.store.append(&[Entry { change: Some(change), event }]).await.unwrap();
        matches!(applied[0], Applied::Done)
    }

    pub async fn count(&self) -> u64 {
        let verification = self.store.verify(|_, _| {}).await.unwrap();
        assert!(verification.ok, "{:?}", verification.first_broken);
        verification.events
    }
}

pub fn options(path: &std::path::Path, sync: Sync) -> StoreOptions {
    let birth = Birth { install: [7; 16], now: moment(0) };
    StoreOptions { path: path.into(), sync, create: Some(birth) }
}

pub fn all_done(applied: &[Applied]) {
    assert!(applied.iter().all(|one| matches!(one, Applied::Done)), "{applied:?}");
}

pub fn moment(seconds: u32) -> Timestamp {
    "2026-11-23T14:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(u64::from(seconds))
}

pub fn call_id(number: u32) -> CallId {
    CallId::new(1_000_000 + u64::from(number), number)
}

pub fn call(number: u32) -> [Event; 2] {
    let mut intent = Event::new(moment(number), Kind::Intent);
    intent.call_id = Some(call_id(number));
    intent.agent = Some(name("laptop"));
    intent.service = Some("files".into());
    intent.action =
        Some(if number.is_multiple_of(2) { "read_file".into() } else { "say \"hi\" \u{1b} ünï".into() });
    let mut outcome = Event { kind: Kind::Outcome, ..intent.clone() };
    outcome.result = Some(ResultWord::Forwarded);
    outcome.status = Some(200);
    [intent, outcome]
}

pub fn name(text: &str) -> AgentName {
    AgentName::parse(text).unwrap()
}

pub fn agent(text: &str) -> Agent {
    Agent {
        name: name(text),
        role: RoleName::parse("user").unwrap(),
        scope: ["billing", "files"].map(|name| ServiceName::parse(name).unwrap()).into(),
        state: AgentState::Active,
        created_at: moment(1),
    }
}

pub fn key(id: &str, agent: &str, mac: u8) -> Key {
    Key {
        id: KeyId::parse(id).unwrap(),
        agent: name(agent),
        mac: KeyMac([mac; 32]),
        created_at: moment(2),
        expires_at: Some(moment(9)),
        revoked_at: None,
        last_used_at: None,
    }
}
