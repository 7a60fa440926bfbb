//! Totals of the trail, counted once and kept, with a cursor that says how far they go. They are derived from the
//! trail alone.

use domain::audit::Kind;

use crate::{
    EventRow, Store, StoreError,
    events::{COLUMNS, event},
    sql::{self, Row},
};

/// How often something of one name happened in one span of time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// What is counted by: `result`, `agent`, `service` …
    pub what: &'static str,
    /// How long the span is (seconds).
    pub span: i64,
    /// The first second of the span, since 1970 UTC.
    pub start: i64,
    /// Which result, agent, service …
    pub name: String,
    /// How often.
    pub calls: i64,
}

impl Store {
    /// Up to which event the trail is counted.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn tallied(&self) -> Result<i64, StoreError> {
        let select = "SELECT seq FROM tally_cursor WHERE only_one = 1";
        Ok(sql::query_scalar(select).fetch_one(&self.readers).await?)
    }

    /// The events after `after` up to `last` that figures are made of. That a call was sent is none of them: its end is.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn events_to_count(&self, after: i64, last: i64) -> Result<Vec<EventRow>, StoreError> {
        let select =
            format!("SELECT {COLUMNS} FROM audit WHERE seq > $1 AND seq <= $2 AND kind <> $3 ORDER BY seq");
        let query = sql::assembled(select).bind(after).bind(last).bind(Kind::Intent.as_str());
        query.fetch_all(&self.readers).await?.iter().map(event).collect()
    }

    /// Adds what was counted in the events after `from` up to `to`; whether nobody else counted them meanwhile.
    /// Nothing is added then.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; nothing is added then.
    pub async fn add_tallies(&self, from: i64, to: i64, tallies: &[Tally]) -> Result<bool, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        let update = "UPDATE tally_cursor SET seq = $2 WHERE only_one = 1 AND seq = $1";
        let moved = sql::query(update).bind(from).bind(to).execute(&mut transaction).await?;
        if moved == 0 {
            return Ok(false);
        }
        for tally in tallies {
            let insert = "INSERT INTO tallies (what, span, start, name, calls) VALUES ($1, $2, $3, $4, $5) \
                          ON CONFLICT (what, span, start, name) DO UPDATE SET calls = tallies.calls + $5";
            let query = sql::query(insert).bind(tally.what).bind(tally.span).bind(tally.start);
            query.bind(&tally.name).bind(tally.calls).execute(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The figures of each span from `since` (seconds) on: start, name, how often.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn tallies(
        &self,
        what: &str,
        span: i64,
        since: i64,
    ) -> Result<Vec<(i64, String, u64)>, StoreError> {
        let query = sql::query(TALLIES).bind(what).bind(span).bind(since);
        let rows = query.fetch_all(&self.readers).await?;
        let read = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?, count(row.try_get(2)?)));
        rows.iter().map(read).collect()
    }

    /// The figures of all spans from `since` (seconds) on together, the largest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn tally_sums(
        &self,
        what: &str,
        span: i64,
        since: i64,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let query = sql::query(SUMS).bind(what).bind(span).bind(since).bind(limit);
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, count(row.try_get(1)?)))).collect()
    }

    /// Drops figures of this span from before `before` (seconds).
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn drop_tallies(&self, span: i64, before: i64) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        for what in WHATS {
            let delete = "DELETE FROM tallies WHERE what = $1 AND span = $2 AND start < $3";
            let query = sql::query(delete).bind(what).bind(span).bind(before);
            query.execute(&mut writer.connection().await?).await?;
        }
        Ok(())
    }
}

/// Everything that is counted by.
const WHATS: [&str; 7] = ["result", "agent", "agent-refused", "service", "service-failed", "rule", "time"];

const TALLIES: &str = "SELECT start, name, calls FROM tallies WHERE what = $1 AND span = $2 AND start >= $3 ORDER BY start, name";

const SUMS: &str = "SELECT name, CAST(sum(calls) AS BIGINT) FROM tallies WHERE what = $1 AND span = $2 AND start >= $3 \
                    GROUP BY name ORDER BY 2 DESC, 1 LIMIT $4";

fn count(calls: i64) -> u64 {
    u64::try_from(calls).unwrap_or(0)
}
