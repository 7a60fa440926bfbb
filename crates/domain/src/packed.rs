//! How values become bytes to be sealed: numbers are big-endian, and anything of variable length follows its length
//! (`u32`).

/// Bodies and headers are far smaller than 4 GiB; a number that is not would be read as damaged, never as another one.
pub(crate) fn push_number(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

pub(crate) fn push_bytes(bytes: &mut Vec<u8>, pushed: &[u8]) {
    push_number(bytes, pushed.len());
    bytes.extend_from_slice(pushed);
}

pub(crate) fn take<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

pub(crate) fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let bytes: [u8; 4] = take(rest, 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

pub(crate) fn take_bytes<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = take_number(rest)?;
    take(rest, length)
}

/// Headers: how many, then names and values.
pub(crate) fn push_headers(bytes: &mut Vec<u8>, headers: &[(String, Vec<u8>)]) {
    push_number(bytes, headers.len());
    for (name, value) in headers {
        push_bytes(bytes, name.as_bytes());
        push_bytes(bytes, value);
    }
}

pub(crate) fn take_headers(rest: &mut &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut headers = Vec::new();
    for _ in 0..take_number(rest)? {
        headers.push((take_text(rest)?, take_bytes(rest)?.to_vec()));
    }
    Some(headers)
}

pub(crate) fn take_text(rest: &mut &[u8]) -> Option<String> {
    Some(std::str::from_utf8(take_bytes(rest)?).ok()?.to_owned())
}
