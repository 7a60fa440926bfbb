//! An access token as a request presented it.

use wire::jws::Jws;

use crate::key::minted::wipe;

/// A text in the shape of a JWT. It has no `Debug` and no `Display`, and is overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

impl AccessToken {
    /// Takes a text that has the shape; what it says is read later.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Jws::is_shape_of(text).then(|| Self(text.to_owned()))
    }

    /// The whole token, to be read and hashed.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Drop for AccessToken {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}
