//! Drops the oldest events of the trail. The chain itself says so: an event names the last one that was dropped and
//! its hash, and is committed together with the deletion. Verification can then tell that nothing else was cut off.

use jiff::Timestamp;

use crate::sql::{self, Connection};
use crate::{Store, StoreError, row::micros};

/// The action of the event that tells of it.
pub const ACTION: &str = "audit.retain";

/// The oldest events of the trail, up to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oldest {
    /// The last of them.
    pub through: i64,
    /// Its hash, which the first event that stays holds as `prev`.
    pub hash: [u8; 32],
}

impl Store {
    /// The oldest events, at most `limit` of them, as far as all are from before `before`; `None`: none is. The newest event
    /// of the trail always stays.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer, or holds no hash there.
    pub async fn oldest_before(&self, before: Timestamp, limit: u32) -> Result<Option<Oldest>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let ends = "SELECT (SELECT min(seq) FROM audit), (SELECT max(seq) FROM audit)";
        let row = sql::query(ends).fetch_one(&mut connection).await?;
        let (Some(first), Some(newest)) = (row.try_get::<Option<i64>>(0)?, row.try_get::<Option<i64>>(1)?)
        else {
            return Ok(None);
        };
        let end = first.saturating_add(i64::from(limit)).min(newest);
        let young = "SELECT min(seq) FROM audit WHERE seq >= $1 AND seq < $2 AND at >= $3";
        let young = sql::query_scalar::<Option<i64>>(young).bind(first).bind(end).bind(micros(before));
        let through = young.fetch_one(&mut connection).await?.unwrap_or(end) - 1;
        let select = sql::query_scalar::<Vec<u8>>("SELECT hash FROM audit WHERE seq = $1").bind(through);
        let Some(hash) = select.fetch_optional(&mut connection).await? else { return Ok(None) };
        let hash = hash.try_into().map_err(|_| StoreError::damaged(format!("event {through}")))?;
        Ok(Some(Oldest { through, hash }))
    }
}

/// Drops them, if the last of them is there and has this hash.
pub async fn drop_oldest(connection: &mut Connection<'_>, oldest: Oldest) -> Result<bool, StoreError> {
    let delete = "DELETE FROM audit WHERE seq <= $1 AND EXISTS (SELECT 1 FROM audit WHERE seq = $1 AND hash = $2) \
                  AND EXISTS (SELECT 1 FROM audit WHERE seq > $1)";
    let query = sql::query(delete).bind(oldest.through).bind(oldest.hash.to_vec());
    Ok(query.execute(connection).await? > 0)
}
