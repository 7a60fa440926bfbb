//! Copies a whole store from either database to either: one moment of the source, into nothing, in one transaction. What is
//! there is what is copied: tables and columns are asked of the databases, so that none can be forgotten.

mod catalog;
mod rows;

use jiff::Timestamp;

use crate::{
    Place, StoreError, Sync, Verification,
    approvals::doubt_approved,
    fresh_file::FreshFile,
    hand::UNFINISHED,
    moment::Moment,
    postgres, schema,
    sql::{self, Connection, Link},
    sqlite,
    verify::verify,
};

/// What copying is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyStep {
    /// Writing rows.
    Rows,
    /// Checking the trail of the copy, in events.
    Trail,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Rows, the trail's among them.
    pub rows: u64,
    /// What a check of the copy's trail found. The source's is the same, broken or not.
    pub trail: Verification,
    /// Whether a gateway ran on the source before or after.
    pub source_is_served: bool,
    /// Events that the source got meanwhile, which are not in the copy.
    pub missed: u64,
    /// Approved calls that a gateway of the source may send: in the copy they are never sent, but become `unknown`.
    pub in_doubt: u64,
}

/// Copies the store at `from` to `to`, where there must be nothing. Gateways on the source go on; what they do after the
/// first look is not in the copy. Sealed values stay sealed, under the same root key. `progress` is told how many of how
/// many are done.
///
/// Whenever this ends early, by an error or by the end of the process, `to` is as empty as it was, but for an error of
/// the very last step, the commit on a server: then either all is there or nothing.
///
/// # Errors
/// [`StoreError::Exists`], [`StoreError::NotEmpty`]; [`StoreError::Newer`] and [`StoreError::Older`] when the source has
/// another schema than this program makes; [`StoreError::Differs`] when the copy is not what was read.
pub async fn copy(
    from: &Place,
    to: &Place,
    sync: Sync,
    now: Timestamp,
    mut progress: impl FnMut(CopyStep, u64, u64),
) -> Result<Copied, StoreError> {
    let doubt = from.is_served().await?.then_some(now);
    let mut source = Moment::of(from).await?;
    if source.schema > schema::KNOWN {
        let needs = schema::meta(&mut source.connection, "needs").await?.unwrap_or_default();
        return Err(StoreError::Newer { needs, schema: source.schema, known: schema::KNOWN });
    }
    if source.schema < schema::KNOWN {
        let (place, schema, known) = (from.clone(), source.schema, schema::KNOWN);
        return Err(StoreError::Older { place, schema, known });
    }
    let until = source.head().await?.seq;
    let (rows, trail, in_doubt) = match to {
        Place::File(path) => {
            let fresh = FreshFile::reserve(path)?;
            let mut connection = sqlite::unlogged(fresh.partial()).await?;
            let begun = sqlx::Connection::begin_with(&mut connection, "BEGIN IMMEDIATE").await?;
            let mut transaction = Connection::Sqlite(Link::Transaction(begun));
            let filled = fill(&mut source, &mut transaction, doubt, &mut progress).await?;
            transaction.commit().await?;
            sqlx::Connection::close(connection).await?;
            fresh.keep()?;
            filled
        }
        Place::Server(url) => {
            let hand = postgres::Hand::open(url, sync).await?;
            let mut transaction = hand.begin().await?;
            for setting in ["statement_timeout", "idle_in_transaction_session_timeout"] {
                sql::assembled(format!("SET LOCAL {setting} = 0")).execute(&mut transaction).await?;
            }
            if !catalog::of(&mut transaction).await?.is_empty() {
                return Err(StoreError::NotEmpty { place: to.clone() });
            }
            let filled = fill(&mut source, &mut transaction, doubt, &mut progress).await?;
            transaction.commit_patiently().await?;
            hand.close().await;
            filled
        }
    };
    source.close().await;
    let mut later = Moment::of(from).await?;
    let now = later.head().await?.seq;
    later.close().await;
    let missed = u64::try_from(now.saturating_sub(until)).unwrap_or(0);
    let source_is_served = doubt.is_some() || from.is_served().await?;
    Ok(Copied { rows, trail, source_is_served, missed, in_doubt })
}

/// Makes the tables, fills them, and checks that they are what the source has.
async fn fill(
    source: &mut Moment,
    to: &mut Connection<'_>,
    doubt: Option<Timestamp>,
    progress: &mut impl FnMut(CopyStep, u64, u64),
) -> Result<(u64, Verification, u64), StoreError> {
    schema::raise(to, None).await?;
    let tables = catalog::of(&mut source.connection).await?;
    if tables != catalog::of(to).await? {
        return Err(StoreError::Differs { what: "tables and their columns".to_owned() });
    }
    // What the tables are born with comes from the source.
    for table in tables.iter().rev() {
        sql::assembled(format!("DELETE FROM {}", table.name)).execute(&mut *to).await?;
    }
    let mut counts = Vec::with_capacity(tables.len());
    for table in &tables {
        counts.push(rows::count(&mut source.connection, table).await?);
    }
    let all: u64 = counts.iter().sum();
    let mut done = 0;
    for (table, wanted) in tables.iter().zip(counts) {
        let read = rows::copy(&mut source.connection, to, table, |rows| {
            done += rows;
            progress(CopyStep::Rows, done, all);
        });
        let read = read.await?;
        let written = rows::count(to, table).await?;
        if (read, written) != (wanted, wanted) {
            let what = format!("table `{}`: {wanted} rows there, {read} read, {written} written", table.name);
            return Err(StoreError::Differs { what });
        }
    }
    // What a gateway of the source is doing is nobody's here.
    for (table, unfinished) in UNFINISHED {
        let update = format!("UPDATE {table} SET node = 0 WHERE {unfinished}");
        sql::assembled(update).patiently().execute(&mut *to).await?;
    }
    let in_doubt = match doubt {
        Some(at) => doubt_approved(to, at).await?,
        None => 0,
    };
    schema::set_number(to).await?;
    let trail = check_trail(source, to, progress).await?;
    Ok((all, trail, in_doubt))
}

/// The trail of the copy holds and ends where the source's does; or it breaks where the source's does.
async fn check_trail(
    source: &mut Moment,
    to: &mut Connection<'_>,
    progress: &mut impl FnMut(CopyStep, u64, u64),
) -> Result<Verification, StoreError> {
    let copy = verify(to, source.writer(), |done, all| progress(CopyStep::Trail, done, all)).await?;
    let same = if copy.ok {
        let head = source.head().await?;
        copy.newest.as_ref().map_or(0, |newest| newest.seq) == head.seq
            && copy.newest.as_ref().is_none_or(|newest| newest.hash == head.hash)
    } else {
        source.verify(|_, _| {}).await? == copy
    };
    match same {
        true => Ok(copy),
        false => Err(StoreError::Differs { what: "the trail's end".to_owned() }),
    }
}
