//! The road every call takes. Start at [`walk`](walk::walk); the gates are in [`gates`], in order.

pub mod arrival;
pub mod clock;
pub mod dial;
pub mod flow;
pub mod freshness;
pub mod gates;
pub mod gateway;
pub mod listing;
pub mod recorder;
pub mod session;
pub mod upstreams;
mod walk;

pub use arrival::{Arrival, Exchange, Origin, Presented, Reply};
pub use gateway::Gateway;
pub use walk::{turn_away, walk};
