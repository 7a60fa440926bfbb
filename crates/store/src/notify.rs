//! The trail as an outbox: which of its events people are notified of, and how far each sink has been told.

use crate::sql::{self};
use crate::{
    EventRow, Store, StoreError,
    events::{COLUMNS, event},
};

/// Events that people may want to be notified of: held calls, decisions, the kill switch.
const TO_TELL: &str =
    "(kind IN ('held', 'decision') OR (kind = 'operator' AND action IN ('kill.on', 'kill.off')))";

/// What was appended to the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// The newest event; 0 when there is none.
    pub newest: i64,
    /// Whether something is among it that people are notified of.
    pub to_tell: bool,
}

impl Store {
    /// How far each of these sinks has been told, in their order. One that is new starts at the newest event; what is
    /// known of others is forgotten where no other gateway could have them, so that one that comes back is not flooded with what it missed.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; nothing is changed then.
    pub async fn notify_cursors(&self, sinks: &[String]) -> Result<Vec<i64>, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        let known: Vec<String> =
            sql::query_scalar("SELECT sink FROM notify_cursors").fetch_all(&mut transaction).await?;
        // On a server another gateway may have other sinks.
        let alone = matches!(self.place, crate::Place::File(_));
        for gone in known.iter().filter(|known| alone && !sinks.contains(known)) {
            let delete = "DELETE FROM notify_cursors WHERE sink = $1";
            sql::query(delete).bind(gone).execute(&mut transaction).await?;
        }
        let mut cursors = Vec::with_capacity(sinks.len());
        for sink in sinks {
            let insert = "INSERT INTO notify_cursors (sink, seq) \
                          VALUES ($1, (SELECT coalesce(max(seq), 0) FROM audit)) ON CONFLICT DO NOTHING";
            sql::query(insert).bind(sink).execute(&mut transaction).await?;
            let select = "SELECT seq FROM notify_cursors WHERE sink = $1";
            cursors.push(sql::query_scalar(select).bind(sink).fetch_one(&mut transaction).await?);
        }
        transaction.commit().await?;
        Ok(cursors)
    }

    /// How far one sink has been told; `None` where it is not known.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn notify_cursor(&self, sink: &str) -> Result<Option<i64>, StoreError> {
        let select = sql::query_scalar("SELECT seq FROM notify_cursors WHERE sink = $1").bind(sink);
        Ok(select.fetch_optional(&self.readers).await?)
    }

    /// Notes that a sink needs nothing up to `seq` any more. A cursor never goes back.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn advance_notify_cursor(&self, sink: &str, seq: i64) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let update = "UPDATE notify_cursors SET seq = $2 WHERE sink = $1 AND seq < $2";
        sql::query(update).bind(sink).bind(seq).execute(&mut writer.connection().await?).await?;
        Ok(())
    }

    /// What was appended after `seq`: one look at the new rows, cheap enough for several a second.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn news_after(&self, seq: i64) -> Result<News, StoreError> {
        let select = format!(
            "SELECT coalesce(max(seq), $1), count(CASE WHEN {TO_TELL} THEN 1 END) FROM audit WHERE seq > $1"
        );
        let row = sql::assembled(select).bind(seq).fetch_one(&self.readers).await?;
        Ok(News { newest: row.try_get(0)?, to_tell: row.try_get::<i64>(1)? != 0 })
    }

    /// The events after `seq` that people may want to be notified of, as they happened, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn events_to_tell(&self, seq: i64, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        let select =
            format!("SELECT {COLUMNS} FROM audit WHERE seq > $1 AND {TO_TELL} ORDER BY seq LIMIT $2");
        let query = sql::assembled(select).bind(seq).bind(limit);
        query.fetch_all(&self.readers).await?.iter().map(event).collect()
    }
}
