//! The road every call takes. Start at [`walk`](walk::walk); the gates are in [`gates`], in order.

pub mod approvals;
mod arguments;
pub mod arrival;
pub mod budget;
pub mod clock;
pub mod credentials;
pub mod dial;
pub mod digest;
pub mod dispatcher;
mod edit;
pub mod flow;
pub mod freshness;
pub mod gates;
pub mod gateway;
pub mod idempotency;
pub mod issuers;
mod leave;
pub mod listing;
pub mod lists;
pub mod notify;
pub mod pushed;
pub mod recorder;
pub mod risk;
mod second_look;
pub mod session;
pub mod timings;
pub mod tools;
pub mod traces;
pub mod upstreams;
mod walk;

pub use arrival::{ApiRequest, Arrival, CallBody, Exchange, Presented, Repeat, Reply};
pub use gates::g50_assess_risk::Foretold;
pub use gateway::Gateway;
pub use listing::{CACHED_MS_MAX, WAIT_TOOL, wait_tool};
pub use second_look::changes_since;
pub use walk::{attend, foretell, inquire, refuse, turn_away, walk};
