//! Secrets in bytes that flow by: found in every form that encoders give them, and written over with `*`.
//! Never hands out a byte that may still turn out to belong to a secret, and never waits for any other.

mod forms;
mod skip;
#[cfg(test)]
mod tests;

use std::{mem, ops::Range, sync::Arc};

use aho_corasick::{
    Anchored,
    automaton::{Automaton, StateID},
    nfa::contiguous::NFA,
};
use bytes::{Bytes, BytesMut};

use self::skip::Skip;

/// Shorter secrets are not masked: they would be found where nobody wrote them.
pub const SECRET_BYTES_MIN: usize = 8;
/// Longer secrets are not accepted: what finds one takes about a thousand times its length of memory.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// What stands where a secret stood, once for each byte, so that lengths stay.
const MASK: u8 = b'*';

/// Finds secrets. Built once for each version of a credential; a clone is a reference.
///
/// A secret is found raw, in base64 and hex, percent-encoded, and as JSON and HTML write it; the table is in
/// `mask/forms.rs`. A second encoding inside the first is found where servers are known to do that. What an
/// upstream does to hide a secret on purpose is not found: it has the secret anyway.
///
/// Without `Debug`, because it holds the secrets.
#[derive(Clone)]
pub struct Masker(Arc<Finder>);

struct Finder {
    automaton: NFA,
    start: StateID,
    skip: Skip,
    /// How many bytes of a form each state has seen, ordered by state. What is not here has seen none.
    depths: Vec<(StateID, u32)>,
}

/// A secret cannot be masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret of {bytes} bytes is too long to be masked in answers; at most {SECRET_BYTES_MAX} bytes")]
pub struct TooLong {
    /// Its length, in bytes.
    pub bytes: usize,
}

impl Masker {
    /// A masker for all of `secrets` that it [covers](Self::covers); `None` when it covers none.
    ///
    /// # Errors
    /// [`TooLong`] when one has more than [`SECRET_BYTES_MAX`] bytes.
    pub fn new(secrets: &[&[u8]]) -> Result<Option<Self>, TooLong> {
        if let Some(bytes) = secrets.iter().map(|secret| secret.len()).find(|&len| len > SECRET_BYTES_MAX) {
            return Err(TooLong { bytes });
        }
        let forms: Vec<Vec<u8>> = secrets
            .iter()
            .filter(|secret| Self::covers(secret))
            .flat_map(|secret| forms::of(secret))
            .collect();
        if forms.is_empty() {
            return Ok(None);
        }
        // Without a prefilter: we walk the automaton ourselves.
        let too_many = || TooLong { bytes: forms.iter().map(Vec::len).sum() };
        let automaton = NFA::builder().prefilter(false).build(&forms).map_err(|_| too_many())?;
        let start = automaton.start_state(Anchored::No).map_err(|_| too_many())?;
        let mut depths = Vec::new();
        for form in &forms {
            let mut state = start;
            for (depth, &byte) in (1_u32..).zip(form) {
                state = automaton.next_state(Anchored::No, state, byte);
                depths.push((state, depth));
            }
        }
        depths.sort_unstable();
        depths.dedup();
        depths.shrink_to_fit();
        let skip = Skip::new(&forms);
        Ok(Some(Self(Arc::new(Finder { automaton, start, skip, depths }))))
    }

    /// Whether a secret is long enough to be masked where it is found.
    #[must_use]
    pub fn covers(secret: &[u8]) -> bool {
        secret.len() >= SECRET_BYTES_MIN
    }

    /// `bytes` with every secret masked, of the same length; `None` when there is none in it.
    #[must_use]
    pub fn mask(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut covered = Vec::new();
        self.0.walk(self.0.start, bytes, 0, &mut covered);
        if covered.is_empty() {
            return None;
        }
        let mut masked = bytes.to_vec();
        cover(&mut masked, 0, &covered);
        Some(masked)
    }
}

impl Finder {
    /// Walks on from `state` over `bytes`, which stand at `offset`, and adds what is covered by a form. Where nothing
    /// has begun, it goes to the next place where something may.
    /// `covered` stays ordered, and its ranges neither touch nor overlap.
    fn walk(
        &self,
        mut state: StateID,
        bytes: &[u8],
        offset: usize,
        covered: &mut Vec<Range<usize>>,
    ) -> StateID {
        let mut at = 0;
        loop {
            if state == self.start {
                at = self.skip.ahead(bytes, at);
            }
            let Some(&byte) = bytes.get(at) else { return state };
            at += 1;
            state = self.automaton.next_state(Anchored::No, state, byte);
            if self.automaton.is_match(state) {
                let end = offset + at;
                // What stood in front of `offset` and is not there any more was masked already.
                let mut start = end.saturating_sub(self.longest(state));
                while let Some(last) = covered.pop_if(|last| last.end >= start) {
                    start = start.min(last.start);
                }
                covered.push(start..end);
            }
        }
    }

    /// The length of the longest form that ends in `state`.
    fn longest(&self, state: StateID) -> usize {
        let automaton = &self.automaton;
        (0..automaton.match_len(state))
            .map(|index| automaton.pattern_len(automaton.match_pattern(state, index)))
            .max()
            .unwrap_or(0)
    }

    /// How many of the last bytes are the beginning of a form.
    fn depth(&self, state: StateID) -> usize {
        self.depths
            .binary_search_by_key(&state, |(state, _)| *state)
            .ok()
            .and_then(|at| self.depths.get(at))
            .map_or(0, |(_, depth)| *depth as usize)
    }
}

/// Masks those bytes of `part`, which stands at `offset`, that are covered.
fn cover(part: &mut [u8], offset: usize, covered: &[Range<usize>]) {
    for range in covered {
        let start = range.start.saturating_sub(offset);
        let end = range.end.saturating_sub(offset).min(part.len());
        if let Some(bytes) = part.get_mut(start..end) {
            bytes.fill(MASK);
        }
    }
}

/// Masks a stream, however it is cut.
///
/// Held back is only what is the beginning of a form and not masked yet: at most as many bytes as the longest
/// form has.
pub struct Stream {
    masker: Masker,
    state: StateID,
    held: Vec<u8>,
}

impl Stream {
    /// A stream at its start.
    #[must_use]
    pub fn new(masker: Masker) -> Self {
        let state = masker.0.start;
        Self { masker, state, held: Vec::new() }
    }

    /// Takes the next bytes, and gives what may go on: first of the bytes held back, then of `data`. Either may
    /// be empty. Where nothing is held and nothing found, `data` itself comes back, not a copy.
    pub fn push(&mut self, mut data: Bytes) -> [Bytes; 2] {
        let held = self.held.len();
        let total = held + data.len();
        let mut covered = Vec::new();
        let finder = &self.masker.0;
        self.state = finder.walk(self.state, &data, held, &mut covered);

        let mut free = total.saturating_sub(finder.depth(self.state));
        // What is masked will stay masked, whatever follows.
        if let Some(range) = covered.iter().find(|range| range.contains(&free)) {
            free = range.end;
        }
        if !covered.is_empty() {
            cover(&mut self.held, 0, &covered);
            let mut masked = BytesMut::from(data);
            cover(&mut masked, held, &covered);
            data = masked.freeze();
        }
        match free.checked_sub(held) {
            Some(free) => {
                let first = mem::take(&mut self.held);
                let second = data.split_to(free);
                self.held.extend_from_slice(&data);
                [first.into(), second]
            }
            None => {
                self.held.extend_from_slice(&data);
                [self.held.drain(..free).collect::<Vec<u8>>().into(), Bytes::new()]
            }
        }
    }

    /// How many bytes are held back.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// The end: what is held back was no secret. The stream is at its start again.
    pub fn finish(&mut self) -> Bytes {
        self.state = self.masker.0.start;
        mem::take(&mut self.held).into()
    }
}
