//! What a credential's value must look like before it is sealed, and how values with two parts are read. Errors never
//! contain any of the value.

use std::borrow::Cow;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ClientAuth, CredentialKind};

/// The longest value (bytes).
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Why a value does not do for its kind. It never holds a byte of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadValue {
    /// Nothing was given.
    #[error("the value is empty; give the value")]
    Empty,
    /// It is longer than 64 KiB.
    #[error("the value is longer than {VALUE_BYTES_MAX} bytes; give the value alone")]
    TooLong,
    /// It is not text.
    #[error("the value is not UTF-8 text; give it as text")]
    NotText,
    /// A line break, NUL or another control character (byte offset).
    #[error("the value has a line break or control character at byte {0}; give it on one line")]
    Control(usize),
    /// A NUL byte, which ends a variable of an environment (byte offset).
    #[error("the value has a NUL at byte {0}, which no environment can hold; give the value without it")]
    Nul(usize),
    /// Blanks before or behind it, which do not survive in a header.
    #[error("the value begins or ends with a blank, which is lost on the way; give it without")]
    OuterBlank,
    /// A blank inside a bearer token (RFC 6750 §2.1 has none).
    #[error("a bearer token has no blanks; give the token alone, without `Bearer`")]
    InnerBlank,
    /// No colon between user and password (RFC 7617 §2).
    #[error("the value is not `user:password`; give both, or name the user in `username`")]
    NoColon,
    /// The value of a refresh token is a JSON object of another shape.
    #[error("the value's JSON is not as it should be; give {{\"refresh_token\": …, \"client_secret\": …}}")]
    RefreshShape,
    /// The client authenticates itself, and no secret is there to do it with.
    #[error(
        "the client's secret is missing; give {{\"refresh_token\": …, \"client_secret\": …}}, or set `client_auth` to `none`"
    )]
    NoClientSecret,
    /// The value of an AWS credential is a JSON object of another shape.
    #[error(
        "the value's JSON is not as it should be; give {{\"secret_access_key\": …, \"session_token\": …}}"
    )]
    AwsShape,
    /// No certificate in PEM.
    #[error(
        "the value has no readable certificate; give the chain as `BEGIN CERTIFICATE` blocks, then the key"
    )]
    NoCertificate,
    /// No private key in PEM.
    #[error("the value has no readable private key; add its `BEGIN PRIVATE KEY` block")]
    NoPrivateKey,
    /// The private key is under a passphrase, which nobody could type later.
    #[error("the private key is encrypted; decrypt it first, such as with: openssl pkey -in KEY")]
    EncryptedKey,
}

/// Checks a value before it is sealed, without sending it anywhere. Whether a private key fits its certificate is
/// found out when the first connection is made.
///
/// # Errors
/// [`BadValue`] says what is wrong with it.
pub fn check_value(kind: &CredentialKind, value: &[u8]) -> Result<(), BadValue> {
    if value.is_empty() {
        return Err(BadValue::Empty);
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(BadValue::TooLong);
    }
    match kind {
        CredentialKind::Bearer => {
            let token = one_line(value)?;
            if token.contains([' ', '\t']) { Err(BadValue::InnerBlank) } else { Ok(()) }
        }
        // The encoding carries blanks; RFC 7617 §2 forbids control characters.
        CredentialKind::Basic { username } => {
            let text = without_controls(value)?;
            if username.is_none() && !text.contains(':') { Err(BadValue::NoColon) } else { Ok(()) }
        }
        CredentialKind::Header { .. } => one_line(value).map(drop),
        CredentialKind::Query { .. } => without_controls(value).map(drop),
        CredentialKind::Env => match value.iter().position(|byte| *byte == 0) {
            Some(at) => Err(BadValue::Nul(at)),
            None => Ok(()),
        },
        CredentialKind::Oauth2ClientCredentials(_) => one_line(value).map(drop),
        CredentialKind::Oauth2RefreshToken(client) => {
            let read = RefreshValue::read(value)?;
            // What the gateway itself adds is not for people to set.
            if read.set_as.is_some() {
                return Err(BadValue::RefreshShape);
            }
            if client.client_auth != ClientAuth::None && read.client_secret.is_none() {
                return Err(BadValue::NoClientSecret);
            }
            Ok(())
        }
        CredentialKind::AwsSigv4 { .. } => AwsValue::read(value).map(drop),
        CredentialKind::ClientCertificate => check_certificate(value),
    }
}

/// The value of an `oauth2_refresh_token`: the token alone, or a JSON object.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshValue<'a> {
    /// What new access tokens are asked for with.
    #[serde(borrow)]
    pub refresh_token: Cow<'a, str>,
    /// The client's secret, where the client has one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Cow<'a, str>>,
    /// The version that an operator set, in values that the gateway stored after the server gave out a new token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_as: Option<u64>,
}

impl<'a> RefreshValue<'a> {
    /// Reads a value.
    ///
    /// # Errors
    /// [`BadValue`] says what is wrong with it.
    pub fn read(value: &'a [u8]) -> Result<Self, BadValue> {
        let read: Self = if value.starts_with(b"{") {
            serde_json::from_slice(value).map_err(|_| BadValue::RefreshShape)?
        } else {
            Self { refresh_token: one_line(value)?.into(), client_secret: None, set_as: None }
        };
        for part in [Some(&read.refresh_token), read.client_secret.as_ref()].into_iter().flatten() {
            one_line(part.as_bytes())?;
        }
        Ok(read)
    }
}

/// The value of an `aws_sigv4`: the secret access key alone, or a JSON object with the session token of temporary
/// credentials.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsValue<'a> {
    /// What signatures are made with.
    #[serde(borrow)]
    pub secret_access_key: Cow<'a, str>,
    /// Goes along in `x-amz-security-token`.
    #[serde(borrow, default)]
    pub session_token: Option<Cow<'a, str>>,
}

impl<'a> AwsValue<'a> {
    /// Reads a value.
    ///
    /// # Errors
    /// [`BadValue`] says what is wrong with it.
    pub fn read(value: &'a [u8]) -> Result<Self, BadValue> {
        let read: Self = if value.starts_with(b"{") {
            serde_json::from_slice(value).map_err(|_| BadValue::AwsShape)?
        } else {
            Self { secret_access_key: one_line(value)?.into(), session_token: None }
        };
        for part in [Some(&read.secret_access_key), read.session_token.as_ref()].into_iter().flatten() {
            one_line(part.as_bytes())?;
        }
        Ok(read)
    }
}

/// Text that a header can carry as it is (RFC 9110 §5.5).
fn one_line(value: &[u8]) -> Result<&str, BadValue> {
    let text = without_controls(value)?;
    if text.is_empty() {
        return Err(BadValue::Empty);
    }
    if text.trim_matches([' ', '\t']).len() == text.len() { Ok(text) } else { Err(BadValue::OuterBlank) }
}

fn without_controls(value: &[u8]) -> Result<&str, BadValue> {
    if let Some(at) = value.iter().position(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
        return Err(BadValue::Control(at));
    }
    std::str::from_utf8(value).map_err(|_| BadValue::NotText)
}

fn check_certificate(value: &[u8]) -> Result<(), BadValue> {
    let text = std::str::from_utf8(value).map_err(|_| BadValue::NotText)?;
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(BadValue::EncryptedKey);
    }
    let mut certificates = 0;
    for certificate in CertificateDer::pem_slice_iter(value) {
        certificate.map_err(|_| BadValue::NoCertificate)?;
        certificates += 1;
    }
    if certificates == 0 {
        return Err(BadValue::NoCertificate);
    }
    PrivateKeyDer::from_pem_slice(value).map(drop).map_err(|_| BadValue::NoPrivateKey)
}

#[cfg(test)]
mod tests {
    use super::{super::OauthClient, *};
    use crate::service::UpstreamUrl;

    fn client(client_auth: ClientAuth) -> OauthClient {
        let token_url = UpstreamUrl::parse("https://auth.example.com/token").unwrap();
        OauthClient { token_url, client_id: "me".into(), scope: None, audience: None, client_auth }
    }

    fn aws() -> CredentialKind {
        CredentialKind::AwsSigv4 { access_key_id: "AKID".into(), region: "r".into(), service: "s".into() }
    }

    #[test]
    fn no_value_can_break_out_of_its_header() {
        let header = CredentialKind::Header { name: "x-key".into(), format: "{}".into() };
        let user = CredentialKind::Basic { username: Some("u".into()) };
        let of_client = CredentialKind::Oauth2ClientCredentials(client(ClientAuth::Basic));
        for kind in [CredentialKind::Bearer, header, user, of_client, aws()] {
            for bad in ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\u{1}abc", "abc\u{7f}"] {
                let Err(BadValue::Control(at)) = check_value(&kind, bad.as_bytes()) else {
                    panic!("{kind:?} {bad:?}")
                };
                assert!(bad.as_bytes()[at].is_ascii_control());
            }
            assert_eq!(check_value(&kind, b""), Err(BadValue::Empty));
            assert_eq!(check_value(&kind, &vec![b'a'; VALUE_BYTES_MAX + 1]), Err(BadValue::TooLong));
            assert_eq!(check_value(&kind, &vec![b'a'; VALUE_BYTES_MAX]), Ok(()));
            assert_eq!(check_value(&kind, b"\xff\xfe"), Err(BadValue::NotText));
            assert_eq!(check_value(&kind, "schlüssel\"%".as_bytes()), Ok(()));
        }
        assert_eq!(check_value(&CredentialKind::Bearer, b" token"), Err(BadValue::OuterBlank));
        assert_eq!(check_value(&CredentialKind::Bearer, b"Bearer token"), Err(BadValue::InnerBlank));
    }

    #[test]
    fn a_user_is_named_by_the_slot_or_by_the_value() {
        let alone = CredentialKind::Basic { username: None };
        assert_eq!(check_value(&alone, b"only a password"), Err(BadValue::NoColon));
        assert_eq!(check_value(&alone, b"user:pass word"), Ok(()));
    }

    #[test]
    fn an_environment_holds_everything_but_nul() {
        assert_eq!(check_value(&CredentialKind::Env, b"a\nb\xff"), Ok(()));
        assert_eq!(check_value(&CredentialKind::Env, b"a\0"), Err(BadValue::Nul(1)));
    }

    #[test]
    fn a_refresh_token_comes_with_what_its_client_needs() {
        let public = CredentialKind::Oauth2RefreshToken(client(ClientAuth::None));
        let secret = CredentialKind::Oauth2RefreshToken(client(ClientAuth::Body));
        assert_eq!(check_value(&public, b"1//token"), Ok(()));
        assert_eq!(check_value(&secret, b"1//token"), Err(BadValue::NoClientSecret));
        assert_eq!(check_value(&secret, br#"{"refresh_token":"t","client_secret":"s\u0022"}"#), Ok(()));
        for bad in [
            r#"{"refresh_token":"t","refresh_token":"u","client_secret":"s"}"#,
            r#"{"refresh_token":"t","secret":"s"}"#,
            r#"{"client_secret":"s"}"#,
            r#"{"refresh_token":7}"#,
            r#"{"refresh_token":"t","set_as":1}"#,
            r#"{"refresh_token":"t"} x"#,
            "{",
        ] {
            assert_eq!(check_value(&public, bad.as_bytes()), Err(BadValue::RefreshShape), "{bad}");
        }
        assert_eq!(check_value(&public, br#"{"refresh_token":""}"#), Err(BadValue::Empty));
        assert_eq!(check_value(&public, br#"{"refresh_token":"a\nb"}"#), Err(BadValue::Control(1)));
    }

    #[test]
    fn an_aws_secret_comes_alone_or_with_its_session() {
        assert_eq!(check_value(&aws(), b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), Ok(()));
        assert_eq!(check_value(&aws(), br#"{"secret_access_key":"k","session_token":"t"}"#), Ok(()));
        assert_eq!(check_value(&aws(), br#"{"session_token":"t"}"#), Err(BadValue::AwsShape));
    }

    #[test]
    fn a_client_certificate_is_a_chain_and_a_key_in_the_clear() {
        let certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let check = |text: &str| check_value(&CredentialKind::ClientCertificate, text.as_bytes());
        assert_eq!(check(&format!("{certificate}{key}")), Ok(()));
        assert_eq!(check(key), Err(BadValue::NoCertificate));
        assert_eq!(check(certificate), Err(BadValue::NoPrivateKey));
        assert_eq!(check(&format!("{certificate}{encrypted}")), Err(BadValue::EncryptedKey));
        let cut = certificate.replace("MAA=", "M!A=");
        assert_eq!(check(&format!("{cut}{key}")), Err(BadValue::NoCertificate));
        assert_eq!(check("password"), Err(BadValue::NoCertificate));
    }
}
