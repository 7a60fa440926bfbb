//! Finding ends: of plain runs of a string, and of whole values in text that is already proven.
//! Only the plain run may be used on unproven bytes.

/// How many bytes from the start can stand in a string as they are: no quote, backslash or control character.
///
/// Strings are the bulk of most documents, and most are short: see [`short_run`]. Only a long run is worth the
/// wide blocks, which become vector instructions.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let mut run = short_run(bytes);
    if run == SHORT {
        let (blocks, _) = bytes.get(run..).unwrap_or_default().as_chunks::<64>();
        run += 64 * blocks.iter().take_while(|block| is_plain_block(block)).count();
    }
    let tail = bytes.get(run..).unwrap_or_default();
    run + tail.iter().position(|&byte| !is_plain(byte)).unwrap_or(tail.len())
}

/// The longest run that is looked for in words, in bytes.
const SHORT: usize = 64;

/// [`plain_run`] as far as whole words of eight bytes tell, and not beyond [`SHORT`]. A word is judged in one
/// register, which also tells the place.
#[inline]
pub(super) fn short_run(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let mut run = 0;
    for word in words.iter().take(SHORT / 8) {
        let special = specials(*word);
        if special != 0 {
            return run + first(special);
        }
        run += 8;
    }
    run
}

fn is_plain_block(block: &[u8; 64]) -> bool {
    block.iter().fold(0, |special, &byte| special | u8::from(!is_plain(byte))) == 0
}

const fn is_plain(byte: u8) -> bool {
    (byte != b'"') & (byte != b'\\') & (byte >= 0x20)
}

/// A word whose lowest set bit is the high bit of the first byte that is not plain; 0 when all are.
///
/// The classic test for a zero byte, three times. A borrow can only mark bytes after a true mark, so the
/// first mark is exact. Bytes of 0x80 and more are never marked.
const fn specials(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES * 0x80;
    let word = u64::from_le_bytes(word);
    let quote = word ^ (ONES * 0x22);
    let backslash = word ^ (ONES * 0x5c);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    ((quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash) | control) & HIGHS
}

const fn first(special: u64) -> usize {
    (special.trailing_zeros() / 8) as usize
}

/// The first place from `at` on that is not white space.
pub(super) fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Where the value that starts at `at` ends.
pub(super) fn value_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at),
        Some(b'{' | b'[') => container_end(bytes, at),
        _ => scalar_end(bytes, at),
    }
}

/// Where the string that opens at `at` ends, its closing quote included.
#[inline]
pub(super) fn string_end(bytes: &[u8], at: usize) -> usize {
    let inside = at + 1;
    let end = inside + short_run(bytes.get(inside..).unwrap_or_default());
    if bytes.get(end) == Some(&b'"') { end + 1 } else { long_string_end(bytes, end) }
}

/// The same from some place inside a string on.
#[inline(never)]
fn long_string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += plain_run(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') => return at + 1,
            // INVARIANT: a proven string has its closing quote, and nothing else ends a plain run.
            _ => return bytes.len(),
        }
    }
}

fn container_end(bytes: &[u8], mut at: usize) -> usize {
    let mut open = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' => {
                open = open.saturating_sub(1);
                if open == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn scalar_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
    at + rest.iter().position(ends).unwrap_or(rest.len())
}
