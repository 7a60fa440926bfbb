//! Stands between a socket and hyper, and lets only sound HTTP/1 heads through to hyper. hyper accepts bare LF and
//! repairs a head with two framings; behind it nobody could see that there were two.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::http1::{BadChunks, Followed, Framing, HeadFault};

/// What hyper is given in place of a head that is refused. No client can bring this target to a door: see
/// [`is_stand_in`].
const STAND_IN: &str = "GET /\u{fffd} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const STAND_IN_TARGET: &str = "/\u{fffd}";

/// Why a connection's last head was refused, once one was.
pub(super) type Verdict = Arc<OnceLock<HeadFault>>;

/// Whether a request is the one that hyper was given in place of a refused head. A request before it on the same
/// connection cannot be taken for it and get through: targets outside ASCII are refused everywhere.
pub(super) fn is_stand_in<B>(request: &http::Request<B>) -> bool {
    request.uri().path() == STAND_IN_TARGET
}

/// A connection whose heads are judged before they are read.
///
/// Bytes that are good pass in the buffer they came in; only a head that arrives in pieces is kept until it is
/// whole, at most `head_bytes_max` of it: longer ones go on unfinished, and hyper answers 431.
pub(super) struct Guarded<S> {
    stream: S,
    framing: Framing,
    /// The beginning of a head, or what is to be read before the stream is asked again.
    held: Vec<u8>,
    /// How many bytes of `held` may go on.
    cleared: usize,
    head_bytes_max: usize,
    verdict: Verdict,
    ending: Ending,
}

/// What comes when everything that may be read was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// More.
    Open,
    /// Nothing.
    Closed,
    /// Nothing, though more arrives: what stands behind a refused head is thrown away.
    Refused,
    BadBody,
}

impl<S> Guarded<S> {
    /// Guards a connection whose first byte was not read yet.
    pub(super) fn new(stream: S, head_bytes_max: usize, verdict: Verdict) -> Self {
        let framing = Framing::default();
        Self { stream, framing, held: Vec::new(), cleared: 0, head_bytes_max, verdict, ending: Ending::Open }
    }

    /// Judges what was held and what came behind it.
    fn judge_held(&mut self) {
        let followed = self.framing.follow(&self.held);
        self.cleared = self.settle(followed, self.held.len());
        if self.ending == Ending::Refused {
            self.held.truncate(self.cleared);
            self.stand_in();
        } else if self.held.len() - self.cleared >= self.head_bytes_max {
            self.cleared = self.held.len();
            self.ending = Ending::Closed;
        }
    }

    /// How many of `bytes` bytes may go on, and what comes behind them.
    fn settle(&mut self, followed: Followed, bytes: usize) -> usize {
        match followed {
            Followed::All => bytes,
            Followed::Until(good) => good,
            Followed::BadHead(good, fault) => {
                // Only the first refusal counts, and there is only one.
                let _ = self.verdict.set(fault);
                self.ending = Ending::Refused;
                good
            }
            Followed::BadBody(good) => {
                self.ending = Ending::BadBody;
                good
            }
        }
    }

    fn stand_in(&mut self) {
        self.held.extend_from_slice(STAND_IN.as_bytes());
        self.cleared = self.held.len();
    }

    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let here = self.cleared.min(buf.remaining());
        buf.put_slice(self.held.get(..here).unwrap_or_default());
        self.held.drain(..here);
        self.cleared -= here;
        if self.held.is_empty() {
            // Most heads come whole: an idle connection keeps no memory for those that did not.
            self.held = Vec::new();
        }
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Throws away what arrives, so that closing the connection does not reset it before the answer is read.
    fn discard(&mut self, cx: &mut Context<'_>) {
        let mut scratch = [0; 1024];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                _ => return,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.cleared > 0 {
                this.hand_out(buf);
                return Poll::Ready(Ok(()));
            }
            match this.ending {
                Ending::Open => {}
                Ending::Closed => return Poll::Ready(Ok(())),
                Ending::Refused => {
                    // An end would make hyper drop the answer that is under way.
                    this.discard(cx);
                    return Poll::Pending;
                }
                Ending::BadBody => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, BadChunks)));
                }
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let come = buf.filled().get(before..).unwrap_or_default();
            if come.is_empty() {
                // What is left of a head cannot become one any more.
                this.ending = Ending::Closed;
                this.cleared = this.held.len();
            } else if this.held.is_empty() {
                let (followed, bytes) = (this.framing.follow(come), come.len());
                let good = this.settle(followed, bytes);
                if this.ending == Ending::Refused {
                    this.stand_in();
                } else if this.ending == Ending::Open {
                    this.held.extend_from_slice(come.get(good..).unwrap_or_default());
                }
                buf.set_filled(before + good);
                if good > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                this.held.extend_from_slice(come);
                buf.set_filled(before);
                this.judge_held();
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ending != Ending::Open {
            this.discard(cx);
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
