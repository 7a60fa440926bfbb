//! The multi-row insert of SQLite: one prepared statement for each power of two of rows, unused places left empty.
//!
//! A statement for each number of rows would keep 128 programs in memory; one row a statement would need a
//! transaction, and so three hops to SQLite's thread instead of one.

use std::sync::Arc;

use domain::{audit::Kind, names::AgentName};
use sqlx::{
    Arguments as _, AssertSqlSafe, SqlSafeStr as _, SqlStr, Sqlite, query::Query, sqlite::SqliteArguments,
};

use super::{GROUP_MAX, Linked};
use crate::row::micros;

/// Values bound for each row.
const COLUMNS: usize = 10;

pub struct Inserts {
    /// Texts of the statements for 1, 2, 4 … 128 rows; the connection keeps them prepared.
    texts: Vec<SqlStr>,
    kinds: Vec<(Kind, Arc<str>)>,
}

impl Inserts {
    pub fn new() -> Self {
        let sizes =
            std::iter::successors(Some(1usize), |size| Some(size * 2)).take_while(|size| *size <= GROUP_MAX);
        let texts = sizes.map(|rows| AssertSqlSafe(Arc::<str>::from(text(rows))).into_sql_str()).collect();
        Self { texts, kinds: Kind::ALL.map(|kind| (kind, kind.as_str().into())).into() }
    }

    /// The statement that inserts these rows: at least one, at most [`GROUP_MAX`].
    pub fn statement(&self, rows: Vec<Linked<'_>>) -> Query<'static, Sqlite, SqliteArguments> {
        let size = rows.len().next_power_of_two();
        let text = self.texts.get(size.ilog2() as usize).or(self.texts.last()).cloned();
        let mut values = SqliteArguments::default();
        values.reserve(rows.len() * COLUMNS, 0);
        for row in rows {
            self.bind(&mut values, row);
        }
        sqlx::query_with(text.unwrap_or_else(|| "".into_sql_str()), values)
    }

    fn bind(&self, values: &mut SqliteArguments, row: Linked<'_>) {
        let event = row.event;
        let kind = self.kinds.iter().find(|(kind, _)| *kind == event.kind).map(|(_, word)| word.clone());
        // Encoding texts, numbers and blobs for SQLite cannot fail.
        let _ = values.add(row.seq);
        let _ = values.add(micros(event.at));
        let _ = values.add(kind);
        let _ = values.add(event.call_id.map(|id| id.to_string()));
        let _ = values.add(event.agent.as_ref().map(|agent| Arc::<str>::from(AgentName::as_str(agent))));
        let _ = values.add(event.service.clone());
        let _ = values.add(event.action.clone());
        let _ = values.add(event.result.map(|result| Arc::<str>::from(result.as_str())));
        let _ = values.add(row.record);
        let _ = values.add(row.hash.to_vec());
    }
}

/// Places without values are NULL and filtered out by their sequence number.
fn text(rows: usize) -> String {
    let row = format!("({})", ["?"; COLUMNS].join(","));
    format!(
        "INSERT INTO audit (seq, at, kind, call_id, agent, service, action, result, rec, hash) \
         SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL",
        vec![row; rows].join(",")
    )
}
