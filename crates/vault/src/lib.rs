//! Floor 2: keys and secrets. Seals what the store keeps, hashes keys and passwords, and is the one place
//! that asks the machine for randomness. It does no I/O but reading and creating the key file.

mod key_file;
mod password;
mod pepper;
mod process;
pub mod random;
mod secret;
mod session;

use std::sync::Arc;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use thiserror::Error;
use zeroize::Zeroizing;

pub use key_file::{KeyFileFault, VaultKey};
pub use password::{HashFault, hash_password, verify_password};
pub use pepper::Pepper;
pub use process::harden_process;
pub use secret::Secret;
pub use session::SessionSealer;

/// The first byte of what [`Vault::seal`] makes; another number would be another format.
const FORMAT: u8 = 1;
const HEAD: usize = 1 + NONCE_LEN;

/// The opened vault: seals and opens, and hands out keys for single purposes.
///
/// Each purpose has its own key, derived from the root key by HKDF-SHA-256 (RFC 5869) with the purpose's
/// name as `info`; none of them tells anything about the others or the root.
pub struct Vault {
    sealing: LessSafeKey,
    sessions: Arc<LessSafeKey>,
}

/// A sealed text that does not open: altered, moved, cut, or sealed under another key. It does not say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a sealed value does not open with this vault key; it was altered, or belongs to another key")]
pub struct Unopened;

impl Vault {
    /// Opens the vault with its root key.
    #[must_use]
    pub fn new(root: &VaultKey) -> Self {
        Self {
            sealing: derive(root, b"toolgate/1 sealing"),
            sessions: Arc::new(derive(root, b"toolgate/1 session tokens")),
        }
    }

    /// Seals `plaintext` with AES-256-GCM (NIST SP 800-38D) under a random 96-bit nonce.
    ///
    /// `aad` says what the value is: install, purpose, name. It is bound, not stored; [`Vault::open`] must be
    /// told the same parts, so a sealed value cannot be moved to another name. Under one root key no more
    /// than 2^32 values may be sealed; nothing seals on a call's path.
    #[must_use]
    pub fn seal(&self, aad: &[&[u8]], plaintext: &[u8]) -> Vec<u8> {
        seal_with(&self.sealing, &bind(aad), plaintext)
    }

    /// Opens what [`Vault::seal`] made with the same parts.
    ///
    /// # Errors
    /// [`Unopened`] when any bit of `sealed` or of the parts differs.
    pub fn open(&self, aad: &[&[u8]], sealed: &[u8]) -> Result<Secret, Unopened> {
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let plain = open_with(&self.sealing, &bind(aad), &mut bytes).ok_or(Unopened)?;
        Ok(Secret::new(plain.to_vec()))
    }

    /// The sealer for MCP session ids.
    #[must_use]
    pub fn session_sealer(&self) -> SessionSealer {
        SessionSealer::new(self.sessions.clone())
    }
}

/// The parts, each after its length, so that no two lists of parts give the same bytes.
fn bind(parts: &[&[u8]]) -> Vec<u8> {
    let mut aad = vec![FORMAT];
    for part in parts {
        aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad
}

/// Format, nonce, ciphertext, tag.
fn seal_with(key: &LessSafeKey, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce = random::bytes::<NONCE_LEN>();
    let mut sealed = Vec::with_capacity(HEAD + plaintext.len() + AES_256_GCM.tag_len());
    sealed.push(FORMAT);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let (_, body) = sealed.split_at_mut(HEAD);
    let tag = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body);
    // GCM fails only for texts of 64 GiB and more. A value without its tag never opens, so nothing leaks.
    match tag {
        Ok(tag) => sealed.extend_from_slice(tag.as_ref()),
        Err(_) => sealed.clear(),
    }
    sealed
}

/// Opens in place; the plaintext is a part of `sealed`.
fn open_with<'s>(key: &LessSafeKey, aad: &[u8], sealed: &'s mut [u8]) -> Option<&'s [u8]> {
    let (head, body) = sealed.split_at_mut_checked(HEAD)?;
    let (format, nonce) = head.split_first()?;
    if *format != FORMAT {
        return None;
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    key.open_in_place(nonce, Aad::from(aad), body).ok().map(|plain| &*plain)
}

fn derive(root: &VaultKey, purpose: &[u8]) -> LessSafeKey {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut bytes = Zeroizing::new([0u8; 32]);
    let extracted = Salt::new(HKDF_SHA256, b"toolgate vault").extract(root.reveal());
    let filled = extracted.expand(&[purpose], Length).and_then(|okm| okm.fill(&mut *bytes));
    // HKDF-SHA-256 refuses only outputs over 8,160 bytes and AES-256 only keys that are not 32 long; an
    // all-zero key must not be used whatever happens.
    assert!(filled.is_ok(), "HKDF gives 32 bytes");
    match UnboundKey::new(&AES_256_GCM, &*bytes) {
        Ok(key) => LessSafeKey::new(key),
        Err(_) => unreachable!("AES-256 takes 32 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vault(byte: u8) -> Vault {
        Vault::new(&VaultKey::from_bytes([byte; 32]))
    }

    #[test]
    fn a_sealed_value_opens_with_the_same_parts_only() {
        let vault = vault(1);
        let sealed = vault.seal(&[b"install", b"pepper", b"keys"], b"value");
        assert_eq!(vault.open(&[b"install", b"pepper", b"keys"], &sealed).unwrap().reveal(), b"value");
        let others: [&[&[u8]]; 5] = [
            &[],
            &[b"install", b"pepper", b"other"],
            &[b"installpepper", b"keys"],
            &[b"install", b"pepperkeys"],
            &[b"install", b"pepper", b"keys", b""],
        ];
        for other in others {
            assert!(vault.open(other, &sealed).is_err());
        }
    }

    #[test]
    fn another_root_key_opens_nothing() {
        let sealed = vault(1).seal(&[b"a"], b"value");
        assert!(vault(2).open(&[b"a"], &sealed).is_err());
    }

    #[test]
    fn the_format_stays_readable() {
        // Made with another implementation (Node's crypto): root key 32 × 0x07, HKDF-SHA-256 as above,
        // nonce 000102…0b, parts "install" and "pepper", plaintext "kept for years".
        let sealed =
            hex("01000102030405060708090a0b4b65cc1bf74861167266f93cf1ca852ebef80cdefa3795f7bd1db73d58e8");
        let opened = vault(7).open(&[b"install", b"pepper"], &sealed).unwrap();
        assert_eq!(opened.reveal(), b"kept for years");
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2).unwrap(), 16).unwrap())
            .collect()
    }

    proptest! {
        #[test]
        fn one_flipped_bit_or_a_cut_never_opens(plain in proptest::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let vault = vault(3);
            let sealed = vault.seal(&[b"x"], &plain);
            let mut altered = sealed.clone();
            altered[at.index(sealed.len())] ^= 1 << bit;
            prop_assert!(vault.open(&[b"x"], &altered).is_err());
            prop_assert!(vault.open(&[b"x"], &sealed[..at.index(sealed.len())]).is_err());
            let opened = vault.open(&[b"x"], &sealed).unwrap();
            prop_assert_eq!(opened.reveal(), &plain[..]);
        }
    }
}
