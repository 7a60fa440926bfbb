//! Bodies that flow through the gateway, and what is done to them on the way, in this order:
//! deadline → limit → decode → mask → edit → leash → closing. Nothing here buffers more than one frame of an
//! event stream, the window of a content coding, and the beginning of a secret.

mod begun;
mod closing;
mod deadline;
mod decode;
mod events;
mod hash;
mod leash;
mod limit;
mod mask;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use thiserror::Error;

pub(crate) use begun::begun;
pub(crate) use closing::Closing;
pub(crate) use deadline::Deadline;
pub(crate) use decode::{Coding, codings, decode};
pub(crate) use events::edit_events;
pub use hash::BodyHash;
pub(crate) use hash::Hash;
pub(crate) use leash::Leash;
pub(crate) use limit::Limit;
pub(crate) use mask::{Mask, mask_headers};

/// A body under way.
pub type Flow = UnsyncBoxBody<Bytes, Broken>;

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Broken {
    /// The client broke off its request, or took too long over it.
    #[error("the request's body did not arrive whole and in time")]
    Client,
    /// The other side broke off.
    #[error("the upstream broke off: {0}")]
    Upstream(String),
    /// The body did not end in time.
    #[error("the answer did not end in time")]
    TooSlow,
    /// The body is larger than it may be (bytes).
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
    /// A content coding cannot be undone.
    #[error("the answer cannot be decoded: {0}")]
    Coding(String),
    /// The answer must be held, and as many bytes of bodies as the gateway may hold are held.
    #[error("the answer cannot be held: the bodies that are held fill their bound")]
    Unheld,
    /// The caller lost the right to read on.
    #[error("the key, the agent or the scope has been withdrawn")]
    Withdrawn,
    /// The store did not confirm in time that the caller still has it.
    #[error("keys and policy could not be confirmed in time")]
    Unconfirmed,
    /// The kill switch was turned on.
    #[error("an operator has turned the kill switch on")]
    Stopped,
}

/// A body that ends in [`Broken::TooLarge`] at the first byte over the limit.
#[must_use]
pub fn limited(body: Flow, bytes_max: u64) -> Flow {
    Limit::new(body, bytes_max).boxed_unsync()
}

/// A body of known bytes.
#[must_use]
pub fn whole(bytes: impl Into<Bytes>) -> Flow {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
