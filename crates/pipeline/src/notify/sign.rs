//! Signatures of notifications, as Standard Webhooks 1.0 wants them: HMAC-SHA-256 over `id.timestamp.body`.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;
use zeroize::Zeroizing;

/// What secrets in the form of the standard begin with.
const PREFIX: &str = "whsec_";
/// The shortest secret that the standard allows (bytes).
const BYTES_MIN: usize = 24;

/// Signs notifications with one secret.
#[derive(Clone)]
pub struct Signer {
    key: hmac::Key,
    /// Whether the secret is shorter than the 24 bytes that the standard asks for.
    pub is_short: bool,
}

/// A text that is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadSecret {
    /// There is nothing in it.
    #[error("the secret is empty")]
    Empty,
    /// `whsec_` is followed by something else than base64.
    #[error("what follows `whsec_` is not base64")]
    NotBase64,
}

impl Signer {
    /// Takes a secret: `whsec_` and base64, as the standard writes it, or any other text, whose bytes are the key.
    ///
    /// # Errors
    /// [`BadSecret`].
    pub fn new(secret: &str) -> Result<Self, BadSecret> {
        let bytes = match secret.strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| BadSecret::NotBase64)?,
            None => secret.as_bytes().to_vec(),
        };
        let bytes = Zeroizing::new(bytes);
        if bytes.is_empty() {
            return Err(BadSecret::Empty);
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), is_short: bytes.len() < BYTES_MIN })
    }

    /// The value of `webhook-signature`. `id` has no full stop in it; `timestamp` is in seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_standard_says() {
        // Both computed with Python's `hmac` and `base64`.
        let signer = Signer::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        assert!(!signer.is_short);
        let signature = signer.sign("ev_1", 1_674_087_231, b"{\"a\":1}");
        assert_eq!(signature, "v1,7Cfrl+UgViUCIwtFucFdNphADF9j3VxggTVuyVOD4HA=");
        let plain = Signer::new("no base64, but long enough!").unwrap();
        assert_eq!(
            plain.sign("ev_1", 1_674_087_231, b"{\"a\":1}"),
            "v1,JLAp32iyjW2wfg939oGJJIN9r88MBsK+2eJUNyK9OI0="
        );
    }

    #[test]
    fn a_secret_is_something_that_can_be_read() {
        assert_eq!(Signer::new("").err(), Some(BadSecret::Empty));
        assert_eq!(Signer::new("whsec_").err(), Some(BadSecret::Empty));
        assert_eq!(Signer::new("whsec_?").err(), Some(BadSecret::NotBase64));
        assert!(Signer::new("short").unwrap().is_short);
    }
}
