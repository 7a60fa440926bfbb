//! The target of a request to an HTTP service, read once: what policy judges is, byte for byte, what is sent.
//! Nothing here is decoded, resolved or repaired; what two servers could read differently is refused.

mod bad;
mod spelling;

pub use bad::{BadMethod, BadTarget, Part, TargetFault};

/// The longest path and query together (bytes).
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

/// The longest method (bytes).
const METHOD_BYTES_MAX: usize = 32;

/// What happens to targets that servers are known to read differently, as a service declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OddTargets {
    /// They are refused.
    #[default]
    Refuse,
    /// They pass, as they came, as long as no reading of them leads out of the folder that they name.
    Pass,
}

/// A path and an optional query that may be judged and sent.
///
/// The path is an absolute path of RFC 3986 §3.3, in one spelling only. Refused are `.` and `..` segments, empty
/// segments (`//`), escapes of `/`, `\`, `.`, `%` and of other characters that need none (`%61` is `a` to one
/// server and another name to the next, so a rule for `/admin` would not see `/%61dmin`), escapes of control
/// characters, escapes that are no UTF-8, characters that must be escaped, and parameters on dot segments
/// (`..;x`). The case of hexadecimal digits is the caller's; it is judged and sent as written.
///
/// [`OddTargets::Pass`] lets through what is only unusual: those escapes, empty segments, backslashes and
/// `" [ ] ^ { | }`. Segments that are `.` or `..` in any reading stay refused: however often encoded, between
/// slashes, backslashes or escapes of them, with parameters or blanks behind. So do control characters, raw
/// characters outside ASCII, and broken escapes. A rule sees such a path as it is written: `%2F` is no border
/// between segments for it.
///
/// The query (RFC 3986 §3.4) is not decoded and may hold any escape and any visible character but `"`, `#`, `<`
/// and `>`. A query that is there and empty stays so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    text: String,
    /// Where the path ends in `text`: at its first `?`, if any.
    path_end: usize,
}

impl Target {
    /// Reads a path, which starts with `/`, and what stands behind its `?`, if there is one.
    ///
    /// # Errors
    /// [`BadTarget`] says what is refused and where; at most [`TARGET_BYTES_MAX`] bytes are read.
    pub fn parse(path: &str, query: Option<&str>, odd: OddTargets) -> Result<Self, BadTarget> {
        let bytes = path.len().saturating_add(query.map_or(0, |query| query.len().saturating_add(1)));
        if bytes > TARGET_BYTES_MAX {
            return Err(BadTarget { part: Part::Path, at: 0, fault: TargetFault::TooLong });
        }
        let of = |part| move |(at, fault)| BadTarget { part, at, fault };
        spelling::check_path(path, odd).map_err(of(Part::Path))?;
        query.map_or(Ok(()), spelling::check_query).map_err(of(Part::Query))?;
        let mut text = String::with_capacity(bytes);
        text.push_str(path);
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        Ok(Self { text, path_end: path.len() })
    }

    /// The path, from its first slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(..self.path_end).unwrap_or_default()
    }

    /// What stands behind the `?`, which may be nothing.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path_end..)?.strip_prefix('?')
    }

    /// Path and query as they go onto the request line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Reads the method of a request to an HTTP service: upper-case letters, with `-` between them (RFC 9110 §9.1
/// allows more, but methods are case-sensitive and some servers fold them, so `get` could escape a rule for `GET`).
///
/// # Errors
/// [`BadMethod::Withheld`] for `CONNECT` and `TRACE`, which are not for a proxy to hand on (RFC 9110 §9.3.6, §9.3.8);
/// [`BadMethod::Misshapen`] for anything else that is no such name, or is longer than 32 bytes.
pub fn method(text: &str) -> Result<&str, BadMethod> {
    let words = text.split('-').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase()));
    match text {
        "CONNECT" | "TRACE" => Err(BadMethod::Withheld),
        _ if words && text.len() <= METHOD_BYTES_MAX => Ok(text),
        _ => Err(BadMethod::Misshapen),
    }
}

#[cfg(test)]
mod tests;
