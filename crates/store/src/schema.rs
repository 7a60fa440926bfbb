//! The schema and its number. Migrations are only ever added; an old one never changes. Each is written twice, once
//! for each database. A store on Postgres begins at the schema that SQLite had when Postgres was added.

use domain::foreign::escape_foreign;

use crate::{Place, StoreError, hand::Hand, open::Birth, sql, sql::Connection};

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
    include_str!("../migrations/0013_nodes.sql"),
];

/// The first makes schema 11; what follows is one file a step again.
const POSTGRES: &[&str] = &[
    include_str!("../migrations/postgres/0011_all_until_tallies.sql"),
    include_str!("../migrations/postgres/0012_tools.sql"),
    include_str!("../migrations/postgres/0013_nodes.sql"),
];
const POSTGRES_FIRST: i64 = 11;

/// Steps that gateways which know only the step before may go on with, beside newer ones: what such a step adds can be left
/// out by who does not know it, and nothing that they do is wrong for who does. A new column whose value decides about
/// calls is none of these. Every other step waits until no gateway runs (decision 0037).
const GENTLE: &[i64] = &[];

/// The version that a home needs for this schema: what an older binary tells its user.
const NEEDS: &str = "0.1";

/// Where Postgres keeps the schema's number; SQLite has a place of its own for it.
pub const NUMBER: &str = "schema";
/// Where the store says which schema a program must know at least to go on with it.
pub const OLDEST: &str = "oldest";

/// The newest schema that this binary knows.
pub const KNOWN: i64 = SQLITE.len() as i64;

/// The schema of an open store; 0 for an empty one.
pub async fn number(connection: &mut Connection<'_>) -> Result<i64, StoreError> {
    if let Connection::Sqlite(_) = connection {
        return Ok(sql::query_scalar("PRAGMA user_version").fetch_one(connection).await?);
    }
    // Asked of the catalog, which needs no right on a schema that may be somebody else's.
    let look = "SELECT has_schema_privilege(n.oid, 'USAGE'), CAST(current_database() AS text) \
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                WHERE n.nspname = 'toolgate' AND c.relname = 'meta' AND c.relkind IN ('r', 'p')";
    let Some(row) = sql::query(look).fetch_optional(&mut *connection).await? else { return Ok(0) };
    if !row.try_get::<bool>(0)? {
        return Err(StoreError::NotOurs {
            database: escape_foreign(row.try_get(1)?).into_owned(),
            why: "may not be used by this user".to_owned(),
            next: "name the user that made it in store.url, or grant this one the schema and its tables"
                .to_owned(),
        });
    }
    let number = meta(connection, NUMBER).await?.and_then(|number| number.parse().ok());
    number.ok_or_else(|| StoreError::damaged("a schema's number"))
}

/// Whether this program may use the store: it knows its schema, or one that is old enough to go on with.
pub async fn gate(connection: &mut Connection<'_>) -> Result<(), StoreError> {
    let schema = number(connection).await?;
    if schema <= KNOWN {
        return Ok(());
    }
    let oldest = meta(connection, OLDEST).await?;
    if oldest.as_deref().is_some_and(is_known) {
        return Ok(());
    }
    let needs = meta(connection, "needs").await?.unwrap_or_else(|| "?".to_owned());
    Err(StoreError::Newer { needs, schema, known: KNOWN })
}

/// Whether a program that knows [`KNOWN`] may go on where the oldest schema that may is this.
pub fn is_known(oldest: &str) -> bool {
    oldest.parse::<i64>().is_ok_and(|oldest| oldest <= KNOWN)
}

/// The oldest schema whose programs may go on with `known`.
fn oldest(known: i64, gentle: &[i64]) -> i64 {
    (1..=known).rev().find(|step| !gentle.contains(step)).unwrap_or(known)
}

/// Brings the schema up to date in one transaction; `birth` is what a new store is born with.
pub async fn migrate(hand: &mut Hand, place: &Place, birth: Option<&Birth>) -> Result<(), StoreError> {
    let mut connection = hand.connection().await?;
    gate(&mut connection).await?;
    let schema = number(&mut connection).await?;
    if schema >= KNOWN {
        return Ok(());
    }
    drop(connection);
    if (1..oldest(KNOWN, GENTLE)).contains(&schema) && place.is_served().await? {
        return Err(StoreError::OlderServes { place: place.clone() });
    }
    let mut transaction = hand.begin().await?;
    raise(&mut transaction, birth).await?;
    Ok(transaction.commit().await?)
}

/// Brings the schema up to date in a transaction that locks out other writers.
pub async fn raise(transaction: &mut Connection<'_>, birth: Option<&Birth>) -> Result<(), StoreError> {
    // Read again under the lock: another process may have been quicker.
    let schema = number(transaction).await?;
    if schema >= KNOWN {
        return Ok(());
    }
    let steps = match transaction {
        Connection::Sqlite(_) => SQLITE.get(usize::try_from(schema).unwrap_or(0)..),
        Connection::Postgres(_) => {
            if schema == 0 {
                sql::script(transaction, "SET LOCAL statement_timeout = 0").await?;
                own_schema(transaction).await?;
            }
            let done = if schema == 0 { 0 } else { schema - POSTGRES_FIRST + 1 };
            POSTGRES.get(usize::try_from(done).unwrap_or(0)..)
        }
    };
    for step in steps.unwrap_or_default() {
        sql::script(transaction, step).await?;
    }
    if let (0, Some(birth)) = (schema, birth) {
        let mut install = String::new();
        domain::audit::push_hex(&mut install, &birth.install);
        for (name, value) in
            [("install", install), ("writer", "gw-1".to_owned()), ("created_at", birth.now.to_string())]
        {
            set_meta(transaction, name, &value).await?;
        }
        let insert = "INSERT INTO revisions (area, number) VALUES ('world', 1)";
        sql::query(insert).execute(&mut *transaction).await?;
    }
    set_meta(transaction, "needs", NEEDS).await?;
    set_meta(transaction, OLDEST, &oldest(KNOWN, GENTLE).to_string()).await?;
    set_number(transaction).await
}

/// Makes the schema of Postgres that our tables go into, or takes one that is there, empty and ours: whoever owns a schema
/// can read, change and replace whatever others put there.
async fn own_schema(transaction: &mut Connection<'_>) -> Result<(), StoreError> {
    // A superuser is a member of every role, which makes nobody's schema his.
    let look = "SELECT CAST(current_database() AS text), CAST(me.rolname AS text), CAST(owner.rolname AS text), \
                n.nspowner = me.oid OR (NOT me.rolsuper AND pg_has_role(me.oid, n.nspowner, 'USAGE')), \
                (SELECT count(*) FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid) \
                FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles owner ON owner.oid = n.nspowner \
                JOIN pg_catalog.pg_roles me ON me.rolname = current_user WHERE n.nspname = 'toolgate'";
    let Some(row) = sql::query(look).fetch_optional(&mut *transaction).await? else {
        return Ok(sql::script(transaction, "CREATE SCHEMA toolgate").await?);
    };
    let (database, me, owner): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let [database, me, owner] = [database, me, owner].map(|name| escape_foreign(&name).into_owned());
    if !row.try_get::<bool>(3)? {
        let why = format!("belongs to `{owner}`, who could change what is in it");
        let next = format!("use another database, or: ALTER SCHEMA toolgate OWNER TO \"{me}\"");
        return Err(StoreError::NotOurs { database, why, next });
    }
    if row.try_get::<i64>(4)? > 0 {
        let why = "holds what is not Toolgate's".to_owned();
        return Err(StoreError::NotOurs { database, why, next: "use another database".to_owned() });
    }
    Ok(())
}

/// Writes down that the schema is [`KNOWN`].
pub async fn set_number(transaction: &mut Connection<'_>) -> Result<(), StoreError> {
    match transaction {
        Connection::Sqlite(_) => {
            let set = sql::assembled(format!("PRAGMA user_version = {KNOWN}"));
            set.execute(transaction).await?;
        }
        Connection::Postgres(_) => set_meta(transaction, NUMBER, &KNOWN.to_string()).await?,
    }
    Ok(())
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

    #[test]
    fn programs_go_on_with_gentle_steps_only() {
        assert_eq!(oldest(7, &[]), 7);
        assert_eq!(oldest(7, &[7]), 6);
        assert_eq!(oldest(7, &[6, 7]), 5);
        assert_eq!(oldest(7, &[5, 7]), 6, "6 is in the way");
        assert_eq!(oldest(7, &[5]), 7);
        assert!(GENTLE.iter().all(|step| (1..=KNOWN).contains(step)));
        assert!(is_known("1") && is_known(&KNOWN.to_string()));
        assert!(!is_known(&(KNOWN + 1).to_string()) && !is_known("") && !is_known("new"));
    }
}
