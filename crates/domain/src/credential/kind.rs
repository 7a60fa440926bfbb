//! Kinds of credentials as people declare them: a word and its parameters, the same in services.yaml, on the command
//! line and in output.

use std::collections::BTreeMap;

use super::{ClientAuth, CredentialKind, OauthClient, slot::is_reserved_header};
use crate::{service::UpstreamUrl, yaml::did_you_mean};

/// Every parameter that some kind takes, under its name in services.yaml. On the command line it is `--` and the
/// same with dashes.
pub const PARAMETERS: [&str; 12] = [
    "username",
    "header",
    "format",
    "parameter",
    "token_url",
    "client_id",
    "scope",
    "audience",
    "client_auth",
    "access_key_id",
    "region",
    "aws_service",
];

const OAUTH: &[&str] = &["token_url", "client_id", "scope", "audience", "client_auth"];

/// The parameters that a kind takes.
fn takes(word: &str) -> &'static [&'static str] {
    match word {
        "basic" => &["username"],
        "header" => &["header", "format"],
        "query" => &["parameter"],
        "oauth2_client_credentials" | "oauth2_refresh_token" => OAUTH,
        "aws_sigv4" => &["access_key_id", "region", "aws_service"],
        _ => &[],
    }
}

/// The words of all kinds, in the order of the contract.
pub const KIND_WORDS: [&str; 9] = [
    "bearer",
    "basic",
    "header",
    "query",
    "env",
    "oauth2_client_credentials",
    "oauth2_refresh_token",
    "aws_sigv4",
    "client_certificate",
];

/// Names of headers and parameters are no longer than this (bytes).
const NAME_BYTES_MAX: usize = 128;
/// Other parameters are no longer than this (bytes).
const TEXT_BYTES_MAX: usize = 1_024;

/// Why a word and its parameters are no kind of credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadKind {
    /// The parameter that is to blame; none: the word.
    pub parameter: Option<&'static str>,
    /// What is wrong, lower case.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// Reads a kind: its word, and the parameters that were given.
///
/// # Errors
/// [`BadKind`]: an unknown word, a parameter of another kind, one that is missing or has no fitting value.
pub fn kind_of(word: &str, given: &BTreeMap<&'static str, String>) -> Result<CredentialKind, BadKind> {
    let Some(word) = KIND_WORDS.into_iter().find(|known| *known == word) else {
        let advice = match did_you_mean(word, KIND_WORDS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", KIND_WORDS.join(", ")),
        };
        let shown: String = word.chars().take(40).flat_map(char::escape_debug).collect();
        let what = format!("`{shown}` is no kind of credential");
        return Err(BadKind { parameter: None, what, advice });
    };
    if let Some(stray) = given.keys().find(|parameter| !takes(word).contains(parameter)) {
        let what = format!("`{stray}` is not for credentials of kind `{word}`");
        return Err(bad(stray, what, "leave it out"));
    }
    let given = Given { word, given };
    Ok(match word {
        "bearer" => CredentialKind::Bearer,
        "basic" => CredentialKind::Basic { username: given.username()? },
        "header" => CredentialKind::Header { name: given.header()?, format: given.format()? },
        "query" => CredentialKind::Query {
            name: given.needed(
                "parameter",
                "the name in the query, such as key",
                NAME_BYTES_MAX,
                printable,
            )?,
        },
        "env" => CredentialKind::Env,
        "oauth2_client_credentials" => {
            let client = given.oauth()?;
            if client.client_auth == ClientAuth::None {
                return Err(bad(
                    "client_auth",
                    "client credentials are a secret, so the client cannot be public",
                    "use `basic` or `body`",
                ));
            }
            CredentialKind::Oauth2ClientCredentials(client)
        }
        "oauth2_refresh_token" => CredentialKind::Oauth2RefreshToken(given.oauth()?),
        "aws_sigv4" => CredentialKind::AwsSigv4 {
            access_key_id: given.needed("access_key_id", "such as AKIAIOSFODNN7EXAMPLE", 128, aws_word)?,
            region: given.needed("region", "such as eu-central-1", 64, aws_word)?,
            service: given.needed("aws_service", "the signing name, such as s3", 64, aws_word)?,
        },
        _ => CredentialKind::ClientCertificate,
    })
}

impl CredentialKind {
    /// The word in services.yaml and on the command line.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic { .. } => "basic",
            Self::Header { .. } => "header",
            Self::Query { .. } => "query",
            Self::Env => "env",
            Self::Oauth2ClientCredentials(_) => "oauth2_client_credentials",
            Self::Oauth2RefreshToken(_) => "oauth2_refresh_token",
            Self::AwsSigv4 { .. } => "aws_sigv4",
            Self::ClientCertificate => "client_certificate",
        }
    }

    /// The parameters as they are declared; [`kind_of`] reads the same kind from them. None of them is secret.
    #[must_use]
    pub fn parameters(&self) -> BTreeMap<&'static str, String> {
        let pairs = match self {
            Self::Bearer | Self::Env | Self::ClientCertificate => vec![],
            Self::Basic { username } => vec![("username", username.clone())],
            Self::Header { name, format } => {
                vec![("header", Some(name.clone())), ("format", Some(format.clone()))]
            }
            Self::Query { name } => vec![("parameter", Some(name.clone()))],
            Self::Oauth2ClientCredentials(client) | Self::Oauth2RefreshToken(client) => vec![
                ("token_url", Some(client.token_url.to_string())),
                ("client_id", Some(client.client_id.clone())),
                ("scope", client.scope.clone()),
                ("audience", client.audience.clone()),
                ("client_auth", Some(client.client_auth.word().to_owned())),
            ],
            Self::AwsSigv4 { access_key_id, region, service } => vec![
                ("access_key_id", Some(access_key_id.clone())),
                ("region", Some(region.clone())),
                ("aws_service", Some(service.clone())),
            ],
        };
        pairs.into_iter().filter_map(|(parameter, value)| Some((parameter, value?))).collect()
    }
}

impl ClientAuth {
    const ALL: [Self; 3] = [Self::Basic, Self::Body, Self::None];

    /// The word in services.yaml and on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Body => "body",
            Self::None => "none",
        }
    }
}

/// The parameters of one kind while they are read.
struct Given<'a> {
    word: &'a str,
    given: &'a BTreeMap<&'static str, String>,
}

impl Given<'_> {
    fn username(&self) -> Result<Option<String>, BadKind> {
        self.text("username", "a name without `:`", TEXT_BYTES_MAX, |text| {
            !text.contains(':') && printable(text)
        })
    }

    fn header(&self) -> Result<String, BadKind> {
        let advice = "the header's name, such as X-Token";
        let name = self.needed("header", advice, NAME_BYTES_MAX, |text| {
            http::HeaderName::from_bytes(text.as_bytes()).is_ok()
        })?;
        let name = name.to_ascii_lowercase();
        if is_reserved_header(&name) {
            let what = format!("the header `{name}` belongs to the request itself, not to a credential");
            return Err(bad("header", what, "name another header"));
        }
        Ok(name)
    }

    fn format(&self) -> Result<String, BadKind> {
        let fits = |text: &str| text.matches("{}").count() == 1 && visible_ascii(text);
        let format =
            self.text("format", "a text with one {} in it, such as Token {}", NAME_BYTES_MAX, fits)?;
        Ok(format.unwrap_or_else(|| "{}".to_owned()))
    }

    fn oauth(&self) -> Result<OauthClient, BadKind> {
        let url = self.needed("token_url", "the address of the token endpoint", TEXT_BYTES_MAX, printable)?;
        let token_url = UpstreamUrl::parse(&url)
            .map_err(|fault| bad("token_url", fault.to_string(), "write it as https://host/path"))?;
        let words = |text: &str| {
            // RFC 6749 §3.3.
            text.split(' ').all(|word| {
                !word.is_empty() && word.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
            })
        };
        let client_auth = match self.given.get("client_auth") {
            None => ClientAuth::Basic,
            Some(text) => ClientAuth::ALL.into_iter().find(|auth| auth.word() == text).ok_or_else(|| {
                bad(
                    "client_auth",
                    format!("`{}` is no way to authenticate", shown(text)),
                    "use `basic`, `body` or `none`",
                )
            })?,
        };
        Ok(OauthClient {
            token_url,
            // RFC 6749 appendix A.1.
            client_id: self.needed("client_id", "the client's id", TEXT_BYTES_MAX, visible_ascii)?,
            scope: self.text("scope", "scopes with one blank between them", TEXT_BYTES_MAX, words)?,
            audience: self.text("audience", "the audience to ask for", TEXT_BYTES_MAX, printable)?,
            client_auth,
        })
    }

    fn needed(
        &self,
        parameter: &'static str,
        wanted: &str,
        bytes_max: usize,
        fits: impl Fn(&str) -> bool,
    ) -> Result<String, BadKind> {
        self.text(parameter, wanted, bytes_max, fits)?.ok_or_else(|| BadKind {
            parameter: Some(parameter),
            what: format!("a credential of kind `{}` needs `{parameter}`", self.word),
            advice: format!("add it: {wanted}"),
        })
    }

    fn text(
        &self,
        parameter: &'static str,
        wanted: &str,
        bytes_max: usize,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, BadKind> {
        match self.given.get(parameter) {
            None => Ok(None),
            Some(text) if !text.is_empty() && text.len() <= bytes_max && fits(text) => Ok(Some(text.clone())),
            Some(text) => Err(bad(
                parameter,
                format!("`{}` is no `{parameter}`", shown(text)),
                format!("it must be {wanted}"),
            )),
        }
    }
}

fn bad(parameter: &'static str, what: impl Into<String>, advice: impl Into<String>) -> BadKind {
    BadKind { parameter: Some(parameter), what: what.into(), advice: advice.into() }
}

fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

fn printable(text: &str) -> bool {
    !text.contains(char::is_control)
}

fn visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

fn aws_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Given<'a> = &'a [(&'static str, &'a str)];

    fn read(word: &str, given: Given<'_>) -> Result<CredentialKind, BadKind> {
        kind_of(word, &given.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }

    fn fault(word: &str, given: Given<'_>) -> String {
        let bad = read(word, given).unwrap_err();
        format!("{:?} {}; {}", bad.parameter, bad.what, bad.advice)
    }

    const TOKEN_URL: (&str, &str) = ("token_url", "https://id.example/token");

    #[test]
    fn every_kind_reads_back_from_its_own_parameters() {
        let given: [(&str, Given<'_>); 9] = [
            ("bearer", &[]),
            ("basic", &[("username", "ada")]),
            ("header", &[("header", "X-Token"), ("format", "Token {}")]),
            ("query", &[("parameter", "key")]),
            ("env", &[]),
            ("oauth2_client_credentials", &[TOKEN_URL, ("client_id", "me"), ("client_auth", "body")]),
            ("oauth2_refresh_token", &[TOKEN_URL, ("client_id", "me"), ("scope", "a b"), ("audience", "x")]),
            ("aws_sigv4", &[("access_key_id", "AKIA1"), ("region", "eu-central-1"), ("aws_service", "s3")]),
            ("client_certificate", &[]),
        ];
        for (at, (word, given)) in given.iter().enumerate() {
            let kind = read(word, given).unwrap();
            assert_eq!((kind.word(), KIND_WORDS[at]), (*word, *word));
            assert_eq!(kind_of(word, &kind.parameters()).unwrap(), kind);
            assert!(kind.parameters().keys().all(|parameter| PARAMETERS.contains(parameter)));
        }
        let header = read("header", &[("header", "X-Token")]).unwrap();
        assert_eq!(header, CredentialKind::Header { name: "x-token".into(), format: "{}".into() });
    }

    #[test]
    fn faults_name_the_parameter_and_what_to_write() {
        let cases: [(&str, Given<'_>, &str); 17] = [
            ("berer", &[], "None `berer` is no kind of credential; did you mean `bearer`?"),
            (
                "password",
                &[],
                "None `password` is no kind of credential; known: bearer, basic, header, query",
            ),
            (
                "bearer",
                &[("region", "x")],
                "Some(\"region\") `region` is not for credentials of kind `bearer`; leave",
            ),
            (
                "header",
                &[],
                "Some(\"header\") a credential of kind `header` needs `header`; add it: the header's name, such as X-Token",
            ),
            ("header", &[("header", "X Token")], "`X Token` is no `header`; it must be the header's name"),
            ("header", &[("header", "Host")], "the header `host` belongs to the request itself"),
            ("header", &[("header", "Cookie")], "the header `cookie` belongs"),
            ("header", &[("header", "X-Forwarded-For")], "the header `x-forwarded-for` belongs"),
            (
                "header",
                &[("header", "a"), ("format", "Token")],
                "`Token` is no `format`; it must be a text with one {}",
            ),
            ("header", &[("header", "a"), ("format", "{}{}")], "it must be a text with one {}"),
            ("header", &[("header", "a"), ("format", "{}\r\nX: y")], "it must be a text with one {}"),
            ("query", &[("parameter", "")], "`` is no `parameter`"),
            ("basic", &[("username", "a:b")], "`a:b` is no `username`; it must be a name without `:`"),
            ("oauth2_refresh_token", &[("token_url", "ftp://x"), ("client_id", "a")], "must start with http"),
            (
                "oauth2_refresh_token",
                &[TOKEN_URL, ("client_id", "a"), ("scope", "a  b")],
                "one blank between them",
            ),
            (
                "oauth2_client_credentials",
                &[TOKEN_URL, ("client_id", "a"), ("client_auth", "none")],
                "use `basic` or `body`",
            ),
            (
                "oauth2_client_credentials",
                &[TOKEN_URL, ("client_id", "a"), ("client_auth", "post")],
                "`post` is no way",
            ),
        ];
        for (word, given, wanted) in cases {
            let message = fault(word, given);
            assert!(message.contains(wanted), "{word} {given:?}: {message}");
        }
    }
}
