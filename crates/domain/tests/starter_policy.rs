//! The policy that `init` writes: no problem in it, its promises kept, and the schema for editors agrees with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use domain::{
    policy::{self, Policy},
    yaml::{self, Node},
};
use serde_json::Value;

const STARTER: &str = include_str!("../../toolgate/assets/policy.yaml");

fn starter() -> Policy {
    let (policy, warnings) = policy::parse("policy.yaml", STARTER).unwrap_or_else(|problems| {
        panic!("{}", yaml::render_all(&problems));
    });
    assert_eq!(warnings, [], "the starter policy has warnings");
    policy
}

#[test]
fn the_starter_policy_has_no_problems() {
    let summary = starter().summary();
    assert_eq!((summary.roles, summary.rules, summary.denies, summary.limits), (3, 4, 1, 4));
}

#[test]
fn its_limits_are_the_defaults_written_out() {
    let (bare, _) = policy::parse("policy.yaml", "version: 1\n").unwrap();
    let limits = |policy: &Policy| {
        let limits = policy.limits();
        [limits.per_key, limits.per_tool, limits.housekeeping, limits.refusals].map(|quota| quota.to_string())
    };
    assert_eq!(limits(&starter()), limits(&bare));
    assert_eq!(limits(&bare), ["60/1m", "20/1m", "600/1m", "120/1m"]);
}

#[test]
fn the_lines_that_are_commented_out_are_good_too() {
    let mut commented = 0;
    let lines = STARTER.lines().map(|line| {
        let (indent, rest) = line.split_once("# ").unwrap_or((line, ""));
        let example = rest.trim_start().starts_with("- {")
            || rest.starts_with("overrides:")
            || rest.starts_with("approve:");
        commented += usize::from(example);
        if example { format!("{indent}{rest}\n") } else { format!("{line}\n") }
    });
    let text: String = lines.collect();
    let (policy, warnings) = policy::parse("policy.yaml", &text).unwrap_or_else(|problems| {
        panic!("{}", yaml::render_all(&problems));
    });
    assert_eq!(
        (commented, warnings, policy.summary().rules, policy.limits().overrides.len()),
        (6, vec![], 7, 1)
    );
}

#[test]
fn the_schema_accepts_the_starter_policy() {
    let schema = policy::schema();
    let document = json(&yaml::parse("policy.yaml", STARTER).unwrap());
    assert_eq!(faults(&schema, &schema, &document), Vec::<String>::new());
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = policy::schema();
    for text in [
        "version: 2",
        "roles: {}",
        "version: 1\nrole: {}",
        "version: 1\nroles: { user: { allow: [\"*\"] } }",
        "version: 1\nroles: { user: { allow: [{ service: files }] } }",
        "version: 1\nroles: { user: { allow: [{ tools: [a] }] } }",
        "version: 1\ndeny: [{ service: files, tool: [a] }]",
        "version: 1\ndeny: [{ service: files, tools: a }]",
        "version: 1\ndeny: [{ service: files, tools: [a], risk: 0.5 }]",
        "version: 1\napprove: [{ service: files, tools: [a], approvals: 0 }]",
        "version: 1\napprove: [{ service: files, tools: [a], approvals: 256 }]",
        "version: 1\napprove: [{ service: files, tools: [a], read: true }]",
        "version: 1\napprove: [{ service: files, tools: [a], risk: 1.5 }]",
        "version: 1\napprove: [{ service: files, tools: [a], risk: high }]",
        "version: 1\nroles: { user: { allow: [{ service: files, tools: [a], approvals: 2 }] } }",
        "version: 1\nroles: { user: { approve: [\"*\"] } }",
        "version: 1\nlimits: { overrides: [{ service: files, tools: [a] }] }",
    ] {
        assert!(policy::parse("policy.yaml", text).is_err(), "the reader accepts {text}");
        let document = json(&yaml::parse("policy.yaml", text).unwrap());
        assert!(!faults(&schema, &schema, &document).is_empty(), "the schema accepts {text}");
    }
}

#[test]
fn the_schema_accepts_what_a_rule_may_say() {
    let schema = policy::schema();
    let text = "version: 1
roles:
  user:
    allow:
      - { service: files, tools: [a], read: true, risk: ignore }
      - { service: files, tools: [b], risk: 0.805 }
    approve:
      - { service: files, tools: [c], risk: 1, approvals: 255, decide_within: 2h, execute_within: 5m, when: true }
approve:
  - { service: \"*\", tools: [c], risk: ignore }
";
    assert!(policy::parse("policy.yaml", text).is_ok());
    let document = json(&yaml::parse("policy.yaml", text).unwrap());
    assert_eq!(faults(&schema, &schema, &document), Vec::<String>::new());
}

/// As an editor sees the file.
fn json(node: &Node) -> Value {
    if let Some(list) = node.as_list() {
        return list.iter().map(json).collect();
    }
    if let Some(map) = node.as_map() {
        return Value::Object(map.iter().map(|(key, value)| (key.text.clone(), json(value))).collect());
    }
    let decimal =
        || matches!(node.value, yaml::Value::Scalar { plain: true, .. }).then(|| node.as_text()).flatten();
    let plain = node.as_bool().map(Value::from).or(node.as_number().map(Value::from));
    let plain = plain.or_else(|| decimal()?.parse::<f64>().ok().map(Value::from));
    plain.unwrap_or_else(|| node.as_text().map_or(Value::Null, Value::from))
}

/// What a document does against a schema, for the keywords that ours uses (`pattern` is left to editors).
fn faults(root: &Value, schema: &Value, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        found.extend(faults(root, root.pointer(pointer).unwrap(), document));
    }
    let of_type = match schema["type"].as_str() {
        None => true,
        Some("object") => document.is_object(),
        Some("array") => document.is_array(),
        Some("string") => document.is_string(),
        Some("boolean") => document.is_boolean(),
        Some("number") => document.is_number(),
        Some("integer") => document.is_u64(),
        Some(other) => panic!("the test does not know the type {other}"),
    };
    let number = document.as_f64().unwrap_or_default();
    let in_range = schema["minimum"].as_f64().is_none_or(|least| number >= least)
        && schema["maximum"].as_f64().is_none_or(|most| number <= most);
    if !of_type || !in_range || schema.get("const").is_some_and(|only| only != document) {
        found.push(format!("{document} is not {schema}"));
    }
    if let Some(choices) = schema["anyOf"].as_array()
        && !choices.iter().any(|choice| faults(root, choice, document).is_empty())
    {
        found.push(format!("{document} is none of {}", schema["anyOf"]));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if document.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{name} is missing in {document}"));
        }
    }
    for (name, value) in document.as_object().into_iter().flatten() {
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(member), _) => found.extend(faults(root, member, value)),
            (None, Value::Bool(false)) => found.push(format!("`{name}` does not belong here")),
            (None, Value::Null) => {}
            (None, others) => found.extend(faults(root, others, value)),
        }
    }
    let items = document.as_array().map(Vec::as_slice).unwrap_or_default();
    let too_many = schema["maxItems"].as_u64().is_some_and(|most| items.len() as u64 > most);
    let too_few =
        document.is_array() && schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least);
    if too_many || too_few {
        found.push(format!("{} items", items.len()));
    }
    if let Some(of_items) = schema.get("items") {
        found.extend(items.iter().flat_map(|item| faults(root, of_items, item)));
    }
    found
}
