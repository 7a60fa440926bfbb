//! Approvals as the inbox lists them: what waits, most urgent first, and what was decided, page by page.

use domain::{
    approval::{Approval, Status},
    names::ApprovalId,
};
use jiff::Timestamp;

use super::row::HELD_CALL;
use crate::{
    Store, StoreError,
    row::micros,
    sql::{self, Value},
};

/// Where a page of the inbox begins: behind this row.
pub type InboxCursor = (Timestamp, ApprovalId);

impl Store {
    /// The calls that wait for people, what ends first coming first.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn waiting(&self, after: Option<InboxCursor>, limit: u32) -> Result<Vec<Approval>, StoreError> {
        let limit = Value::from(limit);
        let Some((decide_by, id)) = after else {
            let which = "WHERE status = 'pending' ORDER BY decide_by, id LIMIT $1";
            return self.select(which, &[limit]).await;
        };
        let which = "WHERE status = 'pending' AND (decide_by, id) > ($1, $2) ORDER BY decide_by, id LIMIT $3";
        self.select(which, &[Value::from(micros(decide_by)), Value::from(id.as_str()), limit]).await
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
        let mut values = Vec::new();
        let mut which = match status {
            Some(status) => {
                values.push(Value::from(status.as_str()));
                "WHERE status = $1".to_owned()
            }
            None => "WHERE status <> 'pending'".to_owned(),
        };
        if let Some((created_at, id)) = &after {
            values.extend([Value::from(micros(*created_at)), Value::from(id.as_str())]);
            let (at, id) = (values.len() - 1, values.len());
            which.push_str(&format!(" AND created_at <= ${at} AND (created_at, id) < (${at}, ${id})"));
        }
        values.push(Value::from(limit));
        which.push_str(&format!(" ORDER BY created_at DESC, id DESC LIMIT ${}", values.len()));
        self.select(&which, &values).await
    }

    /// The whole call as it was held, sealed, where that is at most `bytes` long.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn short_held_call(&self, id: &ApprovalId, bytes: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let select = "SELECT sealed FROM approval_bodies \
                      WHERE approval = $1 AND purpose = $2 AND length(sealed) <= $3";
        let query = sql::query_scalar(select).bind(id.as_str()).bind(HELD_CALL).bind(bytes);
        Ok(query.fetch_optional(&self.readers).await?)
    }
}
