//! Servers that a gateway leans on: URLs that may hold a password, and what counts limits.

use std::fmt;

use counters::OnLoss;

use super::Choices;

/// The URL of a server. Whoever shows it shows neither user nor password nor parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// Reads a URL with one of these schemes.
    #[must_use]
    pub fn parse(text: &str, schemes: &[&str]) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let whole = schemes.contains(&scheme) && !rest.is_empty() && !text.contains(char::is_whitespace);
        whole.then(|| Self(text.to_owned()))
    }

    /// The URL as the server's client wants it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        // A password may hold any of the others, but no `@` comes after it in an authority.
        let (secret, place) = rest.rsplit_once('@').map_or(("", rest), |(_, place)| ("…@", place));
        let (place, query) = place.split_once('?').map_or((place, ""), |(place, _)| (place, "?…"));
        write!(f, "{scheme}://{secret}{place}{query}")
    }
}
impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where limits are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// A Redis or Valkey server; `None`: this process.
    pub url: Option<ServerUrl>,
    /// What happens while that server is away.
    pub on_loss: OnLoss,
}

impl Counters {
    pub(super) fn build(choices: &Choices) -> Self {
        let nodes = u32::try_from(choices.number("counters.nodes")).unwrap_or(u32::MAX);
        let on_loss = match choices.text("counters.on_loss") {
            Some("share") => OnLoss::Share { nodes },
            _ => OnLoss::Deny,
        };
        Self { url: choices.server("counters.url"), on_loss }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("rediss://ada:pa@ss/w?rd@db.example:1/2?x=secret", "rediss://…@db.example:1/2?…"),
            ("redis://:secret@h", "redis://…@h"),
        ] {
            let parsed = ServerUrl::parse(url, &["redis", "rediss"]).unwrap();
            assert_eq!((parsed.to_string(), format!("{parsed:?}")), (shown.to_owned(), shown.to_owned()));
            assert_eq!(parsed.reveal(), url);
        }
        for bad in ["redis:/x", "redis://", "http://x", "redis://a b", ""] {
            assert_eq!(ServerUrl::parse(bad, &["redis"]), None, "{bad}");
        }
    }
}
