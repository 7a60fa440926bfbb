//! Checks the trail: every hash, every link, no gap, and that the columns say what the records say.
//!
//! It trusts nothing but the records' bytes. Where the oldest events were dropped, one that is there must say which
//! (see `retain`). What it cannot see is a cut tail or a whole rewrite; only a copy of
//! the newest hash, kept elsewhere, shows those.

use std::borrow::Cow;

use domain::audit::Kind;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sql::{self, Connection, Row};
use crate::{
    Store, StoreError,
    append::{Head, hash_of},
    retain,
    row::{hex, micros, time},
};

const PAGE: i64 = 512;

/// What a check of the whole trail found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Whether everything holds.
    pub ok: bool,
    /// How many events hold, up to the first that does not.
    pub events: u64,
    /// How many chains there are.
    pub chains: u64,
    /// How many events were dropped before the oldest one that is there, as the trail itself says.
    pub dropped: u64,
    /// The newest event that holds.
    pub newest: Option<Newest>,
    /// Where it breaks first.
    pub first_broken: Option<Broken>,
}

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The chain.
    pub writer: String,
    /// The event.
    pub seq: i64,
    /// Its hash; a copy kept elsewhere shows a cut tail or a rewrite.
    pub hash: [u8; 32],
}

/// The first event that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The chain.
    pub writer: String,
    /// The event.
    pub seq: i64,
    /// When it says it happened, if that can be read.
    pub at: Option<Timestamp>,
    /// The kind it says it is.
    pub kind: Option<String>,
    /// What does not hold: "its fields do not give its hash".
    pub why: String,
}

impl Store {
    /// Checks the whole trail. `progress` is told now and then how many events of how many are checked.
    ///
    /// # Errors
    /// [`StoreError`] when the trail cannot be read at all; what was tampered with is a finding, not an error.
    pub async fn verify(&self, progress: impl FnMut(u64, u64)) -> Result<Verification, StoreError> {
        verify(&mut self.readers.acquire().await?, &self.writer_name, progress).await
    }

    /// The hash of the event at this place in the trail, as it is stored.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer, or holds no hash there.
    pub async fn hash_of_event(&self, seq: i64) -> Result<Option<[u8; 32]>, StoreError> {
        let select = sql::query_scalar::<Vec<u8>>("SELECT hash FROM audit WHERE seq = $1").bind(seq);
        let hash = select.fetch_optional(&self.readers).await?.map(|hash| hash.try_into());
        hash.transpose().map_err(|_| StoreError::damaged(format!("event {seq}")))
    }
}

/// Checks the whole trail of the chain `writer`, wherever it is; see [`Store::verify`].
pub async fn verify(
    connection: &mut Connection<'_>,
    writer: &str,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verification, StoreError> {
    let count = sql::query("SELECT COUNT(*) FROM audit").patiently();
    let total: i64 = count.fetch_one(&mut *connection).await?.try_get(0)?;
    let total = u64::try_from(total).unwrap_or(0);
    let (mut head, mut events) = (Head::START, 0u64);
    // Where the trail begins, and where it says that it does.
    let (mut start, mut told) = (Head::START, Head::START);
    let newest = |head: Head| {
        (head != Head::START).then(|| Newest { writer: writer.to_owned(), seq: head.seq, hash: head.hash })
    };
    let broken = |events, head, broken| {
        let chains = u64::from(total > 0);
        Ok(Verification {
            ok: false,
            events,
            chains,
            dropped: 0,
            newest: newest(head),
            first_broken: Some(broken),
        })
    };
    loop {
        let select = "SELECT seq, at, kind, call_id, agent, service, action, result, rec, hash FROM audit \
                      WHERE seq >= $1 ORDER BY seq LIMIT $2";
        // Nothing may stand before the first event, so the first page has no lower end.
        let from = if events == 0 { i64::MIN } else { head.seq + 1 };
        let page = sql::query(select).bind(from).bind(PAGE).fetch_all(&mut *connection).await?;
        let last = i64::try_from(page.len()).unwrap_or(0) < PAGE;
        if let (0, Some(first)) = (events, page.first()) {
            start = before(first).unwrap_or(Head::START);
            head = start;
        }
        for row in &page {
            match check(row, writer, head, &mut told) {
                Ok(next) => head = next,
                Err(why) => return broken(events, head, describe(row, writer, head.seq + 1, why)),
            }
            events += 1;
        }
        progress(events, total.max(events));
        if last {
            break;
        }
    }
    if start != told {
        let why = format!(
            "it is missing, and nothing says that it was dropped; the first one there is {}",
            start.seq + 1
        );
        let seq = told.seq.min(start.seq) + 1;
        return broken(0, Head::START, Broken { writer: writer.to_owned(), seq, at: None, kind: None, why });
    }
    let chains = u64::from(events > 0);
    let dropped = u64::try_from(start.seq).unwrap_or(0);
    Ok(Verification { ok: true, events, chains, dropped, newest: newest(head), first_broken: None })
}

/// What the first event that is there follows, where it is not the first of all.
fn before(first: &Row) -> Option<Head> {
    let seq = first.try_get::<i64>(0).ok().filter(|seq| *seq > 1)?;
    let record: Record<'_> = serde_json::from_str(first.try_get(8).ok()?).ok()?;
    Some(Head { seq: seq - 1, hash: hex(&record.prev)? })
}

/// `expected` is where the chain breaks: a missing event is named, not the one that stands in its place.
fn describe(row: &Row, writer: &str, expected: i64, why: String) -> Broken {
    let seq = row.try_get(0).unwrap_or(expected).min(expected);
    let here = row.try_get::<i64>(0).is_ok_and(|found| found == seq);
    let at = row.try_get(1).ok().and_then(time).filter(|_| here);
    let kind = row.try_get(2).ok().filter(|_| here);
    Broken { writer: writer.to_owned(), seq, at, kind, why }
}

/// The members of a record that columns are copied from.
#[derive(Deserialize)]
struct Record<'r> {
    seq: i64,
    #[serde(borrow)]
    writer: Cow<'r, str>,
    #[serde(borrow)]
    prev: Cow<'r, str>,
    #[serde(borrow)]
    at: Cow<'r, str>,
    #[serde(borrow)]
    kind: Cow<'r, str>,
    #[serde(borrow)]
    call_id: Option<Cow<'r, str>>,
    #[serde(borrow)]
    agent: Option<Cow<'r, str>>,
    #[serde(borrow)]
    service: Option<Cow<'r, str>>,
    #[serde(borrow)]
    action: Option<Cow<'r, str>>,
    #[serde(borrow)]
    result: Option<Cow<'r, str>>,
    /// Of an event that tells what was dropped: the last one's hash.
    #[serde(borrow)]
    digest: Option<Cow<'r, str>>,
    args: Option<&'r RawValue>,
}

impl Record<'_> {
    /// What was dropped, where it tells that.
    fn dropped(&self) -> Option<Head> {
        #[derive(Deserialize)]
        struct Args {
            through: i64,
        }
        if self.kind != Kind::System.as_str() || self.action.as_deref() != Some(retain::ACTION) {
            return None;
        }
        let args: Args = serde_json::from_str(self.args?.get()).ok()?;
        Some(Head { seq: args.through, hash: hex(self.digest.as_deref()?)? })
    }
}

/// `told` becomes what the event tells of dropped ones, if it does.
fn check(row: &Row, writer: &str, head: Head, told: &mut Head) -> Result<Head, String> {
    let seq: i64 = row.try_get(0).map_err(|_| "its place cannot be read")?;
    let expected = head.seq + 1;
    if seq > expected {
        return Err(format!("it is missing; the next one there is {seq}"));
    }
    if seq < expected {
        return Err("it stands before the first event".to_owned());
    }
    let text: &str = row.try_get(8).map_err(|_| "its record cannot be read")?;
    let stored: &[u8] = row.try_get(9).map_err(|_| "its hash cannot be read")?;
    let hash = hash_of(text);
    if stored != hash {
        return Err("its fields do not give its hash".to_owned());
    }
    let record: Record<'_> = serde_json::from_str(text).map_err(|_| "its record is not an event")?;
    if hex(&record.prev) != Some(head.hash) {
        return Err("it does not follow the event before it".to_owned());
    }
    if record.seq != seq || record.writer != writer {
        return Err("its record belongs to another place".to_owned());
    }
    if let Some(dropped) = record.dropped() {
        *told = dropped;
    }
    let at = record.at.parse::<Timestamp>().ok().map(micros);
    let derived: [(usize, &str, Option<&str>); 6] = [
        (2, "kind", Some(&record.kind)),
        (3, "call_id", record.call_id.as_deref()),
        (4, "agent", record.agent.as_deref()),
        (5, "service", record.service.as_deref()),
        (6, "action", record.action.as_deref()),
        (7, "result", record.result.as_deref()),
    ];
    if at.is_none() || row.try_get::<Option<i64>>(1).ok().flatten() != at {
        return Err("its column `at` says something else than its record".to_owned());
    }
    for (column, name, wanted) in derived {
        let wanted = wanted.map(|text| row.as_kept(text));
        if !row.try_get::<Option<&str>>(column).is_ok_and(|found| found == wanted.as_deref()) {
            return Err(format!("its column `{name}` says something else than its record"));
        }
    }
    Ok(Head { seq, hash })
}
