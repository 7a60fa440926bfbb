//! Calls under an idempotency key, and what their answers say of it.

use super::Reply;

/// The header with the key.
pub const KEY: &str = "idempotency-key";
/// The header of the answer that says what became of it.
pub const STATUS: &str = "x-idempotency-status";

/// What the answer says of its key.
pub fn status(reply: &Reply) -> &str {
    reply.header(STATUS).unwrap_or_default()
}
