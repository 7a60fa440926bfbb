//! The schema and its number. Migrations only ever add files here; an old one never changes.

use sqlx::{Connection as _, SqliteConnection};

use crate::{StoreError, open::Birth};

/// One file a step; step 1 makes schema 1.
const STEPS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_vault.sql"),
    include_str!("../migrations/0003_http.sql"),
    include_str!("../migrations/0004_approvals.sql"),
    include_str!("../migrations/0005_operators.sql"),
    include_str!("../migrations/0006_kill.sql"),
    include_str!("../migrations/0007_ended_with.sql"),
    include_str!("../migrations/0008_notify.sql"),
    include_str!("../migrations/0009_tool_hints.sql"),
    include_str!("../migrations/0010_sessions.sql"),
    include_str!("../migrations/0011_tallies.sql"),
    include_str!("../migrations/0012_tools.sql"),
];

/// The version that a home needs for this schema: what an older binary tells its user.
const NEEDS: &str = "0.1";

/// The newest schema that this binary knows.
pub const KNOWN: i64 = STEPS.len() as i64;

/// The schema of an open file; 0 for an empty one.
pub async fn number(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA user_version").fetch_one(connection).await
}

/// Brings the schema up to date in one transaction; `birth` is what a new store is born with.
pub async fn migrate(connection: &mut SqliteConnection, birth: Option<&Birth>) -> Result<(), StoreError> {
    let schema = number(connection).await?;
    if schema > KNOWN {
        let needs = meta(connection, "needs").await?.unwrap_or_else(|| "?".to_owned());
        return Err(StoreError::Newer { needs, schema, known: KNOWN });
    }
    if schema == KNOWN {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    // Read again under the lock: another process may have been quicker.
    let schema = number(&mut transaction).await?;
    for step in STEPS.iter().skip(usize::try_from(schema).unwrap_or(0)) {
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
    }
    if let (0, Some(birth)) = (schema, birth) {
        let mut install = String::new();
        domain::audit::push_hex(&mut install, &birth.install);
        for (name, value) in
            [("install", install), ("writer", "gw-1".to_owned()), ("created_at", birth.now.to_string())]
        {
            set_meta(&mut transaction, name, &value).await?;
        }
        sqlx::query("INSERT INTO revisions (area, number) VALUES ('world', 1)")
            .execute(&mut *transaction)
            .await?;
    }
    set_meta(&mut transaction, "needs", NEEDS).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {KNOWN}")))
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// A value of the store about itself.
pub async fn meta(connection: &mut SqliteConnection, name: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM meta WHERE name = $1").bind(name).fetch_optional(connection).await
}

/// Sets a value of the store about itself.
pub async fn set_meta(connection: &mut SqliteConnection, name: &str, value: &str) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2")
        .bind(name)
        .bind(value)
        .execute(connection)
        .await?;
    Ok(())
}
