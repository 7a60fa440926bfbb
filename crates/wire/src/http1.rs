//! Where the requests on an HTTP/1 connection end (RFC 9112), judged on the raw bytes: an HTTP library repairs
//! some of what it reads, and then nobody can see that another server would have read another request.

mod chunked;
mod head;

use chunked::Chunked;

/// Why the head of a request is refused. These are answered with 400, and nothing behind them is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// RFC 9112 §2.2 lets a server take a bare LF; some do, some do not.
    #[error("a line of its head ends in LF without CR")]
    BareLf,
    /// A line that is no `name: value`, like a folded one or one with a blank before the colon (RFC 9112 §5.1, §5.2).
    #[error("a line of its head is no header")]
    BadLine,
    /// Anything but HTTP/1.0 and HTTP/1.1 where HTTP/1 is spoken.
    #[error("its version is neither HTTP/1.0 nor HTTP/1.1")]
    BadVersion,
    /// RFC 9112 §6.3: two lengths, and servers differ on which one counts.
    #[error("it has both Content-Length and Transfer-Encoding")]
    TwoFramings,
    /// Even if they say the same.
    #[error("it has more than one Content-Length")]
    SeveralLengths,
    /// RFC 9110 §8.6: digits only.
    #[error("its Content-Length is no number")]
    BadLength,
    /// `chunked` is the only coding of a request that is read here (RFC 9112 §7).
    #[error("its Transfer-Encoding is not `chunked` alone")]
    BadCoding,
    /// RFC 9112 §3.2.
    #[error("it has no Host")]
    NoHost,
    /// RFC 9112 §3.2.
    #[error("it has more than one Host")]
    SeveralHosts,
    /// RFC 9112 §3.2.2 lets the target win; servers that look at the header do not know.
    #[error("its target names another host than its Host header")]
    OtherHost,
    /// RFC 3986 §2: a URI is ASCII.
    #[error("its target has characters that must be percent-encoded")]
    RawTarget,
    /// A connection that turns into another protocol cannot be judged.
    #[error("it asks for an upgrade to another protocol")]
    Upgrade,
}

/// The framing of a chunked body is broken (RFC 9112 §7.1), so the next request cannot be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunks of the body cannot be told apart")]
pub struct BadChunks;

/// How far the bytes of a connection may be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// All of them.
    All,
    /// So many. The rest is the beginning of a head: bring it again, with what comes behind it.
    Until(usize),
    /// So many; the head that starts there is refused, and whatever is behind it is lost.
    BadHead(usize, HeadFault),
    /// So many; the body that they belong to breaks there, and whatever is behind it is lost.
    BadBody(usize),
}

/// Follows the requests of one connection: head, body, next head.
///
/// It keeps no bytes. What it lets through it never changes; heads that are broken in ways that do not move the
/// end of a request are left to the HTTP library, which refuses them.
#[derive(Debug)]
pub struct Framing {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Head(head::Scan),
    /// Bytes of the body that are still to come.
    Length(u64),
    Chunked(Chunked),
}

impl Default for Framing {
    fn default() -> Self {
        Self { phase: Phase::Head(head::Scan::default()) }
    }
}

impl Framing {
    /// Reads on. After [`Followed::BadHead`] or [`Followed::BadBody`] there is nothing more to read.
    pub fn follow(&mut self, bytes: &[u8]) -> Followed {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return Followed::All;
            }
            match &mut self.phase {
                Phase::Head(scan) => match scan.end_of(rest).and_then(|end| judged(rest, end)) {
                    Ok(None) => return Followed::Until(at),
                    Ok(Some((end, phase))) => {
                        at += end;
                        self.phase = phase;
                    }
                    Err(fault) => return Followed::BadHead(at, fault),
                },
                Phase::Length(left) => {
                    let here = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= here as u64;
                    at += here;
                    if *left == 0 {
                        *self = Self::default();
                    }
                }
                Phase::Chunked(body) => match body.follow(rest) {
                    Ok(None) => return Followed::All,
                    Ok(Some(end)) => {
                        at += end;
                        *self = Self::default();
                    }
                    Err(BadChunks) => return Followed::BadBody(at),
                },
            }
        }
    }
}

/// What follows a head that ends there, if it ends.
fn judged(bytes: &[u8], end: Option<usize>) -> Result<Option<(usize, Phase)>, HeadFault> {
    let Some((end, head)) = end.and_then(|end| Some((end, bytes.get(..end)?))) else { return Ok(None) };
    Ok(Some(match head::body_of(head)? {
        head::Body::Length(0) => (end, Phase::Head(head::Scan::default())),
        head::Body::Length(length) => (end, Phase::Length(length)),
        head::Body::Chunked => (end, Phase::Chunked(Chunked::default())),
    }))
}

#[cfg(test)]
mod tests;
