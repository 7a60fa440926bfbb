//! The JSON Schema of `policy.yaml`, for editors. The reader in `parse.rs` decides; this only helps with typing.

use serde_json::{Value, json};

/// JSON Schema (draft 2020-12) of a policy file.
#[must_use]
pub fn schema() -> Value {
    let patterns = |what: &str| {
        json!({
            "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 },
            "description": format!("{what}. `*` stays inside one path segment, `**` crosses.")
        })
    };
    let limit = |what: &str, default: &str| {
        let description = format!("{what}. N/T: N at once, then one per T/N. Default {default}.");
        json!({ "$ref": "#/$defs/limit", "description": description, "default": default })
    };
    let targets = json!({
        "tools": patterns("Names of MCP tools"),
        "resources": patterns("URIs of MCP resources"),
        "prompts": patterns("Names of MCP prompts"),
        "requests": patterns("Requests of an HTTP service as `METHOD /path`"),
    });
    let one_target = json!([
        { "required": ["tools"] }, { "required": ["resources"] }, { "required": ["prompts"] }, { "required": ["requests"] }
    ]);
    let with = |own: Value| joined(&targets, &own);
    let rule = |own: Value| {
        let every = json!({
            "name": { "type": "string", "minLength": 1, "maxLength": 64, "description": "How the rule is called in answers and in the trail." },
            "service": { "$ref": "#/$defs/service" },
            "when": {
                "type": ["string", "boolean"],
                "description": "A condition in CEL over `args`, `query`, `call`, `agent` and `now`, such as `args.amount > 1000`. The rule matches only where it is true. One that cannot be answered counts against the caller: an allow does not match then, a deny or an approve does."
            }
        });
        with(joined(&every, &own))
    };
    let role = |allow: Value| {
        json!({
            "allow": allow,
            "approve": { "type": "array", "items": { "$ref": "#/$defs/approve_rule" }, "description": "What it may do once operators have approved it. Where the condition of such a rule is false, an allow must match." },
            "deny": { "type": "array", "items": { "$ref": "#/$defs/deny_rule" }, "description": "What it may not, whatever allows it." }
        })
    };
    let risk = json!({
        "anyOf": [{ "type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.001 }, { "const": "ignore" }],
        "description": "The least risk of what this rule matches, from 0 to 1; or `ignore`: however risky, it needs nobody."
    });
    let time = |what: &str| json!({ "type": "string", "pattern": "^[0-9]+[smhd]$", "description": format!("{what}. At most 366d; the shortest, where several rules match.") });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Toolgate policy",
        "description": "Which role may do what. Deny beats approve beats allow; silence means no.",
        "type": "object",
        "required": ["version"],
        "additionalProperties": false,
        "properties": {
            "version": { "const": 1, "description": "The version of this format." },
            "roles": {
                "type": "object",
                "description": "Roles by name. `admin`, `user` and `readonly` always exist; one without rules may do nothing.",
                "propertyNames": { "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$" },
                "properties": { "admin": { "$ref": "#/$defs/admin" } },
                "additionalProperties": { "$ref": "#/$defs/role" }
            },
            "approve": {
                "type": "array", "items": { "$ref": "#/$defs/approve_rule" },
                "description": "Needs people whatever the role, `admin` too. It grants nothing: it adds the approval to what a role is granted."
            },
            "deny": {
                "type": "array", "items": { "$ref": "#/$defs/deny_rule" },
                "description": "Forbidden to every role, `admin` too. `service: \"*\"` means every service."
            },
            "limits": {
                "type": "object",
                "description": "How often something may be done. Binds every role.",
                "additionalProperties": false,
                "properties": {
                    "per_key": limit("All calls of a key", "60/1m"),
                    "per_tool": limit("Calls of one tool, prompt or resource with a key", "20/1m"),
                    "housekeeping": limit("Everything that is not a call (lists, notifications), per key", "600/1m"),
                    "refusals": limit("Refused calls, per key", "120/1m"),
                    "overrides": {
                        "type": "array", "items": { "$ref": "#/$defs/override" },
                        "description": "Limits in place of `per_tool`. Where several match, all apply."
                    }
                }
            }
        },
        "$defs": {
            "limit": { "type": "string", "pattern": "^[1-9][0-9]{0,6}/[1-9][0-9]*[smhd]$" },
            "role": {
                "type": "object", "additionalProperties": false,
                "properties": role(json!({ "type": "array", "items": { "$ref": "#/$defs/allow_rule" }, "description": "What this role may do." }))
            },
            "admin": {
                "type": "object", "additionalProperties": false,
                "properties": role(json!({
                    "description": "`[\"*\"]` for everything, or rules.",
                    "anyOf": [
                        { "type": "array", "items": { "const": "*" }, "maxItems": 1 },
                        { "type": "array", "items": { "$ref": "#/$defs/allow_rule" } }
                    ]
                }))
            },
            "allow_rule": {
                "type": "object", "additionalProperties": false,
                "required": ["service"], "anyOf": one_target,
                "properties": rule(json!({
                    "risk": risk,
                    "read": { "type": "boolean", "description": "Marks what this rule matches as reading: it does not wait for people only because a risk model failed." }
                }))
            },
            "approve_rule": {
                "type": "object", "additionalProperties": false,
                "required": ["service"], "anyOf": one_target,
                "properties": rule(json!({
                    "risk": risk,
                    "approvals": { "type": "integer", "minimum": 1, "maximum": 255, "default": 1, "description": "How many different operators must approve. Where several rules match, the highest." },
                    "decide_within": time("How long operators have; else `approvals.decide_within` of the settings"),
                    "execute_within": time("How long after the last approval the call may be executed; else `approvals.execute_within` of the settings")
                }))
            },
            "deny_rule": {
                "type": "object", "additionalProperties": false,
                "required": ["service"], "anyOf": one_target,
                "properties": rule(json!({}))
            },
            "override": {
                "type": "object", "additionalProperties": false,
                "required": ["service", "limit"], "anyOf": one_target,
                "properties": with(json!({
                    "service": { "$ref": "#/$defs/service" },
                    "limit": { "$ref": "#/$defs/limit", "description": "The limit for all that this matches, together, per key." }
                }))
            },
            "service": { "type": "string", "pattern": "^(\\*|[a-z0-9][a-z0-9-]{0,39})$", "description": "A service's name." }
        }
    })
}

/// The members of both.
fn joined(one: &Value, other: &Value) -> Value {
    let members = [one, other].into_iter().filter_map(Value::as_object).flatten();
    Value::Object(members.map(|(key, value)| (key.clone(), value.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        parse::{KEYS_OF, LIMIT_KEYS, OVERRIDE_KEYS, ROLE_KEYS, RULE_KEYS, TOP_KEYS},
        rule::RuleEffect,
    };

    #[test]
    fn the_schema_knows_exactly_the_keys_that_the_reader_knows() {
        let schema = schema();
        let keys = |pointer: &str| {
            let mut keys: Vec<_> =
                schema.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        let of = |effect: RuleEffect| {
            let own = KEYS_OF.iter().filter(|(_, owners)| owners.contains(&effect)).map(|(key, _)| *key);
            RULE_KEYS.into_iter().chain(own).collect::<Vec<_>>()
        };
        for (pointer, known) in [
            ("/properties", &TOP_KEYS[..]),
            ("/$defs/role/properties", &ROLE_KEYS),
            ("/$defs/admin/properties", &ROLE_KEYS),
            ("/$defs/allow_rule/properties", &of(RuleEffect::Allow)),
            ("/$defs/approve_rule/properties", &of(RuleEffect::Approve)),
            ("/$defs/deny_rule/properties", &of(RuleEffect::Deny)),
            ("/properties/limits/properties", &LIMIT_KEYS),
            ("/$defs/override/properties", &OVERRIDE_KEYS),
        ] {
            let mut known: Vec<_> = known.iter().map(|key| (*key).to_owned()).collect();
            known.sort();
            assert_eq!(keys(pointer), known, "{pointer}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let schema = schema();
        let text = schema.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(schema.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
