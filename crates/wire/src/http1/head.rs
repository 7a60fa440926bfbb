//! The head of a request: where it ends, and how long it says its body is.

use super::HeadFault;

/// How far the end of a head was looked for.
#[derive(Debug, Default)]
pub(super) struct Scan {
    scanned: usize,
    line: usize,
    /// Blank lines may stand before the request line (RFC 9112 §2.2).
    begun: bool,
}

impl Scan {
    /// Where the head that starts with these bytes ends. Asked again, it goes on where it stopped.
    pub(super) fn end_of(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadFault> {
        while let Some(found) = bytes.get(self.scanned..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let lf = self.scanned + found;
            let line = bytes.get(self.line..lf).unwrap_or_default();
            let [text @ .., b'\r'] = line else { return Err(HeadFault::BareLf) };
            (self.scanned, self.line) = (lf + 1, lf + 1);
            match (text.is_empty(), self.begun) {
                (true, true) => return Ok(Some(lf + 1)),
                (true, false) => {}
                (false, _) => self.begun = true,
            }
        }
        self.scanned = bytes.len();
        Ok(None)
    }
}

/// How a head frames its body.
pub(super) enum Body {
    /// Bytes; none when the head says nothing.
    Length(u64),
    Chunked,
}

/// Reads a whole head, whose lines all end in CR LF.
pub(super) fn body_of(head: &[u8]) -> Result<Body, HeadFault> {
    let lines = head.split(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\r"));
    let mut lines = lines.filter(|line| !line.is_empty());
    let version = lines.next().and_then(|line| line.rsplit(|byte| *byte == b' ').next());
    if !matches!(version, Some(b"HTTP/1.1" | b"HTTP/1.0")) {
        return Err(HeadFault::BadVersion);
    }
    let (mut length, mut coding) = (None, None);
    for line in lines {
        let colon = memchr::memchr(b':', line).ok_or(HeadFault::BadLine)?;
        let (name, value) = line.split_at(colon);
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(HeadFault::BadLine);
        }
        let value = || value.strip_prefix(b":").unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(value()).is_some() {
                return Err(HeadFault::SeveralLengths);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") && coding.replace(value()).is_some() {
            return Err(HeadFault::BadCoding);
        }
    }
    match (length, coding) {
        (None, None) => Ok(Body::Length(0)),
        (Some(digits), None) => number(digits).map(Body::Length).ok_or(HeadFault::BadLength),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked),
        (None, Some(_)) => Err(HeadFault::BadCoding),
        (Some(_), Some(_)) => Err(HeadFault::TwoFramings),
    }
}

/// Digits and nothing else; `u64::from_str` would take a plus.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
