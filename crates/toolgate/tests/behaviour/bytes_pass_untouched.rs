//! What is forwarded is what came, byte for byte, both ways. Only a list is cut and only our own members are cut
//! out; behind a stdio child the id is ours on the way in and the client's own on the way back.

use crate::harness::*;

/// Values that a proxy which reads and writes JSON again would change.
const AWKWARD: &str = concat!(
    r#"{ "z" : 12345678901234567890123, "one":1.0,"big":1E5 , "minus":-0, "tiny":1e-400,"#,
    r#""esc":"\u0041\/\u00e9é\ud83d\ude00", "":{"b":[ ],"a":[1,  2]},"content":[{"type":"hologram/x","data":null}],"#,
    "\"tab\":\"\\t\",\n \"unknown\" : [true , false,null ] }"
);

fn request(id: &str) -> String {
    format!(
        "  {{\"method\":\"tools/call\", \"params\" : {{\"arguments\":{AWKWARD},\"name\":\"read_note\",\"extra\":1.00}},\r\n\"id\":{id},\"jsonrpc\":\"2.0\" }}\n"
    )
}

/// A stage whose upstream answers everything with these bytes.
fn answering(bytes: Vec<u8>, media: &'static str) -> Stage {
    let web = Upstream::start(move |_| answer("200 OK", &format!("Content-Type: {media}\r\n"), &bytes));
    Stage::behind(Home::new(POLICY), web)
}

#[test]
fn a_request_arrives_as_it_was_sent() {
    let stage = Stage::new();
    for id in ["1", "\"\\u0061b\"", "12345678901234567890123", "-0", "\"\""] {
        let reply = stage.at_web().send(request(id));
        assert_eq!(reply.status, 200, "{id}: {}", reply.text());
        assert_eq!(String::from_utf8(stage.web.last().body).unwrap(), request(id));
    }
}

#[test]
fn a_refusal_repeats_the_id_as_it_was_written() {
    let stage = Stage::new();
    for id in ["1", "\"\\u0061b\"", "12345678901234567890123", "-0", "\"\""] {
        let reply = stage.at_web().send(request(id).replace("read_note", "write_note"));
        assert_eq!(reply.verdict(), 403, "{id}: {}", reply.text());
        assert!(reply.text().contains(&format!("\"id\":{id},")), "{}", reply.text());
    }
}

#[test]
fn an_answer_arrives_as_it_was_given() {
    let result = format!("\n {{\"result\":{AWKWARD} ,\"id\":1,\"jsonrpc\":\"2.0\",\"more\":[1.50]}} \n");
    let error = format!(
        r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":-32001.0,"message":"\u0000","data":{AWKWARD},"x":[]}}}}"#
    );
    for bytes in [result.as_bytes(), error.as_bytes(), b"\xff\xfe not even JSON".as_slice(), b"".as_slice()] {
        let stage = answering(bytes.to_vec(), "application/json");
        let reply = stage.at_web().send(request("1"));
        assert_eq!((reply.status, &*reply.body), (200, bytes));
        let events = stage.gateway.recorded(reply.call_id(), 2);
        assert_eq!(events[1]["bytes"], bytes.len());
    }
}

#[test]
fn an_answer_keeps_its_status_and_media_type() {
    let web = Upstream::start(|_| {
        answer("418 I'm a teapot", "Content-Type: text/tea; strength=9\r\n", "\u{fffd}hot")
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    let reply = stage.at_web().send(request("1"));
    assert_eq!((reply.status, reply.header("content-type")), (418, Some("text/tea; strength=9")));
    assert_eq!(reply.text(), "\u{fffd}hot");
    assert_eq!(reply.proxy_status(), "forwarded");
    assert_eq!(stage.gateway.recorded(reply.call_id(), 2)[1]["status"], 418);
}

#[test]
fn an_event_stream_arrives_as_it_was_given() {
    let stream = format!(
        concat!(
            ": a comment\n\n",
            "id: 7\nretry: 1000\ndata:\n\n",
            "event: message\r\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\r\n",
            "data:\"params\":{{\"progressToken\":1,\"progress\":1.0}}}}\r\n\r\n",
            "unknown: field\ndata: not even JSON\n\n",
            "data: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}}\n\n",
            "data: an event without its end"
        ),
        AWKWARD.replace('\n', " ")
    );
    let whole = stream.clone();
    let stage = Stage::behind(Home::new(POLICY), Upstream::start(move |_| events(&whole)));
    let reply = stage.at_web().send(request("1"));
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(reply.header("x-accel-buffering"), Some("no"));
    assert_eq!(reply.text(), stream);
    assert_eq!(stage.gateway.recorded(reply.call_id(), 2)[1]["bytes"], stream.len());
}

#[test]
fn an_event_arrives_before_the_next_one_is_made() {
    let latch = Latch::new();
    let held = std::sync::Arc::clone(&latch);
    let web = Upstream::start(move |_| {
        let wait = Step::Wait(std::sync::Arc::clone(&held));
        vec![
            stream_head(),
            say("data: {\"first\":1}\n\n"),
            wait,
            say("data: {\"second\":2}\n\n"),
            Step::HangUp,
        ]
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    let mut answer = stage.gateway.open(&stage.at_web().post(request("1")));
    assert_eq!(answer.event().as_deref(), Some("data: {\"first\":1}\n\n"));
    latch.release();
    assert_eq!(answer.event().as_deref(), Some("data: {\"second\":2}\n\n"));
    assert_eq!(answer.event(), None);
}

#[test]
fn a_child_gets_the_request_with_an_id_of_ours_and_answers_with_the_clients() {
    let stage = Stage::new();
    let agent = stage.at_child();
    for id in ["1", "\"\\u0061b\"", "12345678901234567890123", "-0", "\"\""] {
        let reply = agent.send(request(id).replace("read_note", "awkward"));
        let result = r#"{"z" : 12345678901234567890123,"one":1.0,"e":1E5,"m":-0, "s":"\u0041\/é"}"#;
        let answer = format!(r#"{{"result": {result},"id":{id} , "jsonrpc":"2.0","more":[1.50]}}"#);
        assert_eq!(reply.text(), answer);
        let line = stage.child.noted("in").pop().unwrap().text;
        let (before, after) = line.split_once("\"id\":").unwrap();
        let ours: String = after.chars().take_while(char::is_ascii_digit).collect();
        assert!(!ours.is_empty(), "the id is a number of ours: {line}");
        let rest = &after[ours.len()..];
        let sent = request(id).replace("read_note", "awkward").replace(['\r', '\n'], " ");
        assert_eq!(
            format!("{before}\"id\":{id}{rest}"),
            sent.trim_end_matches('\n'),
            "only line breaks become blanks"
        );
    }
}

#[test]
fn the_newest_version_passes_untouched_too() {
    let members =
        format!(r#""arguments":{AWKWARD} ,"name":"read_note","extra":1.00,"requestState":"\\u0041\\/""#);
    let result = format!("\n {{\"result\":{AWKWARD} ,\"id\":1,\"jsonrpc\":\"2.0\",\"more\":[1.50]}} \n");
    let stage = answering(result.clone().into_bytes(), "application/json");
    let request = stage.gateway.modern(&stage.key, "web").post("1", "tools/call", &members);
    let reply = stage.gateway.send(&request);
    assert_eq!((reply.status, reply.text()), (200, result));
    assert_eq!(String::from_utf8(stage.web.last().body).unwrap(), request.text());

    let members = members.replace("read_note", "awkward").replace('\n', " ");
    let request = stage.gateway.modern(&stage.key, "child").post("\"\\u0061b\"", "tools/call", &members);
    let reply = stage.gateway.send(&request);
    let result = r#"{"z" : 12345678901234567890123,"one":1.0,"e":1E5,"m":-0, "s":"\u0041\/é"}"#;
    let answer = format!(r#"{{"result": {result},"id":"\u0061b" , "jsonrpc":"2.0","more":[1.50]}}"#);
    assert_eq!(reply.text(), answer);
    let line = stage.child.noted("in").pop().unwrap().text;
    let (before, after) = line.split_once("\"id\":").unwrap();
    let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
    assert_eq!(format!("{before}\"id\":\"\\u0061b\"{rest}"), request.text());
}
