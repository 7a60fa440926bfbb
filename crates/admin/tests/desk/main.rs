//! What an operator does is checked, done and recorded, all three or none.
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
mod changes;
mod credentials;
mod install;
mod operators;
mod sessions;
mod vault;
