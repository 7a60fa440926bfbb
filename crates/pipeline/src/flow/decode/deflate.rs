//! DEFLATE (RFC 1951), in its zlib wrapping (RFC 1950) as `deflate` means it, or bare as some servers send it.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Damage, Step};

/// Undoes `deflate`; the first two bytes tell whether it is wrapped.
pub(super) struct Deflate {
    first: Option<u8>,
    inflate: Option<Inflate>,
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self { first: None, inflate: None }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damage> {
        if let Some(inflate) = &mut self.inflate {
            return inflate.step(input, output);
        }
        match (self.first, input) {
            (_, []) => Ok(Step::default()),
            (None, [first, ..]) => {
                self.first = Some(*first);
                Ok(Step { read: 1, written: 0 })
            }
            (Some(first), [second, ..]) => {
                // RFC 1950 section 2.2: method 8, and a check over both bytes.
                let wrapped = first & 15 == 8 && u16::from_be_bytes([first, *second]) % 31 == 0;
                let inflate = self.inflate.insert(Inflate::new(wrapped));
                // One byte is too short for a head and for a character alike: it gives nothing.
                inflate.step(&[first], output)?;
                inflate.step(input, output)
            }
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.inflate.as_ref().is_some_and(Inflate::is_complete)
    }
}

/// One DEFLATE stream.
pub(super) struct Inflate {
    decompress: Decompress,
    complete: bool,
}

impl Inflate {
    /// `wrapped`: with the head and checksum of zlib.
    pub(super) fn new(wrapped: bool) -> Self {
        Self { decompress: Decompress::new(wrapped), complete: false }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damage> {
        if self.complete {
            return if input.is_empty() { Ok(Step::default()) } else { Err(Damage::Trailing) };
        }
        let (read, written) = (self.decompress.total_in(), self.decompress.total_out());
        let status = self.decompress.decompress(input, output, FlushDecompress::None);
        self.complete = status.map_err(|_| Damage::Corrupt)? == Status::StreamEnd;
        // No more than the lengths of the slices, so they fit.
        let length = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
        Ok(Step {
            read: length(self.decompress.total_in(), read),
            written: length(self.decompress.total_out(), written),
        })
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }
}
