//! One way to query either database: a statement with `$1`, values, rows. The same text serves SQLite and Postgres;
//! what has to differ is in `sqlite.rs` and `postgres.rs` (decision 0030).

mod connection;
mod row;
mod value;

use std::{io, marker::PhantomData, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use sqlx::{
    Arguments, AssertSqlSafe, Executor as _, PgPool, Postgres, SqlSafeStr, SqlStr, Sqlite, SqlitePool,
};

use crate::weather::{self, Step};

pub use connection::{Connection, Link, Pool};
pub use row::{Column, Row};
pub use value::{Value, without_nul};

/// How long a server may take to answer a statement. It gives up a little earlier by itself, unless it hangs.
pub const ANSWER_MAX: Duration = Duration::from_secs(6);
/// The same for work on whole tables, which no call waits for.
pub const PATIENCE: Duration = Duration::from_secs(600);

type Result<T> = std::result::Result<T, sqlx::Error>;

/// A statement and what is bound to it.
pub struct Query<'q> {
    text: SqlStr,
    values: Vec<Value<'q>>,
    persistent: bool,
    answer_max: Duration,
}

/// What runs statements.
pub enum Target<'t> {
    Sqlite(&'t mut sqlx::SqliteConnection),
    Postgres(&'t mut sqlx::PgConnection),
    SqlitePool(&'t SqlitePool),
    PostgresPool(&'t PgPool),
}

/// A text of this crate.
pub fn query<'q>(text: &'static str) -> Query<'q> {
    Query { text: text.into_sql_str(), values: Vec::new(), persistent: true, answer_max: ANSWER_MAX }
}

/// A text that is put together of words of this crate only; what callers ask for is bound.
pub fn assembled<'q>(text: String) -> Query<'q> {
    let text = AssertSqlSafe(text).into_sql_str();
    Query { text, values: Vec::new(), persistent: true, answer_max: ANSWER_MAX }
}

/// A statement whose rows have one column.
pub fn query_scalar<'q, T>(text: &'static str) -> Scalar<'q, T> {
    Scalar { query: query(text), column: PhantomData }
}

/// Runs the statement in the form that the target's database takes.
macro_rules! run {
    ($query:expr, $target:expr, $method:ident, $each:expr) => {
        match $target.into() {
            Target::Sqlite(connection) => {
                ($each.0)(weather::still($query.sqlite().$method(connection)).await?)
            }
            Target::SqlitePool(pool) => {
                let answer = async {
                    let mut connection = weather::reader(pool).await?;
                    let answer = $query.sqlite().$method(&mut *connection).await;
                    weather::give_back(connection);
                    answer
                };
                ($each.0)(weather::step(Step::Read, answer).await?)
            }
            Target::Postgres(connection) => {
                ($each.1)(within($query.answer_max, $query.postgres().$method(connection)).await?)
            }
            Target::PostgresPool(pool) => {
                let mut connection = Box::pin(pool.acquire()).await?;
                let answer = within($query.answer_max, $query.postgres().$method(&mut *connection)).await;
                if matches!(answer, Err(sqlx::Error::Io(_))) {
                    // Nobody is to wait for what did not answer this.
                    connection.close_on_drop();
                }
                ($each.1)(answer?)
            }
        }
    };
}

/// Waits for a server, but not for ever.
pub async fn in_time<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    within(ANSWER_MAX, answer).await
}

/// Waits for a server so long.
pub async fn within<T>(answer_max: Duration, answer: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
    tokio::time::timeout(answer_max, answer).await.map_err(|_| late())?
}

impl<'q> Query<'q> {
    /// Binds the next value.
    pub fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Does not keep the statement prepared: for texts of many lengths.
    pub fn once(mut self) -> Self {
        self.persistent = false;
        self
    }

    /// Waits for up to ten minutes: for work on whole tables.
    pub fn patiently(mut self) -> Self {
        self.answer_max = PATIENCE;
        self
    }

    /// The rows as they come, however many there are and however long that takes.
    pub fn stream<'t>(self, connection: &'t mut Connection<'_>) -> BoxStream<'t, Result<Row>>
    where
        'q: 't,
    {
        match connection.into() {
            Target::Sqlite(connection) => self.sqlite().fetch(connection).map_ok(Row::Sqlite).boxed(),
            Target::Postgres(connection) => self.postgres().fetch(connection).map_ok(Row::Postgres).boxed(),
            // A connection is no pool.
            Target::SqlitePool(_) | Target::PostgresPool(_) => stream::empty().boxed(),
        }
    }

    /// Runs it; how many rows were changed.
    pub async fn execute<'t>(self, target: impl Into<Target<'t>>) -> Result<u64> {
        let count = (
            |done: sqlx::sqlite::SqliteQueryResult| done.rows_affected(),
            |done: sqlx::postgres::PgQueryResult| done.rows_affected(),
        );
        Ok(run!(self, target, execute, count))
    }

    /// All rows.
    pub async fn fetch_all<'t>(self, target: impl Into<Target<'t>>) -> Result<Vec<Row>> {
        let wrap = (
            |rows: Vec<_>| rows.into_iter().map(Row::Sqlite).collect(),
            |rows: Vec<_>| rows.into_iter().map(Row::Postgres).collect(),
        );
        Ok(run!(self, target, fetch_all, wrap))
    }

    /// The first row.
    pub async fn fetch_optional<'t>(self, target: impl Into<Target<'t>>) -> Result<Option<Row>> {
        let wrap = (|row: Option<_>| row.map(Row::Sqlite), |row: Option<_>| row.map(Row::Postgres));
        Ok(run!(self, target, fetch_optional, wrap))
    }

    /// The first row; an error where there is none.
    pub async fn fetch_one<'t>(self, target: impl Into<Target<'t>>) -> Result<Row> {
        self.fetch_optional(target).await?.ok_or(sqlx::Error::RowNotFound)
    }

    fn sqlite(self) -> sqlx::query::Query<'q, Sqlite, sqlx::sqlite::SqliteArguments> {
        let mut arguments = sqlx::sqlite::SqliteArguments::default();
        arguments.reserve(self.values.len(), 0);
        for value in self.values {
            // Encoding texts, numbers and blobs cannot fail.
            let _ = match value {
                Value::Text(text) => arguments.add(text),
                Value::Number(number) => arguments.add(number),
                Value::Bytes(bytes) => arguments.add(bytes),
            };
        }
        sqlx::query_with(self.text, arguments).persistent(self.persistent)
    }

    fn postgres(self) -> sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments> {
        let mut arguments = sqlx::postgres::PgArguments::default();
        arguments.reserve(self.values.len(), 0);
        for value in self.values {
            // As above.
            let _ = match value {
                Value::Text(text) => arguments.add(text.map(without_nul)),
                Value::Number(number) => arguments.add(number),
                Value::Bytes(bytes) => arguments.add(bytes),
            };
        }
        sqlx::query_with(self.text, arguments).persistent(self.persistent)
    }
}

/// A [`Query`] whose rows have one column.
pub struct Scalar<'q, T> {
    query: Query<'q>,
    column: PhantomData<fn() -> T>,
}

impl<'q, T> Scalar<'q, T>
where
    T: for<'r> Column<'r>,
{
    /// Binds the next value.
    pub fn bind(self, value: impl Into<Value<'q>>) -> Self {
        Self { query: self.query.bind(value), ..self }
    }

    /// The column of all rows.
    pub async fn fetch_all<'t>(self, target: impl Into<Target<'t>>) -> Result<Vec<T>> {
        self.query.fetch_all(target).await?.iter().map(|row| row.try_get(0)).collect()
    }

    /// The column of the first row.
    pub async fn fetch_optional<'t>(self, target: impl Into<Target<'t>>) -> Result<Option<T>> {
        self.query.fetch_optional(target).await?.map(|row| row.try_get(0)).transpose()
    }

    /// The column of the first row; an error where there is none.
    pub async fn fetch_one<'t>(self, target: impl Into<Target<'t>>) -> Result<T> {
        self.query.fetch_one(target).await?.try_get(0)
    }
}

/// Runs a text of several statements, without values.
pub async fn script(connection: &mut Connection<'_>, text: &'static str) -> Result<()> {
    match connection.into() {
        Target::Sqlite(connection) => {
            weather::still(connection.execute(sqlx::raw_sql(text))).await.map(|_| ())
        }
        Target::Postgres(connection) => connection.execute(sqlx::raw_sql(text)).await.map(|_| ()),
        // A connection is no pool.
        Target::SqlitePool(_) | Target::PostgresPool(_) => Ok(()),
    }
}
