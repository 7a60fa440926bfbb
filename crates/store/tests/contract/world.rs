//! A store on a temporary folder, or in a database of its own where `TOOLGATE_POSTGRES` names a server, and small facts to
//! fill it with.

use std::{path::PathBuf, str::FromStr as _, time::Duration};

use domain::{
    agent::{Agent, AgentState, Key},
    audit::{Event, Kind, ResultWord},
    key::{KeyId, KeyMac},
    names::{AgentName, CallId, RoleName, ServiceName},
};
use jiff::Timestamp;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, SqliteConnection,
    postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};
use store::{Applied, Birth, Change, Entry, Place, ServerUrl, Store, StoreOptions, Sync};

pub struct World {
    pub store: Store,
    pub place: Place,
    pub keep: Keep,
}

/// What is taken away with the world.
pub enum Keep {
    Folder(#[expect(dead_code, reason = "dropping it removes it")] tempfile::TempDir),
    Database { server: String, name: String },
}

/// The database behind the store's back.
pub enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The server whose databases are used instead of files.
pub fn server() -> Option<String> {
    std::env::var("TOOLGATE_POSTGRES").ok().filter(|url| !url.is_empty())
}

impl World {
    pub async fn new() -> Self {
        let Some(server) = server() else { return Self::on_file().await };
        let (name, url) = database(&server).await;
        let place = Place::Server(url);
        let store = Store::open(&options(place.clone(), Sync::Os)).await.unwrap();
        Self { store, place, keep: Keep::Database { server, name } }.ahead_if_asked().await
    }

    /// With `TOOLGATE_AHEAD` all tests run on a schema of which they know only the step before.
    async fn ahead_if_asked(self) -> Self {
        if std::env::var_os("TOOLGATE_AHEAD").is_some() {
            self.go_ahead().await;
        }
        self
    }

    /// For what only SQLite does.
    pub async fn on_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::File(folder.path().join("toolgate.db"));
        let store = Store::open(&options(place.clone(), Sync::Os)).await.unwrap();
        Self { store, place, keep: Keep::Folder(folder) }.ahead_if_asked().await
    }

    /// The file of a world on a file.
    pub fn path(&self) -> PathBuf {
        let Place::File(path) = &self.place else { panic!("{} is no file", self.place) };
        path.clone()
    }

    /// The same store through another connection, as another process has it.
    pub async fn second(&self) -> Store {
        Store::open(&StoreOptions { create: None, ..options(self.place.clone(), Sync::Os) }).await.unwrap()
    }

    /// The database behind the store's back.
    pub async fn raw(&self) -> Raw {
        let database = match &self.keep {
            Keep::Database { server, name } => Some((server.as_str(), name.as_str())),
            Keep::Folder(_) => None,
        };
        raw_of(&self.place, database).await
    }

    /// The schema's number.
    pub async fn schema(&self) -> i64 {
        let text = match self.raw().await {
            Raw::Sqlite(_) => "SELECT user_version FROM pragma_user_version",
            Raw::Postgres(_) => "SELECT CAST(value AS bigint) FROM meta WHERE name = 'schema'",
        };
        self.number(text).await
    }

    /// Says that the schema has another number.
    pub async fn set_schema(&self, number: i64) {
        let text = match self.raw().await {
            Raw::Sqlite(_) => format!("PRAGMA user_version = {number}"),
            Raw::Postgres(_) => format!("UPDATE meta SET value = '{number}' WHERE name = 'schema'"),
        };
        self.execute(&text).await;
    }

    /// Takes the schema a step further, as a newer program might: a column more in every table, a table more, and the word
    /// that who knows the step before may go on.
    pub async fn go_ahead(&self) {
        let known = self.schema().await;
        let mut raw = self.raw().await;
        let tables: Vec<String> = match &mut raw {
            Raw::Sqlite(raw) => {
                let select =
                    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
                sqlx::query_scalar(select).fetch_all(raw).await.unwrap()
            }
            Raw::Postgres(raw) => {
                let select = "SELECT CAST(tablename AS text) FROM pg_tables WHERE schemaname = 'toolgate'";
                sqlx::query_scalar(select).fetch_all(raw).await.unwrap()
            }
        };
        assert!(tables.len() > 10, "{tables:?}");
        for table in tables {
            let more = format!("ALTER TABLE {table} ADD COLUMN of_the_future TEXT NOT NULL DEFAULT 'new'");
            raw.execute(&more).await.unwrap();
        }
        raw.execute("CREATE TABLE of_the_future (name TEXT PRIMARY KEY)").await.unwrap();
        raw.execute(&format!("UPDATE meta SET value = '{known}' WHERE name = 'oldest'")).await.unwrap();
        self.set_schema(known + 1).await;
    }

    pub async fn execute(&self, sql: &str) -> u64 {
        self.raw().await.execute(sql).await.unwrap()
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        match self.raw().await {
            Raw::Sqlite(mut raw) => sqlx::query_scalar(sql).fetch_one(&mut raw).await.unwrap(),
            Raw::Postgres(mut raw) => sqlx::query_scalar(sql).fetch_one(&mut raw).await.unwrap(),
        }
    }

    /// Lets no row into a table, as a full disk would; or none that `when` says.
    pub async fn refuse_inserts(&self, table: &str, when: Option<&str>) {
        let when = when.map_or(String::new(), |when| format!("WHEN ({when})"));
        let mut raw = self.raw().await;
        let texts = match &raw {
            Raw::Sqlite(_) => vec![format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON {table} {when} BEGIN SELECT RAISE(ABORT, 'no'); END"
            )],
            Raw::Postgres(_) => vec![
                "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END $$"
                    .to_owned(),
                format!(
                    "CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW {when} EXECUTE FUNCTION refuse()"
                ),
            ],
        };
        for text in texts {
            raw.execute(&text).await.unwrap();
        }
    }

    pub async fn let_inserts(&self, table: &str) {
        let mut raw = self.raw().await;
        let text = match &raw {
            Raw::Sqlite(_) => "DROP TRIGGER refuse".to_owned(),
            Raw::Postgres(_) => format!("DROP TRIGGER refuse ON {table}"),
        };
        raw.execute(&text).await.unwrap();
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

/// The database at a place, behind a store's back. A server's is reached by its name.
pub async fn raw_of(place: &Place, database: Option<(&str, &str)>) -> Raw {
    match (place, database) {
        (_, Some((server, name))) => {
            let options = PgConnectOptions::from_str(server).unwrap().database(name);
            let options = options.options([("search_path", "toolgate")]);
            Raw::Postgres(PgConnection::connect_with(&options).await.unwrap())
        }
        (Place::File(path), _) => {
            let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5));
            Raw::Sqlite(options.connect().await.unwrap())
        }
        (Place::Server(_), None) => panic!("a server in a folder"),
    }
}

impl Raw {
    pub async fn execute(&mut self, sql: &str) -> Result<u64, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(raw) => sqlx::query(AssertSqlSafe(sql)).execute(raw).await?.rows_affected(),
            Self::Postgres(raw) => {
                // Bytes are written differently.
                let sql = sql.replace(" x'", " '\\x");
                sqlx::query(AssertSqlSafe(sql)).execute(raw).await?.rows_affected()
            }
        })
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        let Self::Database { server, name } = self else { return };
        drop_database(server, name);
    }
}

/// Takes a database away, whoever uses it.
pub fn drop_database(server: &str, name: &str) {
    let (server, drop) = (server.to_owned(), format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    // A test that failed must not fail again here; what is left goes with the server.
    let _ = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut raw = PgConnection::connect(&server).await?;
            sqlx::query(AssertSqlSafe(drop)).execute(&mut raw).await
        })?;
        Ok::<(), Box<dyn std::error::Error + Send + std::marker::Sync>>(())
    })
    .join();
}

/// A new, empty database of the server: its name and its URL.
pub async fn database(server: &str) -> (String, ServerUrl) {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("contract_{}_{count}", std::process::id());
    let mut raw = PgConnection::connect(server).await.unwrap();
    let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
    sqlx::query(AssertSqlSafe(create)).execute(&mut raw).await.unwrap();
    let url = PgConnectOptions::from_str(server).unwrap().database(&name).to_url_lossy();
    (name, ServerUrl::parse(url.as_str()).unwrap())
}

pub fn options(place: impl Into<Place>, sync: Sync) -> StoreOptions {
    let birth = Birth { install: [7; 16], now: moment(0) };
    StoreOptions { place: place.into(), sync, create: Some(birth) }
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
