//! Takes over other gateways' changes as soon as the store announces them. This only makes things faster: the lease
//! relies on polling ([`crate::freshness`]).

use std::sync::Arc;

use crate::gateway::Gateway;

/// Listens for ever. Run it as a task of its own.
pub async fn run(gateway: Arc<Gateway>) {
    let mut changes = gateway.store.changes();
    loop {
        changes.next().await;
        gateway.approvals.tell();
        // A store that does not answer is told of by who polls it.
        let _ = gateway.freshness.refresh().await;
    }
}
