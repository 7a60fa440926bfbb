//! Why a request cannot be read in exactly one way.

use wire::{Malformed, http1::HeadFault, mcp::HeaderMismatch};

/// Why a request cannot be read in exactly one way.
#[derive(Debug, Clone, PartialEq)]
pub enum Unreadable {
    /// The head is framed, or names its host and target, in a way that others read differently.
    Head(HeadFault),
    /// The body is not what the strict reader accepts.
    Body(Malformed),
    /// Headers of the newest protocol version are missing or say something else than the body.
    Headers(HeaderMismatch),
    /// The request asks for a protocol version that nobody here speaks.
    Version(String),
    /// Two different keys came in one request.
    TwoKeys,
    /// The body broke off, or took too long to arrive.
    CutOff,
    /// A request of the older protocol speaks to a service that keeps sessions, and names none.
    NoSession,
    /// A header that must stand alone came twice, or cannot be read.
    Header(String),
    /// Path, query or method of a request to an HTTP service.
    Target(String),
    /// The envelope of `POST /proxy`.
    Envelope(String),
    /// A header that asks for another method than the request's own.
    MethodOverride(String),
    /// A header that asks for another path than the request's own.
    PathOverride(String),
    /// The idempotency key is empty, too long, or not visible ASCII.
    IdempotencyKey,
    /// The stated intent is too long, or no text.
    Intent,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Head(fault) => write!(f, "{fault}"),
            Self::Body(malformed) => write!(f, "{malformed}"),
            Self::Headers(mismatch) => write!(f, "{mismatch}"),
            Self::Version(version) => {
                write!(f, "the protocol version `{}` is not supported", version.escape_default())
            }
            Self::TwoKeys => f.write_str("two different keys came in one request"),
            Self::CutOff => f.write_str("the body did not arrive whole and in time"),
            Self::NoSession => {
                f.write_str("the header `Mcp-Session-Id` is missing; `initialize` answers one")
            }
            Self::Header(name) => write!(f, "the header `{name}` came twice, or says what cannot be"),
            Self::Target(what) | Self::Envelope(what) => f.write_str(what),
            Self::MethodOverride(name) => {
                write!(f, "the header `{name}` asks for another method; send the method itself")
            }
            Self::PathOverride(name) => {
                write!(f, "the header `{name}` asks for another path; send the path itself")
            }
            Self::IdempotencyKey => f.write_str("an idempotency key is 1 to 255 visible ASCII characters"),
            Self::Intent => f.write_str("the intent is a text of at most 4 KiB"),
        }
    }
}
