//! Bytes that must not be seen: overwritten when dropped, without `Debug`, `Display` and `Serialize`, so
//! that no log line and no answer can carry them by accident.

use zeroize::Zeroizing;

/// A secret value.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; the memory they were in before is the caller's to clean.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// An empty value with room for `bytes`: filled within that room, no copy is left behind by growing.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self::new(Vec::with_capacity(bytes))
    }

    /// The bytes, to be read into.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Drops one newline, LF or CRLF, at the end: the one that an editor or `echo` has put there.
    pub fn drop_last_newline(&mut self) {
        if self.0.ends_with(b"\n") {
            self.0.pop();
            if self.0.ends_with(b"\r") {
                self.0.pop();
            }
        }
    }

    /// The bytes. Every use of this is a place to look at in review.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}
