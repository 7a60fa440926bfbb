//! MCP session ids of ours: sealed tokens that say whose session it is, so that no table is needed and
//! nobody else's session can be used or guessed.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{
    Secret,
    cipher::{KEY, Key, bind},
    random,
};

const FORMAT: u8 = 1;

/// Seals and opens session ids. Cheap to clone and to use: AES-256-GCM over some dozen bytes.
///
/// Its key is random and lies sealed in the store, as the pepper does, so that sessions outlive a new term of the
/// key ring and a new root key.
#[derive(Clone)]
pub struct SessionSealer(Arc<Key>);

impl SessionSealer {
    /// 256 random bits for a new install.
    #[must_use]
    pub fn generate() -> Secret {
        Secret::new(Zeroizing::new(random::bytes::<KEY>()).to_vec())
    }

    /// Prepares an opened session key; `None` when it is not 256 bits.
    #[must_use]
    pub fn new(secret: &Secret) -> Option<Self> {
        let bytes: &[u8; KEY] = secret.reveal().try_into().ok()?;
        Some(Self(Arc::new(Key::new(bytes))))
    }

    /// A token of base64url characters (RFC 4648 §5, no padding): visible ASCII, as MCP wants session ids.
    #[must_use]
    pub fn seal(&self, plaintext: &[u8]) -> String {
        let mut sealed = vec![FORMAT];
        self.0.seal(&aad(), plaintext, &mut sealed);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// What was sealed; `None` for everything that this session key did not seal.
    #[must_use]
    pub fn open(&self, token: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (format, sealed) = bytes.split_first()?;
        if *format != FORMAT {
            return None;
        }
        self.0.open(&aad(), sealed).map(|opened| opened.to_vec())
    }
}

fn aad() -> Vec<u8> {
    bind(FORMAT, &[b"mcp session"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> SessionSealer {
        SessionSealer::new(&Secret::new(vec![byte; 32])).unwrap()
    }

    #[test]
    fn a_token_opens_where_it_was_sealed_and_nowhere_else() {
        let (sealer, other) = (sealer(1), sealer(2));
        for plain in [&b""[..], b"agent\0service\0session", &[0xff; 300]] {
            let token = sealer.seal(plain);
            assert!(token.bytes().all(|b| b.is_ascii_graphic()));
            assert_eq!(sealer.open(&token).unwrap(), plain);
            assert!(other.open(&token).is_none());
            assert_ne!(token, sealer.seal(plain), "two sessions never share an id");
        }
        assert!(SessionSealer::new(&Secret::new(vec![1; 31])).is_none());
    }

    #[test]
    fn an_altered_token_is_none() {
        let sealer = sealer(1);
        let token = sealer.seal(b"agent");
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(sealer.open(std::str::from_utf8(&bytes).unwrap()).is_none(), "{at}");
            assert!(sealer.open(token.get(..at).unwrap()).is_none());
        }
        assert!(sealer.open("ä not base64").is_none());
    }
}
