//! What a server says about a tool: the members that a model reads or a client works with, in one spelling.

use std::{collections::BTreeMap, sync::Arc};

use sha2::{Digest as _, Sha256};
use wire::{
    Raw, canonical,
    json::{self, Kind},
};

use crate::{audit::push_hex, risk::ToolHint};

/// The largest definition that is kept whole (bytes); a larger one can be told from others, and cannot be accepted.
pub const DEFINITION_BYTES_MAX: usize = 256 * 1024;
/// The longest name of a tool that is remembered (bytes).
pub const NAME_BYTES_MAX: usize = 256;

/// The members of a tool (MCP, `Tool`) that make it what it is, sorted.
const MEMBERS: [&str; 6] = ["annotations", "description", "inputSchema", "name", "outputSchema", "title"];

/// SHA-256 of a definition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ToolHash(pub [u8; 32]);

impl ToolHash {
    /// Reads 64 lower-case hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
            *to = (digit(high)? << 4) | digit(low)?;
        }
        Some(Self(bytes))
    }

    /// All 64 digits.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut hex = String::with_capacity(64);
        push_hex(&mut hex, &self.0);
        hex
    }
}

/// A tool as a list showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// What tells it from others. The order of members, white space, escapes, and members that nobody reads, such as
    /// `_meta`, do not count; a member that is `null` counts as none.
    pub hash: ToolHash,
    /// What it says about itself.
    pub hint: ToolHint,
    /// Its length (bytes).
    pub bytes: usize,
    /// The definition as canonical JSON; `None`: it is too large to be kept. A name that a list gives to several tools
    /// is an array of them.
    pub text: Option<Arc<str>>,
    /// Its `inputSchema`, as canonical JSON.
    pub schema: Option<Arc<str>>,
}

impl Definition {
    /// The definitions of a list, by name. What has no readable name cannot be called, and is left out; so is what has
    /// a name of more than [`NAME_BYTES_MAX`].
    #[must_use]
    pub fn of_list(list: Raw<'_>) -> BTreeMap<String, Arc<Self>> {
        let mut texts: BTreeMap<String, Vec<(String, ToolHint)>> = BTreeMap::new();
        for tool in list.elements() {
            let Some(name) = tool.get("name").and_then(Raw::as_str) else { continue };
            if name.len() <= NAME_BYTES_MAX {
                texts.entry(name.into_owned()).or_default().push((canonical_text(tool), hint_of(tool)));
            }
        }
        texts.into_iter().map(|(name, same)| (name, Arc::new(Self::of_texts(same)))).collect()
    }

    /// A definition that was kept; `None` where the text is none.
    #[must_use]
    pub fn of_kept(text: &str) -> Option<Self> {
        let raw = json::read(text.as_bytes(), &json::Limits::of_bytes(text.len())).ok()?;
        let mut texts = Vec::new();
        match raw.kind() {
            Kind::Array => texts.extend(raw.elements().map(|tool| (tool.text().to_owned(), hint_of(tool)))),
            _ => texts.push((text.to_owned(), hint_of(raw))),
        }
        Some(Self::of_texts(texts))
    }

    /// One definition, or several of one name: they are one together, and its word is the strictest of theirs.
    fn of_texts(mut texts: Vec<(String, ToolHint)>) -> Self {
        texts.sort();
        texts.dedup();
        let hint = texts.iter().map(|(_, hint)| *hint).max().unwrap_or(ToolHint::Plain);
        let text = match texts.as_slice() {
            [(text, _)] => text.clone(),
            several => {
                let texts: Vec<&str> = several.iter().map(|(text, _)| text.as_str()).collect();
                format!("[{}]", texts.join(","))
            }
        };
        let kept = text.len() <= DEFINITION_BYTES_MAX;
        Self {
            hash: ToolHash(Sha256::digest(&text).into()),
            hint,
            bytes: text.len(),
            schema: if kept { schema_of(&text) } else { None },
            text: kept.then(|| text.into()),
        }
    }
}

fn canonical_text(tool: Raw<'_>) -> String {
    let mut out = vec![b'{'];
    for name in MEMBERS {
        let Some(value) = tool.get(name).filter(|value| value.kind() != Kind::Null) else { continue };
        if out.len() > 1 {
            out.push(b',');
        }
        canonical::write_string(name, &mut out);
        out.push(b':');
        canonical::write_meaning(value, &mut out);
    }
    out.push(b'}');
    // Made of texts.
    String::from_utf8_lossy(&out).into_owned()
}

fn schema_of(text: &str) -> Option<Arc<str>> {
    let raw = json::read(text.as_bytes(), &json::Limits::of_bytes(text.len())).ok()?;
    raw.get("inputSchema").map(|schema| schema.text().into())
}

/// A tool's own word (MCP, `ToolAnnotations`). Only a plain `true` makes it milder, everything but a plain `false` makes
/// it stricter; what is not said is what it is without annotations.
fn hint_of(tool: Raw<'_>) -> ToolHint {
    let annotations = tool.get("annotations");
    let said = |name| annotations.and_then(|annotations| annotations.get(name));
    let destroys = said("destructiveHint")
        .is_some_and(|hint| hint.kind() != Kind::Null && hint.as_bool() != Some(false));
    if destroys {
        ToolHint::Destructive
    } else if said("readOnlyHint").and_then(Raw::as_bool) == Some(true) {
        ToolHint::ReadOnly
    } else {
        ToolHint::Plain
    }
}
