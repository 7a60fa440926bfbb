//! A signed token in its compact form (RFC 7515 §7.1), read strictly: three parts in canonical base64url, a header that
//! is one JSON object with nothing in it that must be understood. No signature is checked here.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;

use crate::json::{self, Limits, Raw};

/// The longest token that is looked at (bytes). The largest that providers make stay far below.
pub const BYTES_MAX: usize = 16 * 1024;
/// How deep header and claims may nest.
const DEPTH_MAX: u32 = 16;

/// Why a text is no such token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadJws {
    /// It is over [`BYTES_MAX`].
    #[error("it is too long")]
    TooLong,
    /// It does not have three parts of base64url as RFC 7515 §2 writes it.
    #[error("it is not three parts of base64url")]
    Parts,
    /// Its header is no JSON object that can be read in exactly one way, or lacks `alg`.
    #[error("its header cannot be read")]
    Header,
    /// Its header has extensions that must be understood (`crit`, RFC 7515 §4.1.11), or a payload that is not encoded
    /// (`b64`, RFC 7797).
    #[error("its header has extensions that must be understood")]
    Critical,
}

/// A token as it was read. Where it says its key could be fetched (`jku`, `x5u`, `jwk`, `x5c`) is not even kept.
pub struct Jws<'t> {
    signed: &'t str,
    algorithm: String,
    key_id: Option<String>,
    kind: Option<String>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Shows nothing of the token.
impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jws({} bytes)", self.signed.len())
    }
}

impl<'t> Jws<'t> {
    /// Whether a text has the shape of a token: three parts of the right letters, no longer than is looked at.
    #[must_use]
    pub fn is_shape_of(text: &str) -> bool {
        let letters = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let parts = text.split('.');
        text.len() <= BYTES_MAX && parts.clone().count() == 3 && { parts }.all(letters)
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`BadJws`]; nothing of the token is in it.
    pub fn read(text: &'t str) -> Result<Self, BadJws> {
        if text.len() > BYTES_MAX {
            return Err(BadJws::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(BadJws::Parts)?;
        let (header, payload) = signed.split_once('.').ok_or(BadJws::Parts)?;
        // Bits that nobody reads must be zero, so that no token has two spellings.
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| BadJws::Parts);
        let (header, payload, signature) = (decoded(header)?, decoded(payload)?, decoded(signature)?);
        if signature.is_empty() || payload.is_empty() {
            return Err(BadJws::Parts);
        }
        let header = object(&header).ok_or(BadJws::Header)?;
        if ["crit", "b64"].into_iter().any(|name| header.get(name).is_some()) {
            return Err(BadJws::Critical);
        }
        let text_of = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(|text| Some(text.into_owned())).ok_or(BadJws::Header),
        };
        let (algorithm, key_id, kind) = (text_of("alg")?, text_of("kid")?, text_of("typ")?);
        let algorithm = algorithm.ok_or(BadJws::Header)?;
        Ok(Self { signed, algorithm, key_id, kind, payload, signature })
    }

    /// What the signature is over.
    #[must_use]
    pub fn signed(&self) -> &'t str {
        self.signed
    }

    /// `alg`, as the token says it.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// `kid`, where the token names a key.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// `typ`, where the token says what it is.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// The signature's bytes.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The claims: one JSON object that can be read in exactly one way; `None` for anything else.
    #[must_use]
    pub fn claims(&self) -> Option<Raw<'_>> {
        object(&self.payload)
    }
}

fn object(bytes: &[u8]) -> Option<Raw<'_>> {
    json::read(bytes, &Limits { bytes: BYTES_MAX, depth: DEPTH_MAX }).ok().filter(|value| value.is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encoded(header), encoded(payload), encoded("signature"))
    }

    fn fault(text: &str) -> BadJws {
        Jws::read(text).unwrap_err()
    }

    #[test]
    fn a_token_reads_into_its_parts() {
        let text = token(r#"{"alg":"ES256","kid":"a","typ":"at+jwt","jku":"http://evil"}"#, r#"{"iss":"i"}"#);
        let jws = Jws::read(&text).unwrap();
        assert_eq!((jws.algorithm(), jws.key_id(), jws.kind()), ("ES256", Some("a"), Some("at+jwt")));
        assert_eq!(jws.claims().unwrap().text(), r#"{"iss":"i"}"#);
        assert_eq!((jws.signed(), jws.signature()), (text.rsplit_once('.').unwrap().0, &b"signature"[..]));
        assert!(Jws::is_shape_of(&text) && !format!("{jws:?}").contains("ey"));
    }

    #[test]
    fn whatever_could_be_read_twice_is_no_token() {
        let good = token(r#"{"alg":"RS256"}"#, "{}");
        for other in [
            "",
            "a",
            "a.b",
            "..",
            "a.b.c.d",
            &format!("{good}="),
            &format!("{good}.{good}"),
            &good.replacen("ey", "y", 1),
        ] {
            assert!(Jws::read(other).is_err(), "{other}");
        }
        for shape in ["", "a.b", "a..c", "a.b.c.d", "a.b.c d", "agt_1.2.3+"] {
            assert!(!Jws::is_shape_of(shape), "{shape}");
        }
        assert!(!Jws::is_shape_of(&format!("{}.b.c", "a".repeat(BYTES_MAX))));
        assert_eq!(fault(&format!("{}.b.c", "a".repeat(BYTES_MAX))), BadJws::TooLong);
        // The last letter has bits that nothing reads.
        assert_eq!(fault("eyJhbGciOiJSUzI1NiJ9.e31.YR"), BadJws::Parts);
        for header in [
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"kid":"a"}"#,
            r#"["RS256"]"#,
            r#"{"alg":1}"#,
            r#"{"alg":"RS256","kid":1}"#,
        ] {
            assert_eq!(fault(&token(header, "{}")), BadJws::Header, "{header}");
        }
        for header in [r#"{"alg":"RS256","crit":["exp"]}"#, r#"{"alg":"RS256","b64":false}"#] {
            assert_eq!(fault(&token(header, "{}")), BadJws::Critical, "{header}");
        }
        for payload in [r#"{"sub":"a","s\u0075b":"b"}"#, "[]", "{}{}", "\u{feff}{}"] {
            assert!(
                Jws::read(&token(r#"{"alg":"RS256"}"#, payload)).unwrap().claims().is_none(),
                "{payload}"
            );
        }
        assert_eq!(fault("eyJhbGciOiJub25lIn0.e30."), BadJws::Parts, "no signature at all");
    }
}
