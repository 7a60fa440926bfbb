//! What the trail tells of a store that took the place of another.

use jiff::Timestamp;
use serde_json::json;
use store::{Applied, Entry, Newest, Staged};

use crate::{Actor, AdminError, event};

/// Writes into a backup that is about to take the store's place that it does: where it ended, and where the store ended
/// that it replaces, as far as that could be read.
///
/// # Errors
/// [`AdminError::Store`].
pub async fn record_restore(staged: &Staged, actor: &Actor, now: Timestamp) -> Result<(), AdminError> {
    let end = |newest: &Option<Newest>| {
        newest.as_ref().map(|newest| {
            let mut hash = String::new();
            domain::audit::push_hex(&mut hash, &newest.hash);
            json!({ "writer": newest.writer, "seq": newest.seq, "hash": hash })
        })
    };
    let args = json!({ "from": end(&staged.trail.newest), "replaced": end(&staged.replaced), "in_doubt": staged.in_doubt });
    let entry = Entry { change: None, event: event(actor, now, "store.restore", &args) };
    match staged.store().append_and_tell(&[entry]).await?.pop() {
        Some(Applied::Failed(fault)) => Err(fault.into()),
        _ => Ok(()),
    }
}
