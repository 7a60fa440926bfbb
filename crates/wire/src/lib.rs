//! Floor 0: how foreign bytes are read. Strict readers for JSON, the JSON-RPC envelope, MCP methods, targets of
//! HTTP requests and server-sent events, and edits that leave every other byte as it came.
//! No I/O, no clock, no randomness of its own; a reader never guesses and never repairs.

pub mod canonical;
pub mod form;
pub mod graft;
pub mod hop;
pub mod http1;
pub mod json;
pub mod jsonrpc;
pub mod jws;
pub mod list;
pub mod malformed;
pub mod mask;
pub mod mcp;
pub mod percent;
pub mod sse;
pub mod target;

pub use json::{Limits, Raw};
pub use jsonrpc::{Message, Shape};
pub use malformed::{Excerpt, Malformed, Reason};
pub use target::{OddTargets, Target};
