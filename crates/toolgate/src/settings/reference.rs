//! What the table of settings says to editors and readers: a JSON Schema, and the page docs/configuration.md,
//! which the tests below write and keep fresh.

use pipeline::notify::{Format, Topic};
use serde_json::{Map, Value as Json, json};

use super::{
    kind::Kind,
    table::{SETTINGS, Setting},
};

/// The JSON Schema (2020-12) of `toolgate.yaml`.
#[must_use]
pub fn schema() -> Json {
    let mut root = object();
    for setting in SETTINGS {
        insert(&mut root, setting.path, setting);
    }
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".to_owned(), json!("toolgate.yaml"));
    root.insert("description".to_owned(), json!("Settings of a Toolgate home. Every key is optional."));
    Json::Object(root)
}

fn object() -> Map<String, Json> {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!(["object", "null"]));
    object.insert("additionalProperties".to_owned(), json!(false));
    object.insert("properties".to_owned(), json!({}));
    object
}

fn insert(group: &mut Map<String, Json>, path: &str, setting: &Setting) {
    let Some(Json::Object(properties)) = group.get_mut("properties") else { return };
    match path.split_once('.') {
        None => {
            properties.insert(path.to_owned(), leaf(setting));
        }
        Some((name, rest)) => {
            let below = properties.entry(name).or_insert_with(|| Json::Object(object()));
            if let Json::Object(below) = below {
                insert(below, rest, setting);
            }
        }
    }
}

fn leaf(setting: &Setting) -> Json {
    let mut leaf = match setting.kind {
        Kind::Truth => json!({ "type": "boolean", "default": setting.default == "true" }),
        Kind::OneOf(words) => json!({ "enum": words, "default": setting.default }),
        Kind::Store => {
            json!({ "type": "string", "pattern": "^(sqlite|postgres(ql)?://.+)$", "default": setting.default })
        }
        Kind::Server(word, schemes) => {
            json!({ "type": "string", "pattern": format!("^({word}|({})://.+)$", schemes.join("|")), "default": word })
        }
        Kind::Hosts | Kind::Origins | Kind::Ranges => {
            json!({ "type": "array", "items": { "type": "string" }, "default": [] })
        }
        Kind::Sinks => json!({
            "type": "array",
            "default": [],
            "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["url"],
                "properties": {
                    "url": { "type": "string", "description": "Where notifications are posted: https, or http to this machine." },
                    "secret_env": {
                        "type": "string",
                        "description": "The environment variable with the secret that signs them; needed unless the format is `slack`."
                    },
                    "format": { "enum": Format::WORDS, "default": "json" },
                    "on": {
                        "type": "array",
                        "minItems": 1,
                        "items": { "enum": Topic::WORDS },
                        "default": Topic::WORDS
                    }
                }
            }
        }),
        Kind::Issuers => json!({
            "type": "array",
            "default": [],
            "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["issuer"],
                "oneOf": [{ "required": ["agent"] }, { "required": ["agent_claim"] }],
                "properties": {
                    "issuer": { "type": "string", "description": "Its identifier, exactly as tokens say it in `iss`." },
                    "agent": { "type": "string", "description": "The agent that all of its tokens stand for." },
                    "agent_claim": { "type": "string", "description": "The claim that names the agent." },
                    "agents": {
                        "type": "object",
                        "minProperties": 1,
                        "additionalProperties": { "type": "string" },
                        "description": "What the claim says, to the agent's name; without it the claim says the name."
                    },
                    "audience": {
                        "type": "string",
                        "description": "What `aud` must name; without it the URL of the endpoint that is called."
                    },
                    "scope": { "type": "string", "description": "The scope that a token must have." },
                    "network": { "enum": ["public", "private"], "default": "public" },
                    "ca": { "type": "string", "description": "A further trust anchor (PEM) for its TLS." }
                }
            }
        }),
        Kind::Size => {
            json!({ "type": ["string", "integer"], "pattern": "^[0-9]+ ?(B|KB|kB|MB|GB)?$", "default": setting.default })
        }
        Kind::Count => {
            let default: Option<u32> = setting.default.parse().ok();
            json!({ "type": "integer", "minimum": 1, "default": default })
        }
        Kind::Duration => {
            json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "default": setting.default })
        }
        Kind::Delay => json!({ "type": ["string", "null"], "pattern": "^([0-9]+(ms|s|m|h|d)|none)$" }),
        Kind::Risk => {
            let default = setting.default.parse::<f64>().map_or(Json::Null, Json::from);
            json!({ "type": ["number", "string", "null"], "minimum": 0, "maximum": 1, "default": default })
        }
        Kind::Endpoint | Kind::Name => json!({ "type": ["string", "null"] }),
        Kind::Address => json!({ "type": "string", "default": setting.default }),
        Kind::Variable => json!({ "type": ["string", "null"] }),
        Kind::Url | Kind::Path if setting.default == "none" => json!({ "type": ["string", "null"] }),
        Kind::Url | Kind::Path => json!({ "type": "string", "default": setting.default }),
    };
    if let Json::Object(leaf) = &mut leaf {
        leaf.insert("description".to_owned(), json!(setting.doc));
    }
    leaf
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// The page docs/configuration.md.
    fn reference_page() -> String {
        let mut page = String::from(
            "<!-- Made from the table in crates/toolgate/src/settings/table.rs; a test keeps the two equal. -->\n\
             # Settings\n\n\
             Every setting is optional. They come from, and later wins: the default, `HOME/toolgate.yaml`, `.env` in\n\
             the working directory, the environment, `--set path=value`. `toolgate config show` prints what is in\n\
             force and where it came from; `toolgate config schema` prints a JSON Schema for editors. An unknown\n\
             setting is an error. In the environment and in `--set`, the elements of a list are separated by commas.\n\n\
             | setting | value | default | environment |\n|---|---|---|---|\n",
        );
        for setting in SETTINGS {
            let kind = setting.kind.describe();
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                page,
                "| `{}` | {kind} | `{}` | `{}` |",
                setting.path,
                setting.default,
                setting.variable()
            );
        }
        page.push('\n');
        for setting in SETTINGS {
            let _ = writeln!(page, "* `{}`: {}", setting.path, setting.doc);
        }
        page
    }

    #[test]
    fn the_schema_has_every_setting_at_its_path() {
        let schema = schema();
        for setting in SETTINGS {
            let pointer = format!("/properties/{}", setting.path.replace('.', "/properties/"));
            let leaf = schema.pointer(&pointer).unwrap_or_else(|| panic!("{pointer}"));
            assert_eq!(leaf.get("description").unwrap(), setting.doc);
        }
    }

    #[test]
    fn the_page_in_docs_is_made_from_the_table() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(file, reference_page()).unwrap();
        }
        let page = std::fs::read_to_string(file).unwrap_or_default();
        assert!(page == reference_page(), "docs/configuration.md is stale; run the tests with UPDATE_DOCS=1");
    }
}
