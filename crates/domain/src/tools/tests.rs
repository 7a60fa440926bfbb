//! What counts as another definition and what does not, and what is held back because of it.

use serde_json::{Value, json};
use wire::{Limits, json as wire_json};

use super::*;
use crate::policy::fixture::world;

fn definitions(list: &str) -> std::collections::BTreeMap<String, Arc<Definition>> {
    Definition::of_list(wire_json::read(list.as_bytes(), &Limits::of_bytes(list.len())).unwrap())
}

fn sighting(extent: Extent, list: &str) -> Sighting {
    Sighting { extent, tools: definitions(list) }
}

fn after(before: &ServiceTools, extent: Extent, list: &str, pins: Pins) -> ServiceTools {
    sighting(extent, list).over(before, pins).unwrap_or_else(|| before.clone())
}

fn held(tools: &ServiceTools, name: &str, pins: Pins) -> Option<HeldBack> {
    tools.tools.get(name).map_or(Some(HeldBack::New), |tool| tool.held_back(pins))
}

const NOTHING: [u8; 32] = [0; 32];

fn first_use(list: &str) -> ServiceTools {
    after(&ServiceTools::unseen(NOTHING), Extent::Whole, list, Pins::FirstUse)
}

fn sample() -> Value {
    json!({
        "name": "send_mail", "title": "Send a mail", "description": "Sends a mail to one person.",
        "inputSchema": {
            "type": "object", "additionalProperties": false, "required": ["to", "body"],
            "properties": {
                "to": { "type": "string", "format": "email", "description": "Who gets it" },
                "body": { "type": "string", "maxLength": 10000 },
                "retries": { "type": "integer", "minimum": 0, "maximum": 3, "enum": [0, 1, 2, 3] }
            }
        },
        "outputSchema": { "type": "object", "properties": { "id": { "type": "string" } } },
        "annotations": { "readOnlyHint": false, "destructiveHint": false, "title": "Mail" }
    })
}

/// Every value of a document that stands alone, by its path.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| leaves(value, &format!("{path}/{at}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

/// Every way in which a definition can be another one: a value, a member less, a member more, a character that nobody
/// sees.
fn mutations() -> Vec<Value> {
    let (original, mut paths, mut all) = (sample(), Vec::new(), Vec::new());
    leaves(&original, "", &mut paths);
    for path in paths.iter().filter(|path| *path != "/name") {
        let mut change = |to: &dyn Fn(&mut Value)| {
            let mut mutant = original.clone();
            to(mutant.pointer_mut(path).unwrap());
            all.push(mutant);
        };
        let whole = original.pointer(path).unwrap();
        match whole {
            Value::String(text) => {
                for odd in ["\u{200b}", "\u{202e}", "\u{e0041}", " ", "x", "\n", "\u{430}"] {
                    change(&|value| *value = json!(format!("{text}{odd}")));
                    change(&|value| *value = json!(format!("{odd}{text}")));
                }
                change(&|value| *value = json!(text.to_uppercase() + "!"));
            }
            Value::Bool(flag) => {
                change(&|value| *value = json!(!flag));
                change(&|value| *value = json!(flag.to_string()));
            }
            Value::Number(number) => {
                change(&|value| *value = json!(number.as_u64().unwrap() + 7));
                change(&|value| *value = json!(number.to_string()));
            }
            _ => {}
        }
        change(&|value| *value = json!({ "was": "other" }));
        let (parent, key) = path.rsplit_once('/').unwrap();
        let mut without = original.clone();
        match without.pointer_mut(parent).unwrap() {
            Value::Object(members) => drop(members.remove(key)),
            Value::Array(items) => drop(items.remove(key.parse().unwrap())),
            _ => unreachable!(),
        }
        all.push(without);
    }
    for place in ["", "/inputSchema", "/inputSchema/properties", "/outputSchema", "/annotations"] {
        for (key, value) in [("additionalProperties", json!(true)), ("$ref", json!("https://evil.test/x"))] {
            let mut more = original.clone();
            let members = more.pointer_mut(place).unwrap().as_object_mut().unwrap();
            // Members that nobody reads are no part of a tool.
            if !place.is_empty() {
                members.insert(key.to_owned(), value);
                all.push(more);
            }
        }
    }
    all.retain(|mutant| *mutant != original);
    all
}

#[test]
fn every_mutation_of_a_definition_is_held_back() {
    let pinned = first_use(&format!("[{}]", sample()));
    assert_eq!(held(&pinned, "send_mail", Pins::FirstUse), None);
    let all = mutations();
    assert!(all.len() >= 200, "{}", all.len());
    for mutant in all {
        let known = after(&pinned, Extent::Whole, &format!("[{mutant}]"), Pins::FirstUse);
        assert_eq!(held(&known, "send_mail", Pins::FirstUse), Some(HeldBack::Changed), "{mutant}");
        let back = after(&known, Extent::Whole, &format!("[{}]", sample()), Pins::FirstUse);
        assert_eq!(held(&back, "send_mail", Pins::FirstUse), None, "as it was, again");
    }
}

/// The same document with its members the other way round, white space, and every character escaped.
fn respelled(value: &Value) -> String {
    let string = |text: &str| {
        let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<String>();
        format!("\"{units}\"")
    };
    match value {
        Value::Object(members) => {
            let members =
                members.iter().rev().map(|(key, value)| format!("{} :\n {}", string(key), respelled(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(" ,\t"))
        }
        Value::Array(items) => {
            format!("[ {} ]", items.iter().map(respelled).collect::<Vec<_>>().join(" , "))
        }
        Value::String(text) => string(text),
        other => other.to_string(),
    }
}

#[test]
fn another_spelling_or_order_is_no_alarm() {
    let other = json!({ "name": "b \"\\\u{1f} ünï 🦀/", "description": null });
    let known = first_use(&format!("[{},{other}]", sample()));
    let mut with_meta = sample();
    with_meta["_meta"] = json!({ "request": 7 });
    with_meta["icons"] = json!([]);
    let same = [
        format!("[{other},{}]", sample()),
        format!("[ {} , {} ]", respelled(&other), respelled(&sample())),
        format!("[{with_meta},{{\"name\":{}}}]", other["name"]),
        format!("[{},{},{other}]", sample(), sample()),
    ];
    for list in same {
        let seen = sighting(Extent::Whole, &list);
        assert_eq!(seen.over(&known, Pins::FirstUse), None, "{list}");
    }
    for mutant in mutations() {
        let (plain, odd) = (format!("[{mutant}]"), format!("[{}]", respelled(&mutant)));
        assert_eq!(definitions(&plain), definitions(&odd), "{mutant}");
    }
}

#[test]
fn what_the_first_list_says_is_pinned_and_what_comes_later_waits() {
    let pins = Pins::FirstUse;
    let page = after(&ServiceTools::unseen(NOTHING), Extent::Part, r#"[{"name":"a"}]"#, pins);
    let known = after(&page, Extent::Whole, r#"[{"name":"a"},{"name":"b"}]"#, pins);
    assert_eq!((held(&known, "a", pins), held(&known, "b", pins)), (None, None));
    let later = after(&known, Extent::Whole, r#"[{"name":"c"}]"#, pins);
    assert_eq!(held(&later, "c", pins), Some(HeldBack::New));
    assert_eq!(held(&later, "a", pins), None, "what is away is no alarm");
    let news = later.news_since(&known, pins);
    assert_eq!((news.new, news.changed.len()), (vec!["c".to_owned()], 0));
    let changed = after(&page, Extent::Part, r#"[{"name":"a","title":"x"}]"#, pins);
    assert_eq!(held(&changed, "a", pins), Some(HeldBack::Changed), "also before the first list is whole");
}

#[test]
fn reviewed_tools_wait_for_an_operator_and_without_pins_none_does() {
    let known = first_use(r#"[{"name":"a"}]"#);
    assert_eq!(held(&known, "a", Pins::Review), Some(HeldBack::New), "first use is nobody's word");
    let reviewed = after(&ServiceTools::unseen(NOTHING), Extent::Whole, r#"[{"name":"a"}]"#, Pins::Review);
    assert_eq!(held(&reviewed, "a", Pins::Review), Some(HeldBack::New));
    assert_eq!(held(&reviewed, "a", Pins::FirstUse), Some(HeldBack::New), "a laxer setting accepts nothing");
    let off = after(&known, Extent::Whole, r#"[{"name":"a","title":"x"},{"name":"b"}]"#, Pins::Off);
    assert_eq!((held(&off, "a", Pins::Off), held(&off, "b", Pins::FirstUse)), (None, None));
}

#[test]
fn two_tools_of_one_name_are_one_that_says_the_worse() {
    let two = r#"[{"name":"a","annotations":{"readOnlyHint":true}},{"name":"a","annotations":{"destructiveHint":true}}]"#;
    let known = first_use(two);
    assert_eq!(known.tools["a"].hint, ToolHint::Destructive);
    let one =
        after(&known, Extent::Whole, r#"[{"name":"a","annotations":{"readOnlyHint":true}}]"#, Pins::FirstUse);
    assert_eq!(held(&one, "a", Pins::FirstUse), Some(HeldBack::Changed));
}

#[test]
fn what_is_remembered_is_bounded() {
    let tools = (0..5_000).map(|tool| format!("{{\"name\":\"t{tool}\"}}")).collect::<Vec<_>>().join(",");
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let known = first_use(&format!("[{{\"name\":\"{long}\"}},{tools}]"));
    assert_eq!(known.tools.len(), TOOLS_MAX);
    assert_eq!(held(&known, &long, Pins::FirstUse), Some(HeldBack::New));
    let huge = format!("[{{\"name\":\"a\",\"description\":\"{}\"}}]", "y".repeat(DEFINITION_BYTES_MAX));
    let known = first_use(&huge);
    assert_eq!(held(&known, "a", Pins::FirstUse), Some(HeldBack::New), "too large to be pinned");
    assert_eq!((known.tools["a"].bytes, &known.tools["a"].schema), (0, &None));
    let many = (0..100).map(|tool| format!("{{\"name\":\"t{tool}\",\"title\":\"{}\"}}", "y".repeat(200_000)));
    let known = first_use(&format!("[{}]", many.collect::<Vec<_>>().join(",")));
    assert!(known.tools.values().map(|tool| tool.bytes).sum::<usize>() <= 8 * 1024 * 1024);
    // Names that come and go make room for those that are there.
    let mut known = first_use("[]");
    for list in 0..5 {
        let junk =
            (0..2_000).map(|tool| format!("{{\"name\":\"j{list}-{tool}\"}}")).collect::<Vec<_>>().join(",");
        known = after(&known, Extent::Whole, &format!("[{junk}]"), Pins::FirstUse);
        assert!(known.tools.len() <= TOOLS_MAX);
        assert!(known.tools.contains_key(&format!("j{list}-1999")));
    }
}

#[test]
fn a_tools_word_counts_where_it_is_pinned_or_its_server_trusted() {
    let list = r#"[{"name":"look","annotations":{"readOnlyHint":true}},{"name":"wipe","annotations":{"destructiveHint":"yes"}},
        {"name":"odd","annotations":[1]},{"name":"said","annotations":{"readOnlyHint":"true","destructiveHint":null}}]"#;
    let world = world("version: 1\n", &["files"]);
    let mut service = (**world.services.get("files").unwrap()).clone();
    let place = place_of(&service.upstream);
    let known = after(&ServiceTools::unseen(place), Extent::Whole, list, Pins::FirstUse);
    let catalogue = Catalogue::default().with(&service.name, Arc::new(known.clone()));
    let weights = |service: &Service, catalogue: &Catalogue| {
        ["look", "wipe", "odd", "said", "none"].map(|tool| catalogue.weight(service, tool))
    };
    use Weight::{DestructiveTool, ReadOnlyTool, Tool, UnseenTool};
    assert_eq!(weights(&service, &catalogue), [ReadOnlyTool, DestructiveTool, Tool, Tool, Tool]);
    service.pins = Pins::Off;
    assert_eq!(weights(&service, &catalogue), [Tool; 5], "its word is not trusted");
    service.trust_annotations = true;
    assert_eq!(weights(&service, &catalogue), [ReadOnlyTool, DestructiveTool, Tool, Tool, UnseenTool]);
    let elsewhere = [(service.name.clone(), Arc::new(ServiceTools { place: [9; 32], ..known }))];
    let catalogue = Catalogue::of(elsewhere, &world.services);
    assert_eq!(weights(&service, &catalogue), [UnseenTool; 5], "another upstream's tools are others");
}

#[test]
fn what_a_node_has_learned_comes_on_top_of_what_the_store_has() {
    let pins = Pins::FirstUse;
    let before = ServiceTools::unseen(NOTHING);
    let seen = sighting(Extent::Whole, r#"[{"name":"a"},{"name":"b"}]"#);
    let after = seen.over(&before, pins).unwrap();
    let mut learned = Learned::default();
    learned.take(&seen, &before, &after);
    assert_eq!(before.joined(&learned, pins), after);
    // Another node was first, with a list of its own: what it has pinned stays pinned.
    let other = first_use(r#"[{"name":"a","title":"x"}]"#);
    let joined = other.joined(&learned, pins);
    assert_eq!(held(&joined, "a", pins), Some(HeldBack::Changed));
    assert_eq!(held(&joined, "b", pins), Some(HeldBack::New));
    // An operator has accepted meanwhile what this node has just seen.
    let mut accepted = after.clone();
    let tool = KnownTool {
        pinned: Some(Pinned { hash: after.tools["a"].hash, by_operator: true }),
        ..(*after.tools["a"]).clone()
    };
    accepted.tools.insert("a".to_owned(), Arc::new(tool));
    assert_eq!(held(&accepted.joined(&learned, pins), "a", Pins::Review), None);
}

#[test]
fn a_definition_that_was_kept_is_the_one_that_was_seen() {
    for mutant in mutations() {
        let all = definitions(&format!("[{mutant},{{\"name\":\"send_mail\"}}]"));
        for definition in all.values() {
            let text = definition.text.as_deref().unwrap();
            assert_eq!(Definition::of_kept(text).as_ref(), Some(&**definition), "{text}");
        }
    }
}
