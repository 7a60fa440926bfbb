//! A list shows exactly what may be used: elements are cut out of the bytes, the rest stays as it is and where it
//! is. In a JSON answer, in an event stream, and on a stream that is resumed.

use crate::harness::*;

/// A list as an odd server writes it. Only `read_note` and `echo` may be used.
const TOOLS_BEFORE: &str = concat!(
    "{\"jsonrpc\":\"2.0\" , \"result\" : {\"nextCursor\":\"c\\u0032\", \"tools\":[\n",
    "  {\"name\":\"delete_note\",\"x\":1.0},\n",
    "  {\"x\":1E5,\"name\":\"read_note\", \"inputSchema\":{\"type\":\"object\"}} ,\n",
    "  {\"name\":\"write_note\"},  {\"noname\":true}, {\"name\":7}, [\"read_note\"],\n",
    "  {\"name\":\"ech\\u006f\",\"n\":12345678901234567890123}\n",
    " ],\"_meta\":{\"a\":-0}},\"id\":1}"
);
const TOOLS_AFTER: &str = concat!(
    "{\"jsonrpc\":\"2.0\" , \"result\" : {\"nextCursor\":\"c\\u0032\", \"tools\":[\n",
    "  {\"x\":1E5,\"name\":\"read_note\", \"inputSchema\":{\"type\":\"object\"}},\n",
    "  {\"name\":\"ech\\u006f\",\"n\":12345678901234567890123}\n",
    " ],\"_meta\":{\"a\":-0}},\"id\":1}"
);

fn in_events(message: &str) -> String {
    let lines: Vec<String> = message.lines().map(|line| format!("data: {line}\n")).collect();
    format!(": before\n\nid: 3\nevent: message\n{}\n: after\n\n", lines.concat())
}

fn names(reply: &Reply, member: &str, name: &str) -> Vec<String> {
    let json = reply.json();
    let list = json["result"][member].as_array().unwrap_or_else(|| panic!("no list: {json}"));
    list.iter().map(|element| element[name].as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_four_lists_are_cut() {
    let stage = Stage::new();
    let list = |method: &str, member, name| names(&stage.at_web().request(method, "{}"), member, name);
    assert_eq!(list("tools/list", "tools", "name"), ["read_note", "echo", "read_all"]);
    assert_eq!(list("prompts/list", "prompts", "name"), ["hello"]);
    assert_eq!(list("resources/list", "resources", "uri"), ["file:///public/a", "file:///public/c"]);
    let templates = list("resources/templates/list", "resourceTemplates", "uriTemplate");
    assert_eq!(templates, ["file:///public/{name}"]);
    let child = stage.at_child().request("tools/list", "{}");
    assert_eq!(names(&child, "tools", "name"), ["read_note", "echo", "read_all"]);
}

#[test]
fn what_is_listed_may_be_called_and_nothing_else() {
    let stage = Stage::new();
    for agent in [stage.at_web(), stage.at_child()] {
        let listed = names(&agent.request("tools/list", "{}"), "tools", "name");
        for tool in TOOLS {
            let verdict = agent.call(tool, "{}").verdict();
            assert_eq!(verdict == 200, listed.contains(&tool.to_owned()), "{tool}: {verdict}");
        }
    }
}

#[test]
fn an_admin_sees_everything_but_what_is_denied() {
    let stage = Stage::new();
    let chief = stage.gateway.key("chief", "admin", "web");
    let agent = stage.gateway.agent(&chief, "web");
    until("the new key to be noticed", || agent.request("ping", "{}").verdict() == 200);
    let tools = names(&agent.request("tools/list", "{}"), "tools", "name");
    assert_eq!(tools, ["read_note", "echo", "write_note", "read_all"]);
}

#[test]
fn a_list_keeps_its_bytes_and_its_order() {
    let stage = Stage::behind(Home::new(POLICY), Upstream::start(|_| json(TOOLS_BEFORE)));
    let reply = stage.at_web().request("tools/list", "{}");
    assert_eq!(reply.text(), TOOLS_AFTER);
    assert_eq!(reply.header("content-length"), Some(TOOLS_AFTER.len().to_string().as_str()));
}

#[test]
fn a_list_in_an_event_stream_is_cut_too() {
    let stage = Stage::behind(Home::new(POLICY), Upstream::start(|_| events(&in_events(TOOLS_BEFORE))));
    let reply = stage.at_web().request("tools/list", "{}");
    assert!(reply.text().starts_with(": before\n\nid: 3\nevent: message\n"), "{}", reply.text());
    assert!(reply.text().ends_with("\n: after\n\n"), "{}", reply.text());
    let text = reply.text();
    let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.join("\n"), TOOLS_AFTER);
}

#[test]
fn a_list_on_a_resumed_stream_is_cut_too() {
    let both = TOOLS_BEFORE.replace(
        "\"_meta\":{\"a\":-0}",
        "\"resources\":[{\"uri\":\"file:///secret/b\"},{\"uri\":\"file:///public/a\"}],\"prompts\":[{\"name\":\"hidden\"}]",
    );
    let web = Upstream::start(move |hit| match hit.header("last-event-id") {
        Some("42") => events(&in_events(&both)),
        _ => answer("400 Bad Request", "", ""),
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    let reply = stage.gateway.send(&stage.at_web().listen().header("Last-Event-ID", "42"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    for hidden in ["delete_note", "write_note", "secret", "hidden"] {
        assert!(!reply.text().contains(hidden), "{hidden} is shown: {}", reply.text());
    }
    for shown in ["read_note", "ech\\u006f", "file:///public/a"] {
        assert!(reply.text().contains(shown), "{shown} is not shown: {}", reply.text());
    }
}

#[test]
fn a_list_that_hides_in_another_list_is_cut_too() {
    let other = r#"{"prompts":[{"name":"hello"}],"tools":[{"name":"delete_note"}],"resources":[{"uri":"file:///secret/b"}]}"#;
    let stage = Stage::behind(Home::new(POLICY), Upstream::start(move |_| json(rpc("1", other))));
    for method in ["tools/list", "prompts/list", "resources/list"] {
        let text = stage.at_web().request(method, "{}").text();
        assert!(!text.contains("delete_note") && !text.contains("secret"), "{method}: {text}");
    }
}

#[test]
fn a_list_that_cannot_be_read_is_not_handed_out() {
    let compressed = b"\x1f\x8b\x08\x00 delete_note".as_slice();
    let plain = rpc("1", r#"{"tools":[{"name":"delete_note"}]}"#);
    let twice = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"delete_note"}]}}"#;
    let json = "Content-Type: application/json\r\n";
    for (headers, body) in [
        ("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", compressed),
        ("Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n", compressed),
        (
            "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n",
            b"data: x\n\nid: delete_note\n\n".as_slice(),
        ),
        ("Content-Type: text/plain\r\n", plain.as_bytes()),
        ("", plain.as_bytes()),
        (json, twice.as_bytes()),
        (json, &plain.as_bytes()[..plain.len() - 1]),
        (
            json,
            b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"delete_note\"}]}}]"
                .as_slice(),
        ),
        (json, b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":{\"delete_note\":{}}}}".as_slice()),
        (json, b"\"delete_note\" garbage".as_slice()),
    ] {
        let (headers, body) = (headers.to_owned(), body.to_vec());
        let shown = String::from_utf8_lossy(&body).into_owned();
        let web = Upstream::start(move |_| answer("200 OK", &headers, &body));
        let stage = Stage::behind(Home::new(POLICY), web);
        let reply = stage.at_web().request("tools/list", "{}");
        assert!(!reply.text().contains("delete_note"), "{shown} is handed out: {}", reply.text());
        assert!(reply.cut_off || reply.verdict() == 502, "{shown}: {} {}", reply.status, reply.text());
    }
}

#[test]
fn a_list_in_an_answer_that_failed_is_cut_too() {
    let tools = rpc("1", r#"{"tools":[{"name":"delete_note"}]}"#);
    let web = Upstream::start(move |_| answer("500 Oh", "Content-Type: application/json\r\n", &tools));
    let stage = Stage::behind(Home::new(POLICY), web);
    let reply = stage.at_web().request("tools/list", "{}");
    assert!(!reply.text().contains("delete_note"), "{}", reply.text());
}

#[test]
fn a_changed_scope_is_seen_in_the_next_list() {
    let stage = Stage::new();
    stage.gateway.ok(&["agents", "update", "laptop", "--role", "readonly"]);
    until("the change to be noticed", || {
        names(&stage.at_web().request("tools/list", "{}"), "tools", "name").is_empty()
    });
}
