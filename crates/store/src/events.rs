//! The trail, read: filtered, page by page, with bounded memory.

use std::ops::ControlFlow;

use jiff::Timestamp;

use crate::sql::{self, Row};
use crate::{
    Store, StoreError,
    row::{micros, time},
};

/// Rows are read so many at a time.
const PAGE: u32 = 512;

/// What [`event`] reads.
pub const COLUMNS: &str = "seq, at, kind, call_id, agent, service, action, result, rec, hash";

/// Which events, in what order. Everything left at its default filters nothing.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Of this agent.
    pub agent: Option<String>,
    /// At this service.
    pub service: Option<String>,
    /// With this action, exactly.
    pub action: Option<String>,
    /// With this result, in the words of `X-Proxy-Status`.
    pub result: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// With a greater sequence number.
    pub after: Option<i64>,
    /// With a smaller sequence number.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: Option<u32>,
    /// In what order.
    pub order: Order,
}

/// The order of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As they happened.
    #[default]
    OldestFirst,
    /// The newest first.
    NewestFirst,
}

/// One event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its place in the chain, from 1.
    pub seq: i64,
    /// When it happened.
    pub at: Timestamp,
    /// The word for its kind.
    pub kind: String,
    /// The call it belongs to.
    pub call_id: Option<String>,
    /// Who called.
    pub agent: Option<String>,
    /// Which service.
    pub service: Option<String>,
    /// What was called, or what was changed.
    pub action: Option<String>,
    /// How the call ended.
    pub result: Option<String>,
    /// The whole event, to the byte: one JSON object.
    pub rec: String,
    /// The SHA-256 of `rec`.
    pub hash: [u8; 32],
}

impl EventRow {
    /// The event with its hash as the last member: what `audit export` and `--json` print.
    #[must_use]
    pub fn json(&self) -> String {
        let mut json = self.rec.strip_suffix('}').unwrap_or(&self.rec).to_owned();
        json.push_str(",\"hash\":\"");
        domain::audit::push_hex(&mut json, &self.hash);
        json.push_str("\"}");
        json
    }
}

/// What a start of a call's id names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfCall {
    /// No call.
    None,
    /// One call: its events in their order.
    One(Vec<EventRow>),
    /// Several calls; the first ten ids.
    Several(Vec<String>),
}

impl Store {
    /// The events that the query asks for, at once; give it a limit.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn events(&self, query: &Query) -> Result<Vec<EventRow>, StoreError> {
        let mut events = Vec::new();
        let push = |event| {
            events.push(event);
            ControlFlow::Continue(())
        };
        self.for_each_event(query, push).await?;
        Ok(events)
    }

    /// Hands over the events that the query asks for one by one, until `each` breaks off. Between pages no
    /// lock is held, so a slow reader stops nobody.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn for_each_event(
        &self,
        query: &Query,
        mut each: impl FnMut(EventRow) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut query = query.clone();
        let mut left = query.limit.unwrap_or(u32::MAX);
        while left > 0 {
            let size = left.min(PAGE);
            let page = self.page(&query, size).await?;
            let full = page.len() == size as usize;
            if let Some(last) = page.last() {
                match query.order {
                    Order::OldestFirst => query.after = Some(last.seq),
                    Order::NewestFirst => query.before = Some(last.seq),
                }
            }
            for event in page {
                if each(event).is_break() {
                    return Ok(());
                }
            }
            if !full {
                break;
            }
            left -= size;
        }
        Ok(())
    }

    /// The events of the call whose id starts with `start`, with or without `c_`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn events_of_call(&self, start: &str) -> Result<OfCall, StoreError> {
        let start = format!("c_{}", start.strip_prefix("c_").unwrap_or(start));
        // `~` comes after every character of an id.
        let select = "SELECT DISTINCT call_id FROM audit WHERE call_id >= $1 AND call_id < $2 ORDER BY call_id LIMIT 10";
        let ids: Vec<String> =
            sql::query_scalar(select).bind(&start).bind(format!("{start}~")).fetch_all(&self.readers).await?;
        let [id] = &*ids else {
            return Ok(if ids.is_empty() { OfCall::None } else { OfCall::Several(ids) });
        };
        let select = format!("SELECT {COLUMNS} FROM audit WHERE call_id = $1 ORDER BY seq LIMIT 1000");
        let rows = sql::assembled(select).bind(id).fetch_all(&self.readers).await?;
        Ok(OfCall::One(rows.iter().map(event).collect::<Result<_, _>>()?))
    }

    async fn page(&self, query: &Query, size: u32) -> Result<Vec<EventRow>, StoreError> {
        let texts = [
            ("agent", &query.agent),
            ("service", &query.service),
            ("action", &query.action),
            ("result", &query.result),
            ("kind", &query.kind),
        ];
        let numbers = [
            ("at >=", query.since.map(micros)),
            ("at <", query.until.map(micros)),
            ("seq >", query.after),
            ("seq <", query.before),
        ];
        let texts: Vec<_> =
            texts.into_iter().filter_map(|(column, text)| Some((column, text.as_ref()?))).collect();
        let numbers: Vec<_> =
            numbers.into_iter().filter_map(|(test, number)| Some((test, number?))).collect();
        let mut select = format!("SELECT {COLUMNS} FROM audit");
        let tests = texts
            .iter()
            .map(|(column, _)| format!("{column} ="))
            .chain(numbers.iter().map(|(test, _)| (*test).to_owned()));
        for (place, test) in (1..).zip(tests) {
            let joint = if place == 1 { "WHERE" } else { "AND" };
            select.push_str(&format!(" {joint} {test} ${place}"));
        }
        let direction = if query.order == Order::NewestFirst { "DESC" } else { "ASC" };
        select.push_str(&format!(" ORDER BY seq {direction} LIMIT {size}"));
        // Only words of this file are in the text; what callers ask for is bound.
        let mut select = sql::assembled(select);
        for (_, text) in &texts {
            select = select.bind(*text);
        }
        for (_, number) in &numbers {
            select = select.bind(*number);
        }
        select.fetch_all(&self.readers).await?.iter().map(event).collect()
    }
}

/// Reads a row of [`COLUMNS`].
pub fn event(row: &Row) -> Result<EventRow, StoreError> {
    let seq: i64 = row.try_get(0)?;
    let hash: &[u8] = row.try_get(9)?;
    let (Some(at), Ok(hash)) = (time(row.try_get(1)?), hash.try_into()) else {
        return Err(StoreError::damaged(format!("event {seq}")));
    };
    Ok(EventRow {
        seq,
        at,
        kind: row.try_get(2)?,
        call_id: row.try_get(3)?,
        agent: row.try_get(4)?,
        service: row.try_get(5)?,
        action: row.try_get(6)?,
        result: row.try_get(7)?,
        rec: row.try_get(8)?,
        hash,
    })
}
