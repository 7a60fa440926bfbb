//! What every store must keep, whatever database is under it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    reason = "tests may fail loudly"
)]

mod approvals;
mod calls;
mod chain;
mod changes;
mod credentials;
mod idempotency;
mod kill;
mod notify;
mod opening;
mod operators;
mod reading;
mod sessions;
mod tampering;
mod tools;
mod vault;
mod world;
