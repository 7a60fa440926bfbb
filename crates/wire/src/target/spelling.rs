//! Which spellings of a path and a query are accepted. A fault comes with the offset of its first byte.

use super::{OddTargets, TargetFault};
use crate::malformed::Excerpt;

type Checked = Result<(), (usize, TargetFault)>;

/// RFC 3986 §3.3: what a path may hold besides letters, digits and escapes. `/` divides it.
const PATH_MARKS: &[u8] = b"/-._~!$&'()*+,;=:@";
/// What clients send unescaped all the same, and HTTP libraries carry.
const PATH_ODD_MARKS: &[u8] = b"\\\"[]^{|}";

pub(super) fn check_path(path: &str, odd: OddTargets) -> Checked {
    if !path.starts_with('/') {
        return Err((0, TargetFault::NotAbsolute));
    }
    let passes = odd == OddTargets::Pass;
    let raw = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || PATH_MARKS.contains(&byte)
            || (passes && PATH_ODD_MARKS.contains(&byte))
    };
    for token in tokens(path) {
        let (at, token) = token?;
        match token {
            Token::Raw(character) if is(character, raw) => {}
            Token::Raw(character) => return Err((at, raw_fault(character))),
            Token::Escape(byte, text) => check_escape(byte, text, passes).map_err(|fault| (at, fault))?,
        }
    }
    check_segments(path, passes)
}

pub(super) fn check_query(query: &str) -> Checked {
    let raw = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>".contains(&byte);
    for token in tokens(query) {
        match token? {
            (at, Token::Raw(character)) if !is(character, raw) => return Err((at, raw_fault(character))),
            _ => {}
        }
    }
    Ok(())
}

fn check_escape(byte: u8, text: &str, passes: bool) -> Result<(), TargetFault> {
    let excerpt = || Excerpt::of(text);
    match byte {
        0..=0x1f | 0x7f => Err(TargetFault::Control),
        _ if passes => Ok(()),
        b'/' | b'\\' | b'.' | b'%' => Err(TargetFault::Ambiguous(excerpt())),
        // RFC 3986 §2.3: equivalent to the character itself, and not to be escaped.
        b'-' | b'_' | b'~' => Err(TargetFault::Needless(excerpt())),
        _ if byte.is_ascii_alphanumeric() => Err(TargetFault::Needless(excerpt())),
        _ => Ok(()),
    }
}

fn check_segments(path: &str, passes: bool) -> Checked {
    let mut at = 1;
    let segments = path.strip_prefix('/').unwrap_or_default();
    for segment in segments.split('/') {
        // A path may end in a slash.
        let last = at + segment.len() == path.len();
        if segment.is_empty() && !last && !passes {
            return Err((at - 1, TargetFault::EmptySegment));
        }
        let decoded = decoded_to_the_end(segment);
        if str::from_utf8(&decoded).is_err() {
            return Err((at, TargetFault::NotUtf8));
        }
        if decoded.iter().any(u8::is_ascii_control) {
            return Err((at, TargetFault::Control));
        }
        if decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots) {
            return Err((at, TargetFault::DotSegment));
        }
        at += segment.len() + 1;
    }
    Ok(())
}

/// Whether some server takes the segment for `.` or `..`: Java drops `;…`, Windows drops blanks at the end.
fn is_dots(segment: &[u8]) -> bool {
    let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
    matches!(name.trim_ascii(), b"." | b"..")
}

/// The bytes that are left when escapes are decoded until there are none: some servers decode twice. What the
/// readings on the way say of dots, slashes and bytes that are no UTF-8, the last one says too.
fn decoded_to_the_end(segment: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(segment.len());
    for byte in segment.bytes() {
        decoded.push(byte);
        // What was decoded may end an escape itself.
        while let [.., b'%', high, low] = decoded.as_slice() {
            let Some((byte, _)) = escape(&[*high, *low]) else { break };
            decoded.truncate(decoded.len() - 3);
            decoded.push(byte);
        }
    }
    decoded
}

/// The byte that two hexadecimal digits stand for, and what follows them.
fn escape(digits: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(*high)? << 4 | digit(*low)?, rest))
}

enum Token<'t> {
    Raw(char),
    /// The byte that is meant, and how it is written.
    Escape(u8, &'t str),
}

/// Characters and escapes, each with its offset.
fn tokens(text: &str) -> impl Iterator<Item = Result<(usize, Token<'_>), (usize, TargetFault)>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let here = at;
        let rest = text.get(here..)?;
        let first = rest.chars().next()?;
        at += first.len_utf8();
        if first != '%' {
            return Some(Ok((here, Token::Raw(first))));
        }
        at += 2;
        let escaped = escape(rest.as_bytes().get(1..)?).zip(rest.get(..3));
        let token = escaped.map(|((byte, _), written)| (here, Token::Escape(byte, written)));
        Some(token.ok_or((here, TargetFault::BadEscape)))
    })
}

fn is(character: char, allowed: impl Fn(u8) -> bool) -> bool {
    u8::try_from(character).is_ok_and(|byte| byte.is_ascii() && allowed(byte))
}

fn raw_fault(character: char) -> TargetFault {
    TargetFault::Raw(Excerpt::of(character.encode_utf8(&mut [0; 4])))
}
