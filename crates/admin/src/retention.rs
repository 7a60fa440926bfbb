//! How long the trail is kept (`audit.retain`): what is older is dropped, a few events at a time, and the trail says so.

use std::time::Duration;

use domain::audit::{Event, Kind};
use jiff::Timestamp;
use serde_json::json;
use store::{Change, RETAIN};

use crate::{Admin, AdminError, redacted};

/// How many events are dropped at once: calls wait for the one who writes.
const BATCH: u32 = 1_000;
/// Events may become older than they are kept by this part of it. Else a quiet gateway would tell of each event it drops by
/// another one.
const SLACK: u32 = 32;

impl Admin {
    /// Whether there are events so much older than `kept` that it is time to drop some.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn has_old_events(&self, now: Timestamp, kept: Duration) -> Result<bool, AdminError> {
        let before = now.checked_sub(kept + kept / SLACK).unwrap_or(Timestamp::MIN);
        Ok(self.store.oldest_before(before, 1).await?.is_some())
    }

    /// Drops the oldest events, at most 1,000, that are older than `kept`; whether there may be more. Several gateways may do
    /// it at once: each event is dropped by one of them.
    ///
    /// # Errors
    /// [`AdminError::Store`]; nothing is dropped then.
    pub async fn drop_old_events(&self, now: Timestamp, kept: Duration) -> Result<bool, AdminError> {
        let before = now.checked_sub(kept).unwrap_or(Timestamp::MIN);
        let Some(oldest) = self.store.oldest_before(before, BATCH).await? else { return Ok(false) };
        let mut event = Event::new(now, Kind::System);
        event.action = Some(RETAIN.into());
        event.args = redacted(&json!({ "through": oldest.through }));
        event.digest = Some(oldest.hash);
        self.write(Change::DropOldest(oldest), event).await
    }
}
