//! What several gateways on one Postgres and one Redis promise in bad weather, through their real binaries: one file a
//! promise. `docs/operations.md` has a table that names these tests.
//!
//! Each test has servers of its own from Debian's packages (`TOOLGATE_PEERS`, `cargo xtask test`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests may fail loudly, speak to servers of their own, and look at the clock"
)]

/// The stage of the behaviour tests; not all of it is played on here.
#[path = "../behaviour"]
#[allow(dead_code, unused_imports, reason = "shared with the behaviour tests")]
mod behaviour {
    pub mod harness;
}
mod a_call_asks_no_more_than_it_must;
mod clocks_may_differ;
mod limits_hold_without_their_server;
mod nothing_is_sent_unrecorded;
mod one_gateway_is_cut_off;
mod servers_prove_who_they_are;
mod stage;
mod what_is_withdrawn_ends_everywhere;
