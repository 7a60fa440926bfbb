//! What a setting's value may look like, and how it is read. The same reading serves file, environment and
//! `--set`, so a value means the same wherever it stands.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use domain::{
    risk::RiskScore,
    service::UpstreamUrl,
    yaml::{did_you_mean, without_passwords},
};

use super::{
    issuers::{self, Issuer},
    notify::{self, NotifySink},
    server::ServerUrl,
};

/// The form of a value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// IP address and port.
    Address,
    /// Scheme, host and port; or nothing.
    Url,
    /// An `http` or `https` URL with a path; or nothing.
    Endpoint,
    /// A name that somebody else has given; or nothing.
    Name,
    /// A path, relative to the home; or nothing.
    Path,
    /// The name of an environment variable; or nothing.
    Variable,
    /// `true` or `false`.
    Truth,
    /// A number of bytes: `10MB`, `4KB` (decimal).
    Size,
    /// A length of time: `30s`, `10m`.
    Duration,
    /// A length of time; or nothing.
    Delay,
    /// How many: a whole number from 1 on.
    Count,
    /// A risk from 0 to 1; or nothing.
    Risk,
    /// Host names, each with an optional port.
    Hosts,
    /// Origins of web pages: scheme, host, optional port.
    Origins,
    /// IP addresses, or ranges in CIDR form.
    Ranges,
    /// Receivers of notifications: mappings with members of their own.
    Sinks,
    /// Issuers of access tokens: mappings with members of their own.
    Issuers,
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// `sqlite`, or a server's URL, whose password is not shown.
    Store,
    /// A word for what this process does itself, or the URL of a server with one of these schemes. It may hold a password,
    /// so it is shown masked.
    Server(&'static str, &'static [&'static str]),
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing was chosen.
    None,
    /// `true` or `false`.
    Truth(bool),
    /// Bytes, or how many.
    Number(u64),
    /// A length of time.
    Duration(Duration),
    /// A risk.
    Risk(RiskScore),
    /// An address to listen on.
    Address(SocketAddr),
    /// A word, path or URL.
    Text(String),
    /// Several texts.
    List(Vec<String>),
    /// The URL of a server, which may hold a password.
    Server(ServerUrl),
    /// Receivers of notifications.
    Sinks(Vec<NotifySink>),
    /// A server of stores.
    Store(Box<store::ServerUrl>),
    /// Issuers of access tokens.
    Issuers(Vec<Issuer>),
}

impl Kind {
    /// Whether it holds several values.
    pub fn is_list(self) -> bool {
        matches!(self, Self::Hosts | Self::Origins | Self::Ranges)
    }

    /// Reads a value from its texts: several for a list, exactly one otherwise.
    ///
    /// # Errors
    /// What is wrong and what to write instead, lower case, without the place.
    pub fn read(self, texts: &[String]) -> Result<Value, (String, String)> {
        if self.is_list() {
            return texts.iter().map(|text| self.element(text)).collect::<Result<_, _>>().map(Value::List);
        }
        match (self, texts) {
            (Self::Sinks, []) => return Ok(Value::Sinks(Vec::new())),
            (Self::Issuers, []) => return Ok(Value::Issuers(Vec::new())),
            _ => {}
        }
        let [text] = texts else {
            return Err(("a list does not belong here".to_owned(), "write one value".to_owned()));
        };
        let shown = shown(text);
        let wrong = |what: &str, instead: &str| Err((format!("`{shown}` is {what}"), instead.to_owned()));
        match self {
            Self::Url
            | Self::Endpoint
            | Self::Name
            | Self::Path
            | Self::Variable
            | Self::Risk
            | Self::Delay
                if matches!(text.as_str(), "none" | "null" | "~" | "") =>
            {
                Ok(Value::None)
            }
            Self::Address => match text.parse() {
                Ok(address) => Ok(Value::Address(address)),
                Err(_) => wrong("no address and port", "write it like `127.0.0.1:8484`"),
            },
            Self::Url => match origin(text) {
                Some(url) => Ok(Value::Text(url)),
                None => wrong("no base URL", "write scheme, host and port like `https://gate.example.com`"),
            },
            Self::Endpoint => match endpoint(text) {
                Some(url) => Ok(Value::Text(url)),
                None => wrong("no URL without a query", "write it like `https://api.example.com/v1`"),
            },
            Self::Name if (1..=128).contains(&text.chars().count()) && !text.contains(char::is_control) => {
                Ok(Value::Text(text.clone()))
            }
            Self::Name => wrong("no name", "write at most 128 characters on one line"),
            Self::Risk => match RiskScore::parse(text) {
                Some(risk) => Ok(Value::Risk(risk)),
                None => wrong("no risk from 0 to 1", "write it like `0.5`, or `none`"),
            },
            Self::Path if text.starts_with('~') => {
                wrong("a path for a shell to expand", "write the whole path, or one relative to the home")
            }
            Self::Path => Ok(Value::Text(text.clone())),
            Self::Variable if is_variable(text) => Ok(Value::Text(text.clone())),
            Self::Variable => {
                // It may be the secret itself, put in the wrong place.
                let what = "what is written here is no name of a variable".to_owned();
                Err((what, "write a name like `VAULT_KEY`, and set that variable to the secret".to_owned()))
            }
            Self::Truth => match text.parse() {
                Ok(truth) => Ok(Value::Truth(truth)),
                Err(_) => wrong("neither `true` nor `false`", "write one of them"),
            },
            Self::Size => match size(text) {
                Some(bytes) => Ok(Value::Number(bytes)),
                None => wrong("no size", "write it like `10MB` or `4KB`"),
            },
            Self::Duration | Self::Delay => match duration(text) {
                Some(length) => Ok(Value::Duration(length)),
                None => wrong("no length of time", "write it like `30s` or `2m`"),
            },
            Self::Count => match text.parse::<u32>() {
                Ok(count) if count > 0 => Ok(Value::Number(count.into())),
                _ => wrong("no whole number from 1 on", "write it like `20`"),
            },
            Self::OneOf(words) => match words.iter().find(|word| *word == text) {
                Some(word) => Ok(Value::Text((*word).to_owned())),
                None => match did_you_mean(text, words.iter().copied()) {
                    Some(near) => wrong("unknown", &format!("did you mean `{near}`?")),
                    None => wrong("unknown", &format!("write one of {}", words.join(", "))),
                },
            },
            Self::Store if text == "sqlite" => Ok(Value::Text(text.clone())),
            Self::Store => match store::ServerUrl::parse(text) {
                Ok(url) => Ok(Value::Store(Box::new(url))),
                // It may have a password in it.
                Err(store::BadServerUrl::Unreadable) => Err((
                    "what is written here is no store".to_owned(),
                    "write `sqlite`, or `postgres://user:password@host/database`".to_owned(),
                )),
                Err(bad) => Err((bad.to_string(), bad.instead().to_owned())),
            },
            Self::Server(word, _) if text == word => Ok(Value::None),
            Self::Server(word, schemes) => match ServerUrl::parse(text, schemes) {
                Some(url) => Ok(Value::Server(url)),
                None => {
                    // A URL may carry a password, so only its scheme is repeated.
                    let scheme =
                        text.split_once("://").map(|(scheme, _)| format!("{}://…", self::shown(scheme)));
                    let what = format!("`{}` is unknown", scheme.unwrap_or(shown));
                    let first = schemes.first().unwrap_or(&word);
                    Err((what, format!("write `{word}`, or a URL like `{first}://127.0.0.1`")))
                }
            },
            Self::Sinks => notify::parse(text).map(Value::Sinks),
            Self::Issuers => issuers::parse(text).map(Value::Issuers),
            Self::Hosts | Self::Origins | Self::Ranges => Ok(Value::List(vec![self.element(text)?])),
        }
    }

    fn element(self, text: &str) -> Result<String, (String, String)> {
        let (read, what, instead) = match self {
            Self::Hosts => (host(text), "no host name", "write it like `gate.example.com`"),
            Self::Origins => (origin(text), "no origin", "write it like `https://app.example.com`"),
            _ => (
                AddressRange::parse(text).map(|_| text.to_owned()),
                "no address or range",
                "write it like `10.0.0.7` or `10.0.0.0/8`",
            ),
        };
        read.ok_or_else(|| (format!("`{}` is {what}", shown(text)), instead.to_owned()))
    }

    /// How values of this kind are described to people.
    pub fn describe(self) -> String {
        match self {
            Self::Address => "address and port".to_owned(),
            Self::Url => "URL".to_owned(),
            Self::Endpoint => "URL with a path".to_owned(),
            Self::Name => "name".to_owned(),
            Self::Risk => "0 to 1, at most three digits behind the point, or `none`".to_owned(),
            Self::Path => "path, relative to the home".to_owned(),
            Self::Variable => "name of an environment variable".to_owned(),
            Self::Truth => "`true` or `false`".to_owned(),
            Self::Size => "size: `B`, `KB`, `MB`, `GB`, decimal".to_owned(),
            Self::Duration => "time: `ms`, `s`, `m`, `h`, `d`".to_owned(),
            Self::Delay => "time: `ms`, `s`, `m`, `h`, `d`, or `none`".to_owned(),
            Self::Count => "whole number from 1 on".to_owned(),
            Self::Hosts => "list of host names".to_owned(),
            Self::Origins => "list of origins".to_owned(),
            Self::Ranges => "list of addresses or CIDR ranges".to_owned(),
            Self::Sinks => "list of `{url, secret_env, format, on}`".to_owned(),
            Self::Issuers => {
                "list of `{issuer, agent or agent_claim, agents, audience, scope, network, ca}`".to_owned()
            }
            Self::OneOf(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
            }
            Self::Store => "`sqlite` or a `postgres://` URL".to_owned(),
            Self::Server(word, schemes) => {
                let urls: Vec<String> = schemes.iter().map(|scheme| format!("`{scheme}://…`")).collect();
                format!("`{word}` or {}", urls.join(" or "))
            }
        }
    }
}

/// A range of IP addresses in CIDR form; a single address is a range of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    base: IpAddr,
    bits: u8,
}

impl AddressRange {
    /// Reads `10.0.0.7`, `10.0.0.0/8` or `fd00::/8`. Bits beyond the prefix are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { base, bits })
    }

    /// Whether `address` lies in it; an IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let free = width - u32::from(self.bits).min(width);
            free >= width || (a >> free) == (b >> free)
        };
        match (self.base.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
            _ => false,
        }
    }
}

/// A wrong value inside a message: escaped, and no longer than a person reads.
fn shown(text: &str) -> String {
    without_passwords(text).chars().take(64).flat_map(char::escape_debug).collect()
}

/// Scheme, host and port of an `http` or `https` URL that has nothing else, in lower case.
fn origin(text: &str) -> Option<String> {
    let url = UpstreamUrl::parse(text).ok()?;
    let plain = url.uri().path() == "/" && url.uri().query().is_none();
    plain.then(|| text.trim_end_matches('/').to_ascii_lowercase())
}

/// An `http` or `https` URL without a query. What is added to its path comes from the program.
fn endpoint(text: &str) -> Option<String> {
    let url = UpstreamUrl::parse(text).ok()?;
    url.uri().query().is_none().then(|| url.to_string())
}

/// POSIX: letters, digits and underscores, no digit first. A hexadecimal key is longer than such names are.
pub(super) fn is_variable(text: &str) -> bool {
    text.len() < 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn host(text: &str) -> Option<String> {
    let authority: http::uri::Authority = text.parse().ok()?;
    let plain = !authority.as_str().contains('@') && !authority.host().is_empty() && !text.contains('*');
    plain.then(|| text.to_ascii_lowercase())
}

fn size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0)
}

/// A length of time like `30s`, `10m`, `30d`; more than nothing, and at most ten years.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => return (number > 0 && number <= 86_400_000).then(|| Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).filter(|seconds| (1..=315_360_000).contains(seconds)).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, text: &str) -> Option<Value> {
        kind.read(&[text.to_owned()]).ok()
    }

    #[test]
    fn sizes_are_decimal_and_times_have_a_unit() {
        assert_eq!(read(Kind::Size, "10MB"), Some(Value::Number(10_000_000)));
        assert_eq!(read(Kind::Size, "512"), Some(Value::Number(512)));
        for bad in ["", "0", "MB", "1.5MB", "10MiB", "-1", "99999999999999999999GB"] {
            assert_eq!(read(Kind::Size, bad), None, "{bad}");
        }
        assert_eq!(read(Kind::Duration, "2m"), Some(Value::Duration(Duration::from_secs(120))));
        assert_eq!(read(Kind::Duration, "500ms"), Some(Value::Duration(Duration::from_millis(500))));
        for bad in ["", "30", "s", "0s", "1w", "99999999999999999d", "-1s", "1 s"] {
            assert_eq!(read(Kind::Duration, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_in_the_place_of_its_variable_is_not_repeated() {
        assert_eq!(read(Kind::Variable, "VAULT_KEY"), Some(Value::Text("VAULT_KEY".to_owned())));
        assert_eq!(read(Kind::Variable, "none"), Some(Value::None));
        for bad in
            ["1A", "A-B", "$A", "A B", &"a7".repeat(32), "4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8="]
        {
            let (what, instead) = Kind::Variable.read(&[bad.to_owned()]).unwrap_err();
            assert!(!what.contains(bad) && !instead.contains(bad), "{bad}");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(origin("https://Gate.example.com/").as_deref(), Some("https://gate.example.com"));
        for bad in ["https://x/y", "https://x/?a", "ftp://x", "x", "https://u@x", "https://x/#"] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_risk_is_a_number_or_nothing() {
        assert_eq!(read(Kind::Risk, "0.5"), Some(Value::Risk(RiskScore::from_thousandths(500))));
        assert_eq!(read(Kind::Risk, "none"), Some(Value::None));
        for bad in ["1.5", "-1", "50%", "high", "0.12345"] {
            assert_eq!(read(Kind::Risk, bad), None, "{bad}");
        }
        assert!(read(Kind::Endpoint, "https://api.example.com/v1").is_some());
        for bad in ["https://api.example.com/v1?a=b", "api.example.com", "https://u:p@x/", "https://x/#a"] {
            assert_eq!(read(Kind::Endpoint, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_range_holds_its_addresses_only() {
        let range = AddressRange::parse("10.0.0.0/8").unwrap();
        assert!(range.contains("10.255.0.1".parse().unwrap()));
        assert!(range.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!range.contains("11.0.0.1".parse().unwrap()) && !range.contains("::1".parse().unwrap()));
        let one = AddressRange::parse("fd00::1").unwrap();
        assert!(one.contains("fd00::1".parse().unwrap()) && !one.contains("fd00::2".parse().unwrap()));
        assert!(AddressRange::parse("0.0.0.0/0").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(AddressRange::parse("10.0.0.0/33").is_none() && AddressRange::parse("x").is_none());
    }

    #[test]
    fn a_store_is_a_file_or_a_server() {
        assert_eq!(read(Kind::Store, "sqlite"), Some(Value::Text("sqlite".into())));
        let Some(Value::Store(url)) = read(Kind::Store, "postgres://ada:secret@db:6543/toolgate") else {
            panic!("a server");
        };
        assert_eq!(url.to_string(), "postgres://ada@db:6543/toolgate");
        for bad in ["mysql://ada:secret@db/toolgate", "postgres://ada:secret@db:x/", "Sqlite", ""] {
            let (what, instead) = Kind::Store.read(&[bad.to_owned()]).unwrap_err();
            assert!(!format!("{what}{instead}").contains("secret"), "{what}");
        }
    }
}
