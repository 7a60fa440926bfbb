//! Settings that are lists of mappings: how a fault in one is told.

use domain::yaml::{Key, Node, Place, did_you_mean};

/// Something wrong with a list: where, what, and what to write instead.
pub struct Fault {
    pub place: Place,
    pub what: String,
    pub instead: String,
}

pub fn fault(place: Place, what: String, instead: impl Into<String>) -> Fault {
    Fault { place, what, instead: instead.into() }
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
