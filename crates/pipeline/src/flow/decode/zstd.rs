//! Zstandard (RFC 8878): one frame after the other, without dictionaries.

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::{Damage, Step};

/// A window may be as large, as a power of two: 8 MiB, what RFC 9659 allows in HTTP.
const WINDOW_LOG_MAX: u32 = 23;

/// Undoes `zstd`.
pub(super) struct Zstd {
    /// None when there was no memory for it.
    context: Option<DCtx<'static>>,
    complete: bool,
}

impl Zstd {
    pub(super) fn new() -> Self {
        let context = DCtx::try_create().and_then(|mut context| {
            context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).is_ok().then_some(context)
        });
        Self { context, complete: false }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damage> {
        // The library counts calls without anything to do, and takes the sixteenth for an error.
        if self.complete && input.is_empty() {
            return Ok(Step::default());
        }
        let context = self.context.as_mut().ok_or(Damage::Corrupt)?;
        let mut source = InBuffer::around(input);
        let mut target = OutBuffer::around(output);
        let wanted = context.decompress_stream(&mut target, &mut source).map_err(|_| Damage::Corrupt)?;
        // Nothing is wanted, and nothing is left to be written: a frame has ended.
        self.complete = wanted == 0;
        Ok(Step { read: source.pos, written: target.pos() })
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }
}
