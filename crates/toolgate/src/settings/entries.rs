//! Settings that are lists of mappings: how one is read from a single line, and how a fault in it is reported.

use domain::yaml::{self, Key, Node, Place, did_you_mean};

/// Something wrong with a list: where, what, and what to write instead.
pub struct Fault {
    pub place: Place,
    pub what: String,
    pub instead: String,
}

pub fn fault(place: Place, what: String, instead: impl Into<String>) -> Fault {
    Fault { place, what, instead: instead.into() }
}

/// Reads a list from the environment or `--set`: one line of YAML, which JSON is too.
///
/// # Errors
/// What is wrong and what to write instead.
pub fn in_one_line<T>(
    setting: &str,
    entries: &str,
    text: &str,
    example: &str,
    read: impl FnOnce(&Node) -> Result<Vec<T>, Vec<Fault>>,
) -> Result<Vec<T>, (String, String)> {
    let node = yaml::parse(setting, text).map_err(|problems| {
        let why = problems.into_iter().next().map(|problem| problem.message).unwrap_or_default();
        (format!("the list of {entries} cannot be read: {why}"), example.to_owned())
    })?;
    read(&node).map_err(|faults| {
        let first = faults.into_iter().next().map(|fault| (fault.what, fault.instead));
        first.unwrap_or_default()
    })
}

/// A key that a mapping does not have.
pub fn unknown(key: &Key, known: &[&str]) -> Fault {
    let instead = match did_you_mean(&key.text, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", known.join(", ")),
    };
    fault(key.place, format!("unknown key `{}`", key.text.escape_debug()), instead)
}

/// One of a few words.
pub fn word<'n>(value: &'n Node, words: &[&str], faults: &mut Vec<Fault>) -> Option<&'n str> {
    let text = value.as_text().unwrap_or_default();
    if words.contains(&text) {
        return Some(text);
    }
    let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
    let instead = match did_you_mean(text, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of {}", words.join(", ")),
    };
    faults.push(fault(value.place, format!("`{shown}` is unknown"), instead));
    None
}
