//! A body whose content coding is undone on the way (RFC 9110 section 8.4). Memory is bounded, and so is how far a few
//! bytes may expand; whatever can be decoded is passed on without waiting for more.

mod brotli;
mod deflate;
mod gzip;
#[cfg(test)]
pub(super) mod tests;
mod zstd;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use self::{brotli::Brotli, deflate::Deflate, gzip::Gzip, zstd::Zstd};
use super::{Broken, Flow};

/// As many codings may be stacked. Nobody means more than one.
const CODINGS_MAX: usize = 2;
/// Up to here a body may grow as it likes, in bytes.
const GROWTH_FREE: u64 = 64 << 10;
/// Beyond that, a byte that was received may become as many.
const GROWTH_MAX: u64 = 100;
/// The size of the frames we make, in bytes.
const FRAME_BYTES: usize = 16 << 10;

/// A content coding that we can undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1952; also as `x-gzip`.
    Gzip,
    /// RFC 1950, and RFC 1951 bare, which some servers send under this name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with the window of RFC 9659.
    Zstd,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// The codings that `headers` name, in the order in which they were applied; `identity` is none.
///
/// # Errors
/// [`Broken::Coding`] for one we cannot undo, and for more than two.
pub(crate) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Broken> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let names = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        for name in names.split(',').map(|name| name.trim_matches([' ', '\t'])) {
            codings.push(match name {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "br" => Coding::Brotli,
                "zstd" => Coding::Zstd,
                _ => return Err(Broken::Coding(format!("`{}` is unknown here", name.escape_debug()))),
            });
        }
    }
    if codings.len() > CODINGS_MAX {
        return Err(Broken::Coding(format!("there are {} of them", codings.len())));
    }
    Ok(codings)
}

/// Undoes `codings`, the last one first. The body ends with [`Broken::TooLarge`] at the first byte over
/// `bytes_max`, and with [`Broken::Coding`] where it is damaged, cut off, or grows more than hundredfold (beyond
/// its first 64 KiB). An empty body is an empty body in every coding.
pub(crate) fn decode(inner: Flow, codings: &[Coding], bytes_max: u64) -> Flow {
    let received = Arc::new(AtomicU64::new(0));
    codings.iter().rev().enumerate().fold(inner, |inner, (stage, &coding)| {
        let coder = match coding {
            Coding::Gzip => Coder::Gzip(Gzip::new()),
            Coding::Deflate => Coder::Deflate(Deflate::new()),
            Coding::Brotli => Coder::Brotli(Brotli::new()),
            Coding::Zstd => Coder::Zstd(Zstd::new()),
        };
        Decode {
            inner,
            coding,
            coder,
            input: Bytes::new(),
            more: false,
            begun: false,
            trailers: None,
            ended: false,
            received: Arc::clone(&received),
            receives: stage == 0,
            produced: 0,
            bytes_max,
        }
        .boxed_unsync()
    })
}

/// Why a coder cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// The bytes are not what the coding allows.
    Corrupt,
    /// Bytes follow where the coding has ended.
    Trailing,
}

/// What one step took from its input and wrote to its output, in bytes. Neither means that it needs more input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Step {
    read: usize,
    written: usize,
}

enum Coder {
    Gzip(Gzip),
    Deflate(Deflate),
    Brotli(Brotli),
    Zstd(Zstd),
}

impl Coder {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damage> {
        match self {
            Self::Gzip(gzip) => gzip.step(input, output),
            Self::Deflate(deflate) => deflate.step(input, output),
            Self::Brotli(brotli) => brotli.step(input, output),
            Self::Zstd(zstd) => zstd.step(input, output),
        }
    }

    /// Whether the input may end here.
    fn is_complete(&self) -> bool {
        match self {
            Self::Gzip(gzip) => gzip.is_complete(),
            Self::Deflate(deflate) => deflate.is_complete(),
            Self::Brotli(brotli) => brotli.is_complete(),
            Self::Zstd(zstd) => zstd.is_complete(),
        }
    }
}

struct Decode {
    inner: Flow,
    coding: Coding,
    coder: Coder,
    input: Bytes,
    /// Whether the coder filled its last output, and so may have more without further input.
    more: bool,
    /// Whether any input came.
    begun: bool,
    trailers: Option<Frame<Bytes>>,
    ended: bool,
    /// What came from the upstream, in bytes: all stages of a body are measured by it.
    received: Arc<AtomicU64>,
    /// Whether this is the stage that counts it.
    receives: bool,
    produced: u64,
    bytes_max: u64,
}

impl Decode {
    /// The next bytes that can be had without more input.
    fn produce(&mut self) -> Result<Option<Bytes>, Broken> {
        if !self.more && self.input.is_empty() {
            return Ok(None);
        }
        let mut output = vec![0; FRAME_BYTES];
        let mut filled = 0;
        while self.more || !self.input.is_empty() {
            let room = output.get_mut(filled..).unwrap_or_default();
            let space = room.len();
            let step = self.coder.step(&self.input, room).map_err(|damage| self.broken(damage))?;
            self.input.advance(step.read.min(self.input.len()));
            filled += step.written;
            self.more = step.written == space;
            if self.more {
                break;
            }
            if step == Step::default() && !self.input.is_empty() {
                // No coder asks for more while it has input. If one did, we would turn in circles.
                return Err(self.broken(Damage::Corrupt));
            }
        }
        if filled == 0 {
            return Ok(None);
        }
        self.produced += filled as u64;
        if self.produced > self.bytes_max {
            return Err(Broken::TooLarge(self.bytes_max));
        }
        let allowed = self.received.load(Ordering::Relaxed).saturating_mul(GROWTH_MAX);
        if self.produced > allowed.max(GROWTH_FREE) {
            let name = self.coding.name();
            return Err(Broken::Coding(format!(
                "its `{name}` grows to more than {GROWTH_MAX} times its size"
            )));
        }
        output.truncate(filled);
        Ok(Some(output.into()))
    }

    fn receive(&mut self, data: Bytes) {
        if self.receives {
            self.received.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        self.begun |= !data.is_empty();
        self.input = data;
    }

    /// The end of the input, which must be the end of the coding.
    fn finish(&mut self) -> Result<(), Broken> {
        self.ended = true;
        if self.begun && !self.coder.is_complete() {
            return Err(Broken::Coding(format!("its `{}` ends in the middle", self.coding.name())));
        }
        Ok(())
    }

    fn broken(&self, damage: Damage) -> Broken {
        let name = self.coding.name();
        Broken::Coding(match damage {
            Damage::Corrupt => format!("its `{name}` is damaged"),
            Damage::Trailing => format!("something follows the end of its `{name}`"),
        })
    }
}

impl Body for Decode {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if self.ended {
                return Poll::Ready(self.trailers.take().map(Ok));
            }
            match self.produce() {
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Ok(None) => {}
                Err(broken) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(broken)));
                }
            }
            let ended = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.receive(data);
                        continue;
                    }
                    Err(trailers) => {
                        self.trailers = Some(trailers);
                        self.finish()
                    }
                },
                Some(Err(broken)) => {
                    self.ended = true;
                    Err(broken)
                }
                None => self.finish(),
            };
            if let Err(broken) = ended {
                self.trailers = None;
                return Poll::Ready(Some(Err(broken)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.ended {
            true => self.trailers.is_none(),
            false => !self.begun && self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
