//! A store can be copied into the other database, saved while it is written, and brought back; and it is never half there.

mod backups;
mod copies;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sqlx::{AssertSqlSafe, Row as _};
use store::{Copied, Place, Staged, Store, StoreError, StoreOptions, Sync, Verification};

use crate::world::{Raw, World, database, moment, options, raw_of, server};

/// At least one row for every table but those that a store is born with: what no test fills proves nothing.
const ROWS: &[&str] = &[
    "INSERT INTO agents VALUES ('laptop', 'user', 'billing,files', 'active', 1), ('old', 'user', '', 'deleted', 2)",
    "INSERT INTO keys VALUES ('7kq2m9xd', 'laptop', 'hmac$v=1$x', 1, NULL, NULL, 3), ('7kq2m9xe', 'old', 'hmac$v=1$y', 1, 2, 3, NULL)",
    "INSERT INTO services VALUES ('files', '{\"say\":\"it''s ünï \u{1f600}\"}', 3)",
    "INSERT INTO documentation VALUES ('files', 'two\nlines\twith \\ and ''')",
    "INSERT INTO operators (email, role, password_hash, created_at) VALUES ('ada@example.com', 'owner', '$argon2id$', 1)",
    "INSERT INTO operator_tokens VALUES ('tok1', 'ada@example.com', 'hmac$v=1$z', 1, 9, NULL, NULL)",
    "INSERT INTO wrong_passwords VALUES ('nobody@example.com', 3, 9)",
    "INSERT INTO sessions VALUES ('s1', 'ada@example.com', 1, 2, 9, NULL, '127.0.0.1', '')",
    "INSERT INTO refresh_tokens VALUES ('hmac$v=1$r', 's1', NULL, 1)",
    "INSERT INTO keyring VALUES (1, 'decrypt_only', x'0001ff', 1), (2, 'active', x'00', 2)",
    "INSERT INTO sealed VALUES ('pepper', x'010000000200ff'), ('empty', x'')",
    "INSERT INTO credentials VALUES ('files', 'gone', 3, 'https://a:443', NULL, 1), ('files', 'token', 1, 'https://a:443', x'01', 2)",
    "INSERT INTO idempotency VALUES ('laptop', 'k1', x'aa', 'c_000000000001', 'in_progress', NULL, 1, 9, 7)",
    "INSERT INTO approvals (id, agent, status, quorum, approved, created_at, decide_by, execute_within, claimed_at, \
     call_id, key_id, role, service, method, action, call_digest, approval_digest, policy_hash, rule, credentials, node) \
     VALUES ('ap_1', 'laptop', 'executing', 1, 1, 1, 9, 9, 5, 'c_000000000001', '7kq2m9xd', 'user', 'files', 'tools/call', \
     'write', x'aa', x'bb', 'h', 'r', '[]', 7)",
    "INSERT INTO approval_decisions VALUES ('ap_1', 'ada@example.com', 1, NULL, 3)",
    "INSERT INTO approval_bodies VALUES ('ap_1', 'held-call', 'laptop', x'01ff')",
    "INSERT INTO kill_switch VALUES (1, 5, 'drill', 'os:ada')",
    "INSERT INTO notify_cursors VALUES ('sink', 12)",
    "INSERT INTO tallies VALUES ('result', 60, 1, 'forwarded', 2)",
    "INSERT INTO tool_lists VALUES ('files', x'0101010101010101010101010101010101010101010101010101010101010101', 4, 1)",
    "INSERT INTO tools (service, name, hash, hint, seen_at) VALUES ('files', 'read', \
     x'0101010101010101010101010101010101010101010101010101010101010101', 'plain', 1)",
];

/// A world with something in every table, and more events than are copied at once.
async fn full() -> World {
    let world = World::new().await;
    for rows in ROWS {
        world.execute(rows).await;
    }
    // A body larger than what is copied at once.
    let body = "ab".repeat(5 * 1024 * 1024);
    world
        .execute(&format!(
            "INSERT INTO approval_bodies VALUES ('ap_1', 'stored-answer', 'laptop', x'{body}')"
        ))
        .await;
    world.fill(600).await;
    world
}

/// A place for a copy, in the other database where there is one.
struct Elsewhere {
    place: Place,
    database: Option<(String, String)>,
    folder: tempfile::TempDir,
}

impl Elsewhere {
    fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { place: Place::File(folder.path().join("toolgate.db")), database: None, folder }
    }

    async fn server() -> Option<Self> {
        let server = server()?;
        let (name, url) = database(&server).await;
        let folder = tempfile::tempdir().unwrap();
        Some(Self { place: Place::Server(url), database: Some((server, name)), folder })
    }

    async fn raw(&self) -> Raw {
        raw_of(&self.place, self.database.as_ref().map(|(server, name)| (server.as_str(), name.as_str())))
            .await
    }

    fn files(&self) -> Vec<PathBuf> {
        files_in(self.folder.path())
    }

    async fn gone(self) {
        if let Some((server, name)) = self.database {
            crate::world::drop_database(&server, &name);
        }
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// Every row of every table as text, but for which gateway is doing something, and the number of the schema. It asks the
/// database for its tables by itself, not by the code that is tested.
async fn contents(raw: &mut Raw) -> BTreeMap<String, Vec<String>> {
    let columns = match raw {
        Raw::Sqlite(_) => {
            "SELECT m.name, c.name, c.type FROM sqlite_schema m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' ORDER BY 1, 2"
        }
        Raw::Postgres(_) => {
            "SELECT CAST(table_name AS text), CAST(column_name AS text), CAST(data_type AS text) \
             FROM information_schema.columns WHERE table_schema = 'toolgate' ORDER BY 1, 2"
        }
    };
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for [table, column, kind] in raw.texts(columns).await {
        let text = match kind.as_str() {
            "BLOB" => format!("CASE WHEN {column} IS NOT NULL THEN 'x' || lower(hex({column})) END"),
            "bytea" => format!("'x' || encode({column}, 'hex')"),
            _ => format!("CAST({column} AS text)"),
        };
        if column != "node" {
            tables.entry(table).or_default().push(format!("coalesce('={column} ' || {text}, '={column}')"));
        }
    }
    let mut contents = BTreeMap::new();
    for (table, columns) in tables {
        let select = format!("SELECT {}, '', '' FROM {table}", columns.join(" || "));
        let mut rows: Vec<_> = raw.texts(&select).await.into_iter().map(|[row, ..]| row).collect();
        rows.retain(|row| !row.contains("=name schema"));
        rows.sort();
        contents.insert(table, rows);
    }
    contents
}

/// Both have the same tables with the same rows. A difference is told in few words.
fn assert_same(found: &BTreeMap<String, Vec<String>>, wanted: &BTreeMap<String, Vec<String>>) {
    assert!(found.keys().eq(wanted.keys()), "{:?} {:?}", found.keys(), wanted.keys());
    for (table, rows) in wanted {
        let found = &found[table];
        assert_eq!(found.len(), rows.len(), "rows of `{table}`");
        if let Some((found, wanted)) = found.iter().zip(rows).find(|(found, wanted)| found != wanted) {
            let short = |row: &String| row.chars().take(400).collect::<String>();
            panic!("`{table}`: {}\nshould be {}", short(found), short(wanted));
        }
    }
}

impl Raw {
    /// The rows of three texts each.
    async fn texts(&mut self, sql: &str) -> Vec<[String; 3]> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(raw) => {
                let rows = sqlx::query(sql).fetch_all(raw).await.unwrap();
                rows.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect()
            }
            Self::Postgres(raw) => {
                let rows = sqlx::query(sql).fetch_all(raw).await.unwrap();
                rows.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect()
            }
        }
    }
}

async fn copied(from: &Place, to: &Place) -> Result<Copied, StoreError> {
    store::copy(from, to, Sync::Os, moment(60), |_, _, _| {}).await
}

fn existing(place: &Place) -> StoreOptions {
    StoreOptions { create: None, ..options(place.clone(), Sync::Os) }
}

async fn verified(place: &Place) -> Verification {
    let store = Store::open(&existing(place)).await.unwrap();
    let verification = store.verify(|_, _| {}).await.unwrap();
    store.close().await;
    verification
}

async fn saved(world: &World, to: &Path) -> Result<store::Backup, StoreError> {
    store::backup(&world.path(), to, |_, _| {}).await
}

async fn restored(backup: &Path, path: &Path) -> Result<PathBuf, StoreError> {
    let staged = Staged::new(backup, path, moment(60), |_, _| {}).await?;
    let kept = path.with_extension("db.until");
    staged.take_its_place(&kept).await.map(|_| kept)
}
