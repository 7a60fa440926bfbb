//! Where randomness comes from. Nothing else in the workspace asks the machine for it; whoever needs some
//! is handed it, so that decisions can be tested and replayed.

/// `N` bytes from the operating system's generator, fit for keys.
///
/// # Panics
/// When the machine gives none: there is no safe way on without randomness.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    #[expect(clippy::disallowed_methods, reason = "the one place that may ask the machine for randomness")]
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    assert!(filled.is_ok(), "the machine gives no random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_differ_from_one_call_to_the_next() {
        assert_ne!(super::bytes::<32>(), super::bytes::<32>());
    }
}
