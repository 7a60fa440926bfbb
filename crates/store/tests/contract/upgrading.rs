//! Programs of two versions on one store: who does not know its schema may go on only where the schema says so.

use std::fs;

use store::{Change, Place, Store, StoreError, StoreOptions, Sync};

use crate::world::{
    Raw, World, agent, all_done, call, database, drop_database, key, options, raw_of, server,
};

/// What SQLite had at each schema, in steps.
const SQLITE: &[&str] = &[
    include_str!("../../migrations/0001_first.sql"),
    include_str!("../../migrations/0002_vault.sql"),
    include_str!("../../migrations/0003_http.sql"),
    include_str!("../../migrations/0004_approvals.sql"),
    include_str!("../../migrations/0005_operators.sql"),
    include_str!("../../migrations/0006_kill.sql"),
    include_str!("../../migrations/0007_ended_with.sql"),
    include_str!("../../migrations/0008_notify.sql"),
    include_str!("../../migrations/0009_tool_hints.sql"),
    include_str!("../../migrations/0010_sessions.sql"),
    include_str!("../../migrations/0011_tallies.sql"),
    include_str!("../../migrations/0012_tools.sql"),
    include_str!("../../migrations/0013_nodes.sql"),
];
const POSTGRES: &[&str] = &[
    include_str!("../../migrations/postgres/0011_all_until_tallies.sql"),
    include_str!("../../migrations/postgres/0012_tools.sql"),
    include_str!("../../migrations/postgres/0013_nodes.sql"),
];

/// What stores of every schema were born with, and what was in them.
const FIRST: &[&str] = &[
    "INSERT INTO meta VALUES ('install', '07070707070707070707070707070707'), ('writer', 'gw-1'), ('needs', '0.1')",
    "INSERT INTO revisions VALUES ('world', 1)",
    "INSERT INTO agents VALUES ('laptop', 'user', 'files', 'active', 1)",
    "INSERT INTO keys VALUES ('7kq2m9xd', 'laptop', 'hmac-sha256$v=1$/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v4', 1, NULL, NULL, NULL)",
    "INSERT INTO sealed VALUES ('pepper', x'00ff')",
];

/// A store as a program left it that knew `schema`.
struct Old {
    place: Place,
    database: Option<(String, String)>,
    _folder: tempfile::TempDir,
}

impl Old {
    async fn new(schema: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = match server() {
            Some(server) => {
                let (name, url) = database(&server).await;
                Some((Place::Server(url), (server, name)))
            }
            None => None,
        };
        let (place, database) = database.unzip();
        let place = place.unwrap_or_else(|| {
            let path = folder.path().join("toolgate.db");
            fs::write(&path, "").unwrap();
            Place::File(path)
        });
        let old = Self { place, database, _folder: folder };
        let mut raw = old.raw().await;
        match &mut raw {
            Raw::Sqlite(raw) => {
                for step in &SQLITE[..usize::try_from(schema).unwrap()] {
                    sqlx::raw_sql(*step).execute(&mut *raw).await.unwrap();
                }
            }
            Raw::Postgres(raw) => {
                sqlx::raw_sql("CREATE SCHEMA toolgate").execute(&mut *raw).await.unwrap();
                for step in &POSTGRES[..usize::try_from(schema - 10).unwrap()] {
                    sqlx::raw_sql(*step).execute(&mut *raw).await.unwrap();
                }
            }
        }
        for rows in FIRST {
            raw.execute(rows).await.unwrap();
        }
        raw.execute(&match raw {
            Raw::Sqlite(_) => format!("PRAGMA user_version = {schema}"),
            Raw::Postgres(_) => format!("INSERT INTO meta VALUES ('schema', '{schema}')"),
        })
        .await
        .unwrap();
        old
    }

    async fn raw(&self) -> Raw {
        raw_of(&self.place, self.database.as_ref().map(|(server, name)| (server.as_str(), name.as_str())))
            .await
    }

    async fn open(&self) -> Result<Store, StoreError> {
        Store::open(&StoreOptions { create: None, ..options(self.place.clone(), Sync::Os) }).await
    }

    fn gone(self) {
        if let Some((server, name)) = self.database {
            drop_database(&server, &name);
        }
    }
}

#[tokio::test]
async fn a_store_of_every_schema_there_was_opens_and_goes_on() {
    let first = if server().is_some() { 11 } else { 1 };
    let newest = World::new().await.schema().await;
    assert_eq!(newest, i64::try_from(SQLITE.len()).unwrap(), "a migration is missing here");
    for schema in first..=newest {
        let old = Old::new(schema).await;
        let store = old.open().await.unwrap();
        let snapshot = store.snapshot().await.unwrap();
        assert_eq!((snapshot.agents.len(), store.install()), (1, &[7; 16]), "schema {schema}");
        all_done(&store.append(&[call(1)[0].clone().into()]).await.unwrap());
        assert!(store.verify(|_, _| {}).await.unwrap().ok);
        store.close().await;
        // What was taken along has the same form as what is made anew: else it could not be copied.
        let to = tempfile::tempdir().unwrap();
        store::copy(
            &old.place,
            &to.path().join("b.db").into(),
            Sync::Os,
            crate::world::moment(60),
            |_, _, _| {},
        )
        .await
        .unwrap();
        old.gone();
    }
}

#[tokio::test]
async fn a_step_that_older_gateways_cannot_go_on_with_waits_for_them() {
    let old = Old::new(12).await;
    let mut raw = old.raw().await;
    let mut lock = None;
    match (&mut raw, &old.place) {
        (Raw::Sqlite(_), Place::File(path)) => {
            let file = fs::File::create(path.with_file_name("toolgate.db.served")).unwrap();
            file.lock().unwrap();
            lock = Some(file);
        }
        (Raw::Postgres(raw), _) => {
            sqlx::query("SELECT pg_advisory_lock(1734440037, 1)").execute(raw).await.unwrap();
        }
        _ => panic!("neither"),
    }
    let fault = old.open().await.err().unwrap();
    let words = "a gateway of an older toolgate runs on this store";
    assert!(fault.to_string().starts_with(words), "{fault}");
    drop((raw, lock));
    let mut opened = old.open().await;
    for _ in 0..600 {
        // A server notices in its own time that somebody is gone.
        if opened.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        opened = old.open().await;
    }
    opened.unwrap().close().await;
    old.gone();
}

#[tokio::test]
async fn who_knows_only_the_step_before_goes_on_where_the_step_allows_it() {
    let world = World::new().await;
    let known = world.schema().await;
    let does = async |store: &Store, number: u8| {
        let name = format!("agent{number}");
        let change = Change::CreateAgent(agent(&name));
        let entry = store::Entry { change: Some(change), event: call(1)[0].clone() };
        all_done(&store.append(&[entry]).await.unwrap());
        let key = Change::CreateKey(key(&format!("7kq2m9x{number}"), &name, number));
        let entry = store::Entry { change: Some(key), event: call(2)[1].clone() };
        all_done(&store.append(&[entry, call(3)[0].clone().into()]).await.unwrap());
        assert_eq!(store.snapshot().await.unwrap().agents.len(), usize::from(number));
        assert!(store.approvals(&store::ApprovalQuery::default(), 9).await.is_ok());
        assert!(store.revision().await.is_ok());
    };
    // Statements are prepared by now: what is added must not spoil them.
    does(&world.store, 1).await;
    world.go_ahead().await;
    assert_eq!(world.schema().await, known + 1);
    does(&world.store, 2).await;
    let second = world.second().await;
    does(&second, 3).await;
    assert_eq!(world.schema().await, known + 1, "nobody takes it back");
    assert!(world.store.verify(|_, _| {}).await.unwrap().ok);
    // A step further it is over, for who runs and for who starts.
    world.execute(&format!("UPDATE meta SET value = '{}' WHERE name = 'oldest'", known + 1)).await;
    for store in [&world.store, &second] {
        assert!(matches!(store.revision().await, Err(StoreError::Newer { .. })));
        assert!(matches!(store.snapshot().await, Err(StoreError::Newer { .. })));
    }
    let opened = Store::open(&options(world.place.clone(), Sync::Os)).await;
    assert!(matches!(opened, Err(StoreError::Newer { .. })));
}
