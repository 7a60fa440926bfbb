//! How two definitions of a tool differ, place by place.

use std::collections::BTreeMap;

use wire::{
    Raw,
    json::{self, Kind},
};

/// One place at which a definition is other than it was. All texts are foreign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where: `inputSchema.properties.path.type`.
    pub path: String,
    /// What stood there, as JSON; a text stands for itself.
    pub from: Option<String>,
    /// What stands there now.
    pub to: Option<String>,
}

/// What differs between two definitions, in the order of the places.
#[must_use]
pub fn differences(old: Option<&str>, new: Option<&str>) -> Vec<Difference> {
    let (mut old, new) = (places(old), places(new));
    let mut found: Vec<Difference> = new
        .into_iter()
        .filter_map(|(path, to)| {
            let from = old.remove(&path);
            (from.as_ref() != Some(&to)).then_some(Difference { path, from, to: Some(to) })
        })
        .collect();
    found.extend(old.into_iter().map(|(path, from)| Difference { path, from: Some(from), to: None }));
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn places(text: Option<&str>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Some(text) = text else { return found };
    if let Ok(raw) = json::read(text.as_bytes(), &json::Limits::of_bytes(text.len())) {
        walk(raw, String::new(), &mut found);
    }
    found
}

fn walk(raw: Raw<'_>, path: String, found: &mut BTreeMap<String, String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut is_empty = true;
    match raw.kind() {
        Kind::Object => raw.members().for_each(|(key, value)| {
            is_empty = false;
            walk(value, below(&key.decoded()), found);
        }),
        Kind::Array => raw.elements().enumerate().for_each(|(at, item)| {
            is_empty = false;
            walk(item, below(&at.to_string()), found);
        }),
        _ => {}
    }
    if is_empty {
        let text = raw.as_str().map_or_else(|| raw.text().to_owned(), std::borrow::Cow::into_owned);
        found.insert(path, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_that_differs_is_told() {
        let old = r#"{"name":"a","description":"x","inputSchema":{"required":["p"],"properties":{}}}"#;
        let new =
            r#"{"name":"a","title":"T","inputSchema":{"required":["p","q"],"properties":{"q":{"n":1}}}}"#;
        let told: Vec<_> =
            differences(Some(old), Some(new)).into_iter().map(|one| (one.path, one.from, one.to)).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                ("description".to_owned(), text("x"), None),
                ("inputSchema.properties".to_owned(), text("{}"), None),
                ("inputSchema.properties.q.n".to_owned(), None, text("1")),
                ("inputSchema.required.1".to_owned(), None, text("q")),
                ("title".to_owned(), None, text("T")),
            ]
        );
        assert!(differences(Some(old), Some(old)).is_empty());
    }
}
