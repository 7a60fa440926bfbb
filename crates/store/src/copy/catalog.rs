//! What tables a store has, as its database tells: in an order in which each stands behind those that its rows point at.

use crate::{
    StoreError,
    sql::{self, Connection},
};

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, sorted by name: one that was added later stands elsewhere in the other database.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub kind: Kind,
}

/// What a column holds; anything of it may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Text,
    Number,
    Bytes,
}

const SQLITE_COLUMNS: &str = "SELECT m.name, c.name, c.type FROM sqlite_schema m JOIN pragma_table_info(m.name) c \
                              WHERE m.type = 'table' AND substr(m.name, 1, 7) <> 'sqlite_' ORDER BY m.name, c.name";
const SQLITE_REFERENCES: &str = "SELECT m.name, f.\"table\" FROM sqlite_schema m \
                                 JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'";
const POSTGRES_COLUMNS: &str = "SELECT CAST(c.relname AS text) COLLATE \"C\", CAST(a.attname AS text) COLLATE \"C\", \
                                format_type(a.atttypid, NULL) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
                                WHERE c.relnamespace = to_regnamespace('toolgate') AND c.relkind IN ('r', 'p') \
                                AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2";
const POSTGRES_REFERENCES: &str = "SELECT CAST(c.relname AS text), CAST(f.relname AS text) FROM pg_constraint o \
                                   JOIN pg_class c ON c.oid = o.conrelid JOIN pg_class f ON f.oid = o.confrelid \
                                   WHERE o.contype = 'f' AND c.relnamespace = to_regnamespace('toolgate')";

/// The tables of a store.
///
/// # Errors
/// [`StoreError::Damaged`] when a column holds what no migration makes.
pub async fn of(connection: &mut Connection<'_>) -> Result<Vec<Table>, StoreError> {
    let (columns, references) = match connection {
        Connection::Sqlite(_) => (SQLITE_COLUMNS, SQLITE_REFERENCES),
        Connection::Postgres(_) => (POSTGRES_COLUMNS, POSTGRES_REFERENCES),
    };
    let mut tables: Vec<Table> = Vec::new();
    for row in sql::query(columns).fetch_all(&mut *connection).await? {
        let (table, name, kind): (String, String, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let kind = match kind {
            "TEXT" | "text" => Kind::Text,
            "INTEGER" | "bigint" => Kind::Number,
            "BLOB" | "bytea" => Kind::Bytes,
            other => return Err(StoreError::damaged(format!("a column `{table}.{name}` of type `{other}`"))),
        };
        let column = Column { name, kind };
        match tables.last_mut().filter(|last| last.name == table) {
            Some(last) => last.columns.push(column),
            None => tables.push(Table { name: table, columns: vec![column] }),
        }
    }
    let mut points_at: Vec<(String, String)> = Vec::new();
    for row in sql::query(references).fetch_all(connection).await? {
        points_at.push((row.try_get(0)?, row.try_get(1)?));
    }
    points_at.retain(|(table, other)| table != other);
    Ok(sorted(tables, &points_at))
}

/// Tables that others point at come first. Where they point in a circle, which none does, the database says so.
fn sorted(tables: Vec<Table>, points_at: &[(String, String)]) -> Vec<Table> {
    let mut sorted: Vec<Table> = Vec::with_capacity(tables.len());
    let mut left = tables;
    while !left.is_empty() {
        let is_free = |table: &Table| {
            !points_at.iter().any(|(from, to)| *from == table.name && left.iter().any(|one| one.name == *to))
        };
        let (free, bound): (Vec<_>, Vec<_>) = left.iter().cloned().partition(is_free);
        if free.is_empty() {
            sorted.extend(bound);
            break;
        }
        sorted.extend(free);
        left = bound;
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_stands_behind_those_it_points_at() {
        let tables = ["a", "b", "c"].map(|name| Table { name: name.into(), columns: Vec::new() });
        let points_at = [("a", "c"), ("c", "b")].map(|(from, to)| (from.to_owned(), to.to_owned()));
        let names = |tables: Vec<Table>| tables.into_iter().map(|table| table.name).collect::<String>();
        assert_eq!(names(sorted(tables.to_vec(), &points_at)), "bca");
        let circle = [("a", "b"), ("b", "a")].map(|(from, to)| (from.to_owned(), to.to_owned()));
        assert_eq!(names(sorted(tables.to_vec(), &circle)), "cab");
    }
}
