//! Brotli (RFC 7932), without the large windows that were added later.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::{Damage, Step};

/// Undoes `br`. Its window is at most 16 MiB, and no larger than what the body says it needs.
pub(super) struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    complete: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let alloc = StandardAlloc::default;
        Self { state: Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())), complete: false }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damage> {
        if self.complete {
            return if input.is_empty() { Ok(Step::default()) } else { Err(Damage::Trailing) };
        }
        let (mut input_left, mut output_left) = (input.len(), output.len());
        let mut step = Step::default();
        let mut total = 0;
        let result = BrotliDecompressStream(
            &mut input_left,
            &mut step.read,
            input,
            &mut output_left,
            &mut step.written,
            output,
            &mut total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return Err(Damage::Corrupt),
            BrotliResult::ResultSuccess => self.complete = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(step)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }
}
