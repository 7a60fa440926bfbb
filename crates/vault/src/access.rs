//! Access tokens of the console: JWTs (RFC 7519) under HS256 (RFC 7515), and the tokens that bind a write to its
//! session. The signing key is another one each day, made of one that never leaves the vault.
//!
//! There is one header that is taken, ours, compared as text: no token chooses how it is checked.

use std::sync::Arc;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{Secret, pepper::hmac_sha_256, random};

/// How long a signing key signs (seconds). What it has signed is taken for as long again.
const PERIOD: i64 = 86_400;

/// Signs and checks. Cheap to clone.
#[derive(Clone)]
pub struct AccessKeys(Arc<hmac::Key>);

impl AccessKeys {
    /// 256 random bits for a new install.
    #[must_use]
    pub fn generate() -> Secret {
        Secret::new(Zeroizing::new(random::bytes::<32>()).to_vec())
    }

    /// Prepares an opened key; `None` when it is not 256 bits.
    #[must_use]
    pub fn new(secret: &Secret) -> Option<Self> {
        let bytes = secret.reveal();
        (bytes.len() == 32).then(|| Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, bytes))))
    }

    /// Signs claims, a JSON object, at this moment (seconds since 1970).
    #[must_use]
    pub fn sign(&self, now: i64, claims: &str) -> String {
        let period = now.div_euclid(PERIOD);
        let mut token = header(period);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let tag = hmac::sign(&self.of_period(period), token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(tag.as_ref(), &mut token);
        token
    }

    /// The claims of a token that was signed with today's key or yesterday's; `None` for everything else. When it
    /// expires is among the claims, and the caller's to look at.
    #[must_use]
    pub fn open(&self, now: i64, token: &str) -> Option<Vec<u8>> {
        let (signed, tag) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let today = now.div_euclid(PERIOD);
        let period = [today, today.saturating_sub(1)].into_iter().find(|period| header(*period) == head)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.of_period(period), signed.as_bytes(), &tag).ok()?;
        URL_SAFE_NO_PAD.decode(claims).ok()
    }

    /// What a page of this session sends along with every write: only pages that we made for it know it.
    #[must_use]
    pub fn write_token(&self, session: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac_sha_256(&self.0, format!("toolgate write v1 {session}").as_bytes()))
    }

    /// Whether that is what came along. It takes as long whatever came.
    #[must_use]
    pub fn is_write_token(&self, session: &str, given: &str) -> bool {
        verify_slices_are_equal(self.write_token(session).as_bytes(), given.as_bytes()).is_ok()
    }

    fn of_period(&self, period: i64) -> hmac::Key {
        let bytes = hmac_sha_256(&self.0, format!("toolgate access v1 {period}").as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, &bytes)
    }
}

/// The only header that tokens of this period have.
fn header(period: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{period}"}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 20_780 * PERIOD;

    fn keys(byte: u8) -> AccessKeys {
        AccessKeys::new(&Secret::new(vec![byte; 32])).unwrap()
    }

    #[test]
    fn a_token_is_a_jwt_as_others_read_it() {
        // Signed with Python's `hmac`: HMAC(HMAC(32 × 0x05, "toolgate access v1 20780"), head + "." + claims).
        let token = keys(5).sign(DAY + 7, r#"{"sub":"ada@example.com"}"#);
        assert_eq!(token, EXPECTED);
        assert_eq!(keys(5).open(DAY + 9, &token).unwrap(), br#"{"sub":"ada@example.com"}"#);
    }

    const EXPECTED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjIwNzgwIn0.eyJzdWIiOiJhZGFAZXhhbXBsZS5jb20ifQ\
        .gb-1zZHG-3IE4OJB08q0KluCecDkv49tYT1HVK6mhHA";

    #[test]
    fn a_key_signs_for_a_day_and_is_taken_for_another() {
        let token = keys(1).sign(DAY, "{}");
        for (second, good) in [(0, true), (PERIOD * 2 - 1, true), (PERIOD * 2, false), (-1, false)] {
            assert_eq!(keys(1).open(DAY + second, &token).is_some(), good, "{second}");
        }
        assert!(keys(2).open(DAY, &token).is_none(), "another install");
    }

    #[test]
    fn an_altered_token_and_one_that_names_another_way_open_to_nothing() {
        let keys = keys(1);
        let token = keys.sign(DAY, r#"{"sub":"ada@example.com"}"#);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).unwrap();
            // The last character of a base64 text may have bits that nothing reads, and those must be zero.
            assert!(keys.open(DAY, &altered).is_none(), "{at}");
            assert!(keys.open(DAY, token.get(..at).unwrap()).is_none());
        }
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let claims = token.split('.').nth(1).unwrap();
        for forged in
            [format!("{none}.{claims}."), format!("{none}.{claims}"), format!("..{claims}"), String::new()]
        {
            assert!(keys.open(DAY, &forged).is_none(), "{forged}");
        }
    }

    #[test]
    fn a_write_token_belongs_to_one_session() {
        let token = keys(1).write_token("04106105");
        assert!(keys(1).is_write_token("04106105", &token));
        for (keys, session, given) in
            [(keys(1), "04106106", &*token), (keys(2), "04106105", &token), (keys(1), "04106105", "")]
        {
            assert!(!keys.is_write_token(session, given));
        }
    }
}
