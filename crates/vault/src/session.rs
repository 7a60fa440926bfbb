//! MCP session ids of ours: sealed tokens that say whose session it is, so that no table is needed and
//! nobody else's session can be used or guessed.

use std::sync::Arc;

use aws_lc_rs::aead::LessSafeKey;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{open_with, seal_with};

const PURPOSE: &[u8] = b"mcp session";

/// Seals and opens session ids. Cheap to clone and to use: AES-256-GCM over some dozen bytes.
#[derive(Clone)]
pub struct SessionSealer(Arc<LessSafeKey>);

impl SessionSealer {
    pub(crate) fn new(key: Arc<LessSafeKey>) -> Self {
        Self(key)
    }

    /// A token of base64url characters (RFC 4648 §5, no padding): visible ASCII, as MCP wants session ids.
    #[must_use]
    pub fn seal(&self, plaintext: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(seal_with(&self.0, PURPOSE, plaintext))
    }

    /// What was sealed; `None` for everything that this vault key did not seal.
    #[must_use]
    pub fn open(&self, token: &str) -> Option<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (start, length) = (crate::HEAD, open_with(&self.0, PURPOSE, &mut bytes)?.len());
        bytes.copy_within(start..start + length, 0);
        bytes.truncate(length);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Vault, VaultKey};

    #[test]
    fn a_token_opens_where_it_was_sealed_and_nowhere_else() {
        let sealer = Vault::new(&VaultKey::from_bytes([1; 32])).session_sealer();
        let other = Vault::new(&VaultKey::from_bytes([2; 32])).session_sealer();
        for plain in [&b""[..], b"agent\0service\0session", &[0xff; 300]] {
            let token = sealer.seal(plain);
            assert!(token.bytes().all(|b| b.is_ascii_graphic()));
            assert_eq!(sealer.open(&token).unwrap(), plain);
            assert!(other.open(&token).is_none());
            assert_ne!(token, sealer.seal(plain), "two sessions never share an id");
        }
    }

    #[test]
    fn an_altered_token_is_none() {
        let sealer = Vault::new(&VaultKey::from_bytes([1; 32])).session_sealer();
        let token = sealer.seal(b"agent");
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(sealer.open(std::str::from_utf8(&bytes).unwrap()).is_none(), "{at}");
            assert!(sealer.open(token.get(..at).unwrap()).is_none());
        }
        assert!(sealer.open("ä not base64").is_none());
    }

    #[test]
    fn a_sealed_value_is_no_session() {
        let vault = Vault::new(&VaultKey::from_bytes([1; 32]));
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let token = URL_SAFE_NO_PAD.encode(vault.seal(&[], b"x"));
        assert!(vault.session_sealer().open(&token).is_none());
    }
}
