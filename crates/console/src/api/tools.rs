//! Tools of MCP services: which may be called, and accepting what has changed.

use admin::tools_json;
use domain::tools::ToolHash;
use http::Response;
use pipeline::flow::Flow;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{answer, asked::Asked, problem::Problem};

/// A service's tools.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct ToolsView(Value);

impl JsonSchema for ToolsView {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ToolsView".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "What is known of a service's tools. Their texts are the upstream's own.",
            "required": ["service", "pins", "listed", "tools"],
            "properties": {
                "service": { "type": "string" },
                "pins": { "type": "string", "enum": ["first-use", "review", "off"] },
                "listed": { "type": "boolean", "description": "Whether a whole list was seen." },
                "tools": { "type": "array", "items": {
                    "type": "object",
                    "required": ["name", "state", "hash", "hint", "seen_at", "differences", "flags"],
                    "properties": {
                        "name": { "type": "string" },
                        "state": {
                            "type": "string", "enum": ["accepted", "first-use", "new", "changed", "unpinned"],
                            "description": "`new` and `changed` are held back: no agent sees or calls them."
                        },
                        "hash": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
                        "hint": { "type": "string", "enum": ["read-only", "plain", "destructive"] },
                        "seen_at": { "type": "string", "format": "date-time" },
                        "accepted_hash": { "type": ["string", "null"] },
                        "accepted_at": { "type": ["string", "null"], "format": "date-time" },
                        "accepted_by": { "type": ["string", "null"], "description": "None: it was there at first use." },
                        "definition": { "description": "None: it is too large to be kept." },
                        "accepted_definition": {},
                        "differences": { "type": "array", "items": {
                            "type": "object", "required": ["path", "from", "to"],
                            "properties": {
                                "path": { "type": "string" },
                                "from": { "type": ["string", "null"] },
                                "to": { "type": ["string", "null"] }
                            }
                        } },
                        "flags": { "type": "array", "items": { "type": "string" } }
                    }
                } }
            }
        })
    }
}

/// Which definition is accepted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcceptBody {
    /// The hash that was shown: 64 hexadecimal digits.
    hash: String,
}

pub(crate) async fn list(asked: Asked) -> Result<Response<Flow>, Problem> {
    let view = asked.desk.admin.tools(asked.part("name")).await?;
    answer::ok(&ToolsView(tools_json(&view)))
}

pub(crate) async fn accept(asked: Asked) -> Result<Response<Flow>, Problem> {
    let AcceptBody { hash } = asked.json()?;
    let hash = ToolHash::parse(&hash)
        .ok_or_else(|| Problem::invalid("`hash` is 64 hexadecimal digits; take it from the list of tools"))?;
    let (admin, actor) = (&asked.desk.admin, asked.who()?.operator.actor());
    let (service, tool) = (asked.part("name"), asked.part("tool"));
    admin.accept_tool(&actor, asked.now.wall, (service, tool), &hash).await?;
    let view = admin.tools(service).await?;
    answer::ok(&ToolsView(tools_json(&view)))
}
