//! Headers that belong to one connection and never travel further (RFC 9110 §7.6.1), whichever way they came.

/// The ones that belong to the connection whether `Connection` names them or not, in lower case.
pub const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The further ones that the values of `Connection` name, in lower case. What is no text names nothing.
pub fn named_by_connection<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Vec<String> {
    values
        .into_iter()
        .filter_map(|value| str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_names_headers_in_lists_on_several_lines() {
        let named = |values: &[&'static [u8]]| named_by_connection(values.iter().copied());
        assert_eq!(named(&[b"close, X-Hop ,,", b"x-other"]), ["close", "x-hop", "x-other"]);
        assert!(named(&[b"", b"x-\xff"]).is_empty());
    }
}
