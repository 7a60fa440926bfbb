//! Secrets in people's files: a line that is shown for its fault goes to terminals and build logs, so what is a secret
//! in it is starred out. The line keeps its width, and the carets their place.

use std::ops::Range;

/// Ends of keys whose value is a secret. A name of a variable is none: `secret_env` ends otherwise.
const SECRET_KEYS: [&str; 10] = [
    "value",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "secret_key",
    "access_key",
];

/// `line` with stars for the passwords of its URLs, and for the values of keys that name a secret.
pub fn without_secrets(line: &str) -> String {
    let characters: Vec<char> = line.chars().collect();
    let hidden: Vec<_> =
        passwords(&characters).chain(parameters(&characters)).chain(values(&characters)).collect();
    starred(&characters, &hidden)
}

/// `text` with stars for the passwords of its URLs.
#[must_use]
pub fn without_passwords(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let hidden: Vec<_> = passwords(&characters).chain(parameters(&characters)).collect();
    starred(&characters, &hidden)
}

fn starred(characters: &[char], hidden: &[Range<usize>]) -> String {
    let star = |(at, character): (usize, &char)| match hidden.iter().any(|range| range.contains(&at)) {
        true => '*',
        false => *character,
    };
    characters.iter().enumerate().map(star).collect()
}

/// Where the `password` of `scheme://user:password@host` stands. It may hold any of the others but a blank or a quote.
fn passwords(line: &[char]) -> impl Iterator<Item = Range<usize>> {
    let starts = line.windows(3).enumerate().filter(|(_, window)| *window == [':', '/', '/']);
    starts.filter_map(|(at, _)| {
        let authority = at + 3;
        let rest = line.get(authority..)?;
        let end = rest.iter().position(|c| c.is_whitespace() || "\"'`".contains(*c)).unwrap_or(rest.len());
        let whole = rest.get(..end)?;
        let end = whole.iter().position(|c| "/?#".contains(*c)).unwrap_or(end);
        let authority_text = whole.get(..end)?;
        let colon = authority_text.iter().position(|c| *c == ':')?;
        let at_sign = match authority_text.iter().rposition(|c| *c == '@') {
            Some(at_sign) => at_sign,
            // A password that ought to be percent-encoded; digits are a port.
            None if authority_text.get(colon + 1..)?.iter().all(char::is_ascii_digit) => return None,
            None => whole.iter().rposition(|c| *c == '@')?,
        };
        if at_sign < colon {
            return None;
        }
        Some(authority + colon + 1..authority + at_sign)
    })
}

/// Where the value of a parameter `password=` stands.
fn parameters(line: &[char]) -> impl Iterator<Item = Range<usize>> {
    const NAME: &str = "password=";
    let length = NAME.chars().count();
    let found = line.windows(length).enumerate();
    found.filter(|(_, window)| window.iter().copied().eq(NAME.chars())).filter_map(move |(at, _)| {
        let rest = line.get(at + length..)?;
        let end = rest.iter().position(|c| c.is_whitespace() || "&\"'`,}".contains(*c)).unwrap_or(rest.len());
        Some(at + length..at + length + end)
    })
}

/// Where the values of keys that name a secret stand, without their quotes. Mappings and lists are none.
fn values(line: &[char]) -> impl Iterator<Item = Range<usize>> {
    let colons = line.iter().enumerate().filter(|(_, character)| **character == ':');
    colons.filter_map(|(colon, _)| {
        let key: String = line.get(..colon)?.iter().collect();
        let key = key.trim_end_matches(['"', '\'']).to_ascii_lowercase();
        if !SECRET_KEYS.iter().any(|secret| key.ends_with(secret)) {
            return None;
        }
        let after = line.get(colon + 1..)?;
        let start = after.iter().position(|character| !character.is_whitespace())?;
        let value = after.get(start..)?;
        let is_apart = start > 0 || matches!(value.first(), Some('"' | '\''));
        let (from, end) = match value.first() {
            _ if !is_apart => return None,
            Some('{' | '[') | None => return None,
            Some(quote @ ('"' | '\'')) => {
                let inside = value.get(1..)?;
                (1, 1 + inside.iter().position(|character| character == quote).unwrap_or(inside.len()))
            }
            Some(_) => (0, value.iter().position(|c| ",}]".contains(*c)).unwrap_or(value.len())),
        };
        let start = colon + 1 + start;
        Some(start + from..start + end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_line_is_starred_out() {
        for (line, shown) in [
            ("store: {url: mysql://ada:s3cret@db/x}", "store: {url: mysql://ada:******@db/x}"),
            ("  url: \"https://ada:p@ss:w@db\"", "  url: \"https://ada:******@db\""),
            ("  url: postgres://ada:p/w?d@db/x", "  url: postgres://ada:*****@db/x"),
            ("  url: postgres://db/x?password=s3&port=1", "  url: postgres://db/x?password=**&port=1"),
            ("  url: https://db:443/x@v2", "  url: https://db:443/x@v2"),
            ("  url: https://ada@db/x:y@z", "  url: https://ada@db/x:y@z"),
            ("{ name: a, kind: bear, token: sk_1 }", "{ name: a, kind: bear, token: *****}"),
            ("{ name: a, value: 's}k' }", "{ name: a, value: '***' }"),
            ("  \"api_key\":\"sk_1\", a: b", "  \"api_key\":\"****\", a: b"),
            ("  passphrase: it's a long one", "  passphrase: ***************"),
            ("  secret_env: NOTIFY_SECRET", "  secret_env: NOTIFY_SECRET"),
            ("  API_TOKEN: { credential: token }", "  API_TOKEN: { credential: token }"),
            ("  url: https://db:5432/x", "  url: https://db:5432/x"),
        ] {
            assert_eq!(without_secrets(line), shown);
            assert_eq!(line.chars().count(), shown.chars().count(), "carets stay in place");
        }
    }
}
