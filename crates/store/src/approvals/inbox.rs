//! Approvals as the inbox lists them: what waits, most urgent first, and what was decided, page by page.

use domain::{
    approval::{Approval, Status},
    names::ApprovalId,
};
use jiff::Timestamp;

use super::row::{HELD_CALL, Value};
use crate::{Store, StoreError, row::micros};

/// Where a page of the inbox begins: behind this row.
pub type InboxCursor = (Timestamp, ApprovalId);

impl Store {
    /// The calls that wait for people, what ends first coming first.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn waiting(&self, after: Option<InboxCursor>, limit: u32) -> Result<Vec<Approval>, StoreError> {
        let limit = Value::Number(limit.into());
        let Some((decide_by, id)) = after else {
            let which = "WHERE status = 'pending' ORDER BY decide_by, id LIMIT ?";
            return self.select(which, &[limit]).await;
        };
        let which = "WHERE status = 'pending' AND (decide_by, id) > (?, ?) ORDER BY decide_by, id LIMIT ?";
        self.select(which, &[Value::Number(micros(decide_by)), Value::Text(id.as_str()), limit]).await
    }

    /// The calls that wait for nobody any more, or all in one status, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn decided(
        &self,
        status: Option<Status>,
        after: Option<InboxCursor>,
        limit: u32,
    ) -> Result<Vec<Approval>, StoreError> {
        let mut which = match status {
            Some(_) => "WHERE status = ?".to_owned(),
            None => "WHERE status <> 'pending'".to_owned(),
        };
        let mut values: Vec<Value<'_>> = status.iter().map(|status| Value::Text(status.as_str())).collect();
        if let Some((created_at, id)) = &after {
            which.push_str(" AND created_at <= ? AND (created_at, id) < (?, ?)");
            let at = micros(*created_at);
            values.extend([Value::Number(at), Value::Number(at), Value::Text(id.as_str())]);
        }
        which.push_str(" ORDER BY created_at DESC, id DESC LIMIT ?");
        values.push(Value::Number(limit.into()));
        self.select(&which, &values).await
    }

    /// The whole call as it was held, sealed, where that is at most `bytes` long.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn short_held_call(&self, id: &ApprovalId, bytes: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let select = "SELECT sealed FROM approval_bodies \
                      WHERE approval = $1 AND purpose = $2 AND length(sealed) <= $3";
        let query = sqlx::query_scalar(select).bind(id.as_str()).bind(HELD_CALL).bind(bytes);
        Ok(query.fetch_optional(&self.readers).await?)
    }
}
