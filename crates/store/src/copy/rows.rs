//! Rows from one database into the other, as they come, some at a time.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Postgres, postgres::PgArguments, query::Query};

use super::catalog::{Kind, Table};
use crate::{
    StoreError, schema,
    sql::{self, Connection, PATIENCE, Row, Target, Value, within, without_nul},
};

/// Rows that are written at once, unless they have more bytes than that together.
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Rows of one statement of SQLite; its values are bound one by one.
const STATEMENT_ROWS: usize = 64;

type Cells = Vec<Value<'static>>;

/// How many rows of the table belong to a copy.
pub async fn count(connection: &mut Connection<'_>, table: &Table) -> Result<u64, StoreError> {
    let select = format!("SELECT count(*) FROM {}{}", table.name, belongs(table));
    let count: i64 = sql::assembled(select).patiently().fetch_one(connection).await?.try_get(0)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Copies the table's rows; how many. `written` is told of each batch.
pub async fn copy(
    from: &mut Connection<'_>,
    to: &mut Connection<'_>,
    table: &Table,
    mut written: impl FnMut(u64),
) -> Result<u64, StoreError> {
    let columns = names(table);
    let select = format!("SELECT {columns} FROM {}{}", table.name, belongs(table));
    let mut rows = sql::assembled(select).stream(from);
    let (mut batch, mut bytes, mut all) = (Vec::new(), 0, 0);
    loop {
        let row = rows.try_next().await?;
        if let Some(row) = &row {
            let cells = read(row, table)?;
            bytes += cells.iter().map(length).sum::<usize>();
            batch.push(cells);
        }
        if batch.len() >= BATCH_ROWS || bytes >= BATCH_BYTES || (row.is_none() && !batch.is_empty()) {
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            write(to, table, std::mem::take(&mut batch)).await?;
            (bytes, all) = (0, all + count);
            written(count);
        }
        if row.is_none() {
            return Ok(all);
        }
    }
}

/// The schema's number is a row on Postgres only.
fn belongs(table: &Table) -> String {
    match table.name.as_str() {
        "meta" => format!(" WHERE name <> '{}'", schema::NUMBER),
        _ => String::new(),
    }
}

fn names(table: &Table) -> String {
    table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn read(row: &Row, table: &Table) -> Result<Cells, sqlx::Error> {
    let cells = table.columns.iter().enumerate().map(|(at, column)| {
        Ok(match column.kind {
            Kind::Text => Value::Text(row.try_get::<Option<String>>(at)?.map(Into::into)),
            Kind::Number => Value::Number(row.try_get(at)?),
            Kind::Bytes => Value::Bytes(row.try_get::<Option<Vec<u8>>>(at)?.map(Into::into)),
        })
    });
    cells.collect()
}

fn length(cell: &Value<'_>) -> usize {
    match cell {
        Value::Text(text) => text.as_ref().map_or(0, |text| text.len()),
        Value::Bytes(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len()),
        Value::Number(_) => 8,
    }
}

async fn write(to: &mut Connection<'_>, table: &Table, rows: Vec<Cells>) -> Result<(), StoreError> {
    if let Target::Postgres(connection) = (&mut *to).into() {
        within(PATIENCE, insert(table, rows).execute(connection)).await?;
        return Ok(());
    }
    for some in rows.chunks(STATEMENT_ROWS) {
        let row = format!("({})", vec!["?"; table.columns.len()].join(","));
        let values = vec![row; some.len()].join(",");
        let insert = format!("INSERT INTO {} ({}) VALUES {values}", table.name, names(table));
        let query = some.iter().flatten().cloned().fold(sql::assembled(insert), sql::Query::bind);
        query.execute(&mut *to).await?;
    }
    Ok(())
}

/// One statement for any number of rows: their values as one array for each column.
fn insert(table: &Table, rows: Vec<Cells>) -> Query<'static, Postgres, PgArguments> {
    let arrays = table.columns.iter().enumerate().map(|(at, column)| {
        let kind = match column.kind {
            Kind::Text => "text",
            Kind::Number => "bigint",
            Kind::Bytes => "bytea",
        };
        format!("${}::{kind}[]", at + 1)
    });
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    let text = format!("INSERT INTO {} ({}) SELECT * FROM unnest({arrays})", table.name, names(table));
    let mut query = sqlx::query(AssertSqlSafe(text));
    let mut rows: Vec<_> = rows.into_iter().map(Vec::into_iter).collect();
    for column in &table.columns {
        let cells = rows.iter_mut().map(|row| row.next());
        query = match column.kind {
            Kind::Text => query.bind(cells.map(text_of).collect::<Vec<_>>()),
            Kind::Number => query.bind(cells.map(number_of).collect::<Vec<_>>()),
            Kind::Bytes => query.bind(cells.map(bytes_of).collect::<Vec<_>>()),
        };
    }
    query
}

fn text_of(cell: Option<Value<'static>>) -> Option<String> {
    match cell {
        Some(Value::Text(text)) => text.map(|text| without_nul(text).into_owned()),
        _ => None,
    }
}

fn number_of(cell: Option<Value<'static>>) -> Option<i64> {
    match cell {
        Some(Value::Number(number)) => number,
        _ => None,
    }
}

fn bytes_of(cell: Option<Value<'static>>) -> Option<Vec<u8>> {
    match cell {
        Some(Value::Bytes(bytes)) => bytes.map(std::borrow::Cow::into_owned),
        _ => None,
    }
}
