//! The trail, read call by call: which event of a call is its newest, and where in the trail a moment is. Every answer
//! looks at a bounded part of the trail, however long it is.

use jiff::Timestamp;

use crate::sql::{self};
use crate::{
    EventRow, Store, StoreError,
    events::{COLUMNS, event},
    row::micros,
};

/// The most calls that are asked about at once.
const CALLS_MAX: usize = 256;

/// The ends of the trail. Asked for together they would be looked for in all of it.
const ENDS: &str =
    "SELECT coalesce((SELECT min(seq) FROM audit), 1), coalesce((SELECT max(seq) FROM audit), 0)";
/// The first event from a place on.
const NEXT: &str = "SELECT seq, at FROM audit WHERE seq >= $1 ORDER BY seq LIMIT 1";

impl Store {
    /// The newest event's sequence number; 0 for an empty trail.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn newest_seq(&self) -> Result<i64, StoreError> {
        let select = "SELECT coalesce(max(seq), 0) FROM audit";
        Ok(sql::query_scalar(select).fetch_one(&self.readers).await?)
    }

    /// The first event that is not older than `moment`, found by halving; one past the newest where all are older.
    /// Events are in the order of their times but for what several tasks wrote within a moment.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn seq_at(&self, moment: Timestamp) -> Result<i64, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let row = sql::query(ENDS).fetch_one(&mut connection).await?;
        let (mut low, newest): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let mut high = newest.saturating_add(1);
        while low < high {
            let middle = low + (high - low) / 2;
            let query = sql::query(NEXT).bind(middle);
            let found = match query.fetch_optional(&mut connection).await? {
                Some(row) => Some((row.try_get::<i64>(0)?, row.try_get::<i64>(1)?)),
                None => None,
            };
            match found {
                Some((seq, at)) if at < micros(moment) => low = seq.saturating_add(1),
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }

    /// All events of these calls, at most 256 of them, in the order of the trail. A call has few events; one with
    /// very many is cut.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn events_of_calls(&self, ids: &[String]) -> Result<Vec<EventRow>, StoreError> {
        let ids = ids.get(..ids.len().min(CALLS_MAX)).unwrap_or_default();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let places = (1..=ids.len()).map(|place| format!("${place}")).collect::<Vec<_>>().join(",");
        let select = format!(
            "SELECT {COLUMNS} FROM audit WHERE call_id IN ({places}) AND call_id IS NOT NULL ORDER BY seq LIMIT 4096"
        );
        // Only places stand in the text.
        let mut query = sql::assembled(select);
        for id in ids {
            query = query.bind(id);
        }
        query.fetch_all(&self.readers).await?.iter().map(event).collect()
    }
}
