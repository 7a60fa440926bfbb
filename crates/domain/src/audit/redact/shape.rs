//! What looks like a secret: by the name of its member, or by its own shape.

/// Parts of names that mean a secret wherever they stand, in lower case and without separators.
const ANYWHERE: [&str; 18] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "credential",
    "cookie",
    "session",
    "bearer",
    "signature",
    "apikey",
    "privatekey",
    "accesskey",
    "signingkey",
    "encryptionkey",
    "connectionstring",
];

/// Words of names that mean a secret only when they stand alone: `pin`, not `shipping`.
const WORDS: [&str; 13] =
    ["pass", "pw", "pin", "otp", "totp", "mfa", "jwt", "psk", "pat", "sig", "cvv", "cvc", "creds"];

/// With `key` after them, at the end of a name, they mean a secret; `key` alone is mostly the name of something.
const BEFORE_KEY: [&str; 8] = ["ssh", "master", "auth", "shared", "account", "service", "license", "hmac"];

/// Whether a member of this name holds a secret. Case, `_`, `-`, `.` and the like do not matter.
pub(super) fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    let joined: String = words.split(' ').collect();
    has_part(joined.as_bytes())
        || words.split(' ').any(|word| WORDS.contains(&word) || is_auth(word))
        || joined
            .strip_suffix("key")
            .is_some_and(|head| BEFORE_KEY.iter().any(|before| head.ends_with(before)))
}

/// Whether any of [`ANYWHERE`] is in it. One pass, because every key of every call comes by here.
fn has_part(mut name: &[u8]) -> bool {
    while let [first, rest @ ..] = name {
        if ANYWHERE
            .iter()
            .any(|part| part.as_bytes().first() == Some(first) && name.starts_with(part.as_bytes()))
        {
            return true;
        }
        name = rest;
    }
    false
}

/// `auth`, `oauth2`, `authorization`, `authentication`; not `author`, `authority`.
fn is_auth(word: &str) -> bool {
    word.find("auth").is_some_and(|at| {
        let after = word.get(at + "auth".len()..).unwrap_or_default();
        !after.starts_with("or") || after.starts_with("oriz") || after.starts_with("oris")
    })
}

/// The words of a name in lower case, with blanks between: it is split at everything that is no letter, and at
/// changes of case (`userPIN`, `PINCode`).
fn words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let lower_follows = characters.peek().is_some_and(|next| next.is_lowercase());
        let starts =
            character.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && lower_follows));
        if starts || !character.is_alphabetic() {
            words.push(' ');
        }
        if character.is_alphabetic() {
            words.extend(character.to_lowercase());
        }
        before = character;
    }
    words
}

/// Whether a text holds an agent key, an `Authorization` value, a private key, or a URL with a password.
///
/// One pass that stops at the few bytes that each of them must have: every string of every call comes by here.
pub(super) fn is_secret_value(text: &str) -> bool {
    text.bytes().enumerate().any(|(at, byte)| {
        let (before, rest) = text.as_bytes().split_at_checked(at).unwrap_or_default();
        match byte {
            b'_' => before.ends_with(b"agt") && rest.first_chunk().is_some_and(is_key_id),
            b'-' => rest.starts_with(b"-----BEGIN") && text.contains("PRIVATE KEY"),
            b':' => rest.strip_prefix(b"://").is_some_and(has_password),
            blank if blank.is_ascii_whitespace() => is_scheme(before) && is_random(rest.trim_ascii_start()),
            _ => false,
        }
    })
}

/// `_`, eight letters and digits, `_`: the public part of a key, after which its secret part begins.
fn is_key_id(rest: &[u8; 10]) -> bool {
    matches!(rest, [b'_', id @ .., b'_'] if id.iter().all(u8::is_ascii_alphanumeric))
}

/// `user:password@` at the beginning of what follows `://`.
fn has_password(rest: &[u8]) -> bool {
    let authority = rest.split(|byte| b"/?# \"\n".contains(byte)).next().unwrap_or_default();
    let user = authority.iter().rposition(|byte| *byte == b'@').and_then(|at| authority.get(..at));
    user.is_some_and(|user| user.contains(&b':'))
}

/// Whether it ends with one of the two words that stand before a credential, in any case.
fn is_scheme(before: &[u8]) -> bool {
    let ends_with = |word: &[u8]| {
        before
            .len()
            .checked_sub(word.len())
            .and_then(|at| before.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(word))
    };
    ends_with(b"bearer") || ends_with(b"basic")
}

/// Whether it begins with a token (RFC 9110 `token68`) that is long, or has more than small letters in it.
fn is_random(rest: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let token = rest.split(|byte| !is_token(byte)).next().unwrap_or_default();
    let mixed = token.iter().skip(1).any(|byte| !byte.is_ascii_lowercase() && !b".-".contains(byte));
    token.len() >= 16 || (token.len() >= 4 && mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_every_spelling() {
        for name in [
            "password",
            "PASSWORD",
            "userPassword",
            "db_passwd",
            "pwd",
            "dbpwd",
            "passphrase",
            "pass",
            "secret",
            "client-secret",
            "clientSecret",
            "token",
            "access_token",
            "accesstoken",
            "apiKey",
            "api_key",
            "api-key",
            "API.KEY",
            "apikey",
            "X-Api-Key",
            "Authorization",
            "auth",
            "oauth2",
            "basicAuth",
            "proxy-authorization",
            "credentials",
            "credential",
            "private_key",
            "privateKey",
            "aws_secret_access_key",
            "accessKey",
            "Cookie",
            "Set-Cookie",
            "session",
            "sessionId",
            "pin",
            "userPIN",
            "PINCode",
            "pin2",
            "otp",
            "totp_code",
            "bearer",
            "signature",
            "X-Amz-Signature",
            "jwt",
            "ssh_key",
            "sshkey",
            "signing-key",
            "masterKey",
            "creds",
            "cvv",
            "authentication",
            "authorisation",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn ordinary_names_are_not_taken_for_secrets() {
        for name in [
            "author",
            "authors",
            "authority",
            "key",
            "keys",
            "keyword",
            "primary_key",
            "monkey",
            "path",
            "shipping",
            "spinner",
            "pinned",
            "option",
            "passenger",
            "compass",
            "content",
            "id",
            "name",
            "query",
            "design",
            "patch",
            "signal",
            "",
            "_",
            "42",
            "größe",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn shapes_of_secrets_are_known() {
        for text in [
            "agt_7kq2m9xd_abc",
            "here: agt_7kq2m9xd_",
            "Bearer abcdef0123",
            "bearer  aGVsbG8",
            "BEARER\taGVsbG8",
            "curl -H 'Authorization: Basic dXNlcjpwYXNz' https://x",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
            "-----BEGIN PRIVATE KEY-----",
            "postgres://app:hunter2@db/x",
            "see https://a:b@example.com/",
        ] {
            assert!(is_secret_value(text), "{text}");
        }
    }

    #[test]
    fn ordinary_texts_are_not_taken_for_secrets() {
        for text in [
            "",
            "agt_",
            "agt_short",
            "basic training for beginners",
            "The bearer of news",
            "Basic.",
            "-----BEGIN CERTIFICATE-----",
            "https://example.com/a@b:c",
            "https://user@example.com/",
            "mail ada@example.com: hi",
            "http://[::1]:80/",
        ] {
            assert!(!is_secret_value(text), "{text}");
        }
    }
}
