//! The schema and its number. Migrations only ever add files here; an old one never changes. Each is written twice, in
//! the words of each database; a store on Postgres begins at the schema that SQLite had when Postgres came.

use crate::{StoreError, hand::Hand, open::Birth, sql, sql::Connection};

/// One file a step; step 1 makes schema 1.
const SQLITE: &[&str] = &[
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
    include_str!("../migrations/0014_nodes.sql"),
];

/// The first makes schema 11; what follows is one file a step again.
const POSTGRES: &[&str] = &[
    include_str!("../migrations/postgres/0011_all_until_tallies.sql"),
    include_str!("../migrations/postgres/0012_tools.sql"),
    include_str!("../migrations/postgres/0014_nodes.sql"),
];
const POSTGRES_FIRST: i64 = 11;

/// The version that a home needs for this schema: what an older binary tells its user.
const NEEDS: &str = "0.1";

/// The newest schema that this binary knows.
pub const KNOWN: i64 = SQLITE.len() as i64;

/// The schema of an open store; 0 for an empty one.
pub async fn number(connection: &mut Connection<'_>) -> Result<i64, StoreError> {
    if let Connection::Sqlite(_) = connection {
        return Ok(sql::query_scalar("PRAGMA user_version").fetch_one(connection).await?);
    }
    let there = sql::query_scalar::<bool>("SELECT to_regclass('toolgate.meta') IS NOT NULL");
    if !there.fetch_one(&mut *connection).await? {
        return Ok(0);
    }
    let number = meta(connection, "schema").await?.and_then(|number| number.parse().ok());
    number.ok_or_else(|| StoreError::damaged("a schema's number"))
}

/// Brings the schema up to date in one transaction; `birth` is what a new store is born with.
pub async fn migrate(hand: &mut Hand, birth: Option<&Birth>) -> Result<(), StoreError> {
    let mut connection = hand.connection().await?;
    let schema = number(&mut connection).await?;
    if schema > KNOWN {
        let needs = meta(&mut connection, "needs").await?.unwrap_or_else(|| "?".to_owned());
        return Err(StoreError::Newer { needs, schema, known: KNOWN });
    }
    if schema == KNOWN {
        return Ok(());
    }
    drop(connection);
    let mut transaction = hand.begin().await?;
    // Read again under the lock: another process may have been quicker.
    let schema = number(&mut transaction).await?;
    let steps = match &transaction {
        Connection::Sqlite(_) => SQLITE.get(usize::try_from(schema).unwrap_or(0)..),
        Connection::Postgres(_) => {
            if schema == 0 {
                sql::script(&mut transaction, "SET LOCAL statement_timeout = 0").await?;
                sql::script(&mut transaction, "CREATE SCHEMA IF NOT EXISTS toolgate").await?;
            }
            let done = if schema == 0 { 0 } else { schema - POSTGRES_FIRST + 1 };
            POSTGRES.get(usize::try_from(done).unwrap_or(0)..)
        }
    };
    for step in steps.unwrap_or_default() {
        sql::script(&mut transaction, step).await?;
    }
    if let (0, Some(birth)) = (schema, birth) {
        let mut install = String::new();
        domain::audit::push_hex(&mut install, &birth.install);
        for (name, value) in
            [("install", install), ("writer", "gw-1".to_owned()), ("created_at", birth.now.to_string())]
        {
            set_meta(&mut transaction, name, &value).await?;
        }
        let insert = "INSERT INTO revisions (area, number) VALUES ('world', 1)";
        sql::query(insert).execute(&mut transaction).await?;
    }
    set_meta(&mut transaction, "needs", NEEDS).await?;
    match &transaction {
        Connection::Sqlite(_) => {
            let set = sql::assembled(format!("PRAGMA user_version = {KNOWN}"));
            set.execute(&mut transaction).await?;
        }
        Connection::Postgres(_) => set_meta(&mut transaction, "schema", &KNOWN.to_string()).await?,
    }
    Ok(transaction.commit().await?)
}

/// A value of the store about itself.
pub async fn meta(connection: &mut Connection<'_>, name: &str) -> Result<Option<String>, sqlx::Error> {
    sql::query_scalar("SELECT value FROM meta WHERE name = $1").bind(name).fetch_optional(connection).await
}

/// Sets a value of the store about itself.
pub async fn set_meta(connection: &mut Connection<'_>, name: &str, value: &str) -> Result<(), sqlx::Error> {
    let set = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2";
    sql::query(set).bind(name).bind(value).execute(connection).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_know_the_same_schema() {
        assert_eq!(KNOWN, POSTGRES_FIRST - 1 + POSTGRES.len() as i64);
    }
}
