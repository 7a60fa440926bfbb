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

    /// The bytes. Every use of this is a place to look at in review.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}
