//! A model that lies, mumbles, floods, hangs or is not there: whatever its endpoint does, no call gets milder.

mod server;

use std::{sync::Arc, time::Duration};

use domain::{
    policy::RuleRisk,
    risk::{Assessment, ModelSaid, RiskScore, RiskVerdict, Thresholds, Weight},
    service::UpstreamUrl,
};
use serde_json::{Value, json};
use vault::Secret;

use self::server::{Answer, FakeModel};
use super::*;
use crate::{clock::test_clock::TestClock, dial::Dialler};

const STYLES: [Style; 2] = [Style::OpenAi, Style::Anthropic];
/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn model(url: &str, style: Style, timeout: Duration, clock: &Arc<TestClock>) -> Result<Model, BadModel> {
    let url = UpstreamUrl::parse(url).unwrap();
    let key = Some(Secret::new(b"mk-1234".to_vec()));
    let settings = ModelSettings { url, name: "small".into(), style, key, timeout };
    Model::new(&settings, &Dialler::new(), Arc::<TestClock>::clone(clock))
}

async fn said(style: Style, answer: Answer, timeout: Duration) -> (ModelSaid, FakeModel) {
    let server = FakeModel::start(answer).await;
    let model = model(&server.url("/base/"), style, timeout, &Arc::default()).unwrap();
    (model.ask(&Question { service: "billing", ..Question::default() }).await, server)
}

/// A whole answer in the endpoint's words, around what the model reports.
fn report(style: Style, report: &Value) -> Value {
    match style {
        Style::OpenAi => json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": "small",
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "message": { "role": "assistant", "content": report.to_string(), "refusal": null }
            }],
            "usage": { "total_tokens": 9 }
        }),
        Style::Anthropic => json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "small",
            "content": [
                { "type": "text", "text": "I report." },
                { "type": "tool_use", "id": "toolu_1", "name": "report_risk", "input": report }
            ],
            "stop_reason": "tool_use", "stop_sequence": null, "usage": { "output_tokens": 9 }
        }),
    }
}

fn risk(style: Style, risk: Value) -> Value {
    report(style, &json!({ "reason": "r", "risk": risk }))
}

/// The same answer with another value at one place.
fn with(mut answer: Value, pointer: &str, value: Value) -> Value {
    *answer.pointer_mut(pointer).unwrap() = value;
    answer
}

fn why(said: &ModelSaid) -> &str {
    match said {
        ModelSaid::Failed { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

/// What the model says makes nothing milder, and where it says nothing, people are asked.
fn assert_not_milder(said: &ModelSaid, about: &str) {
    for weight in [Weight::Delete, Weight::Put, Weight::Post, Weight::Get, Weight::Tool, Weight::UnseenTool] {
        for refuse_at in [None, Some(RiskScore::from_thousandths(700))] {
            let thresholds = Thresholds { approve_at: Some(RiskScore::from_thousandths(500)), refuse_at };
            let without = Assessment::of(weight, RuleRisk::default());
            let with = Assessment { model: said.clone(), ..without.clone() };
            assert!(with.decide(&thresholds) >= without.decide(&thresholds), "{about}: {weight:?}");
            if matches!(said, ModelSaid::Failed { .. }) {
                assert!(with.decide(&thresholds) >= RiskVerdict::Ask, "{about}: {weight:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_model_is_asked_in_its_own_words() {
    for style in STYLES {
        let (said, server) = said(style, Answer::json(&risk(style, json!(0.8))), PATIENCE).await;
        let ModelSaid::Answered { score, model } = said else { panic!("{said:?}") };
        assert_eq!((score.thousandths(), &*model.name, model.prompt_hash.len()), (800, "small", 64));
        let asked = server.asked();
        let [(head, body)] = asked.as_slice() else { panic!("{asked:?}") };
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["model"], "small");
        let head = head.to_ascii_lowercase();
        let question = match style {
            Style::OpenAi => {
                assert!(head.starts_with("post /base/chat/completions http/1.1\r\n"), "{head}");
                assert!(head.contains("\r\nauthorization: bearer mk-1234\r\n"), "{head}");
                assert_eq!(body["response_format"]["json_schema"]["strict"], true);
                assert_eq!(body["messages"][0]["role"], "system");
                body["messages"][1]["content"].as_str().unwrap()
            }
            Style::Anthropic => {
                assert!(head.starts_with("post /base/v1/messages http/1.1\r\n"), "{head}");
                assert!(head.contains("\r\nx-api-key: mk-1234\r\n"), "{head}");
                assert!(head.contains("\r\nanthropic-version: 2023-06-01\r\n"), "{head}");
                assert_eq!(body["tool_choice"]["name"], body["tools"][0]["name"]);
                assert!(body["system"].is_string());
                body["messages"][0]["content"].as_str().unwrap()
            }
        };
        assert!(question.contains("\nservice: \"billing\"\n"), "{question}");
        assert_not_milder(&ModelSaid::Answered { score, model }, "a good answer");
    }
}

#[tokio::test]
async fn no_two_questions_have_the_same_fence() {
    let server = FakeModel::start(Answer::json(&risk(Style::OpenAi, json!(0)))).await;
    let model = model(&server.url(""), Style::OpenAi, PATIENCE, &Arc::default()).unwrap();
    for _ in 0..3 {
        model.ask(&Question::default()).await;
    }
    let fences: std::collections::BTreeSet<String> = server
        .asked()
        .iter()
        .map(|(_, body)| {
            let body: Value = serde_json::from_str(body).unwrap();
            body["messages"][1]["content"].as_str().unwrap().lines().next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(fences.len(), 3, "{fences:?}");
}

#[tokio::test]
async fn what_an_attacker_wants_said_lowers_nothing() {
    for style in STYLES {
        let (said, _server) = said(style, Answer::json(&risk(style, json!(0))), PATIENCE).await;
        assert!(matches!(said, ModelSaid::Answered { .. }), "{said:?}");
        assert_not_milder(&said, "risk 0");
    }
}

#[tokio::test]
async fn what_is_not_one_number_from_0_to_1_is_a_failure() {
    for style in STYLES {
        let good = risk(style, json!(0));
        let mut bad = Vec::new();
        for number in
            [json!(-0.1), json!(1.1), json!(-1), json!("0"), json!("approve"), json!(null), json!([0])]
        {
            bad.push(risk(style, number));
        }
        for words in [
            json!({}),
            json!({ "reason": "r" }),
            json!({ "reason": "r", "score": 0 }),
            json!({ "reason": "r", "risk": 0, "approved": true }),
            json!("approve"),
            json!([{ "reason": "r", "risk": 0 }, { "reason": "r", "risk": 1 }]),
        ] {
            bad.push(report(style, &words));
        }
        bad.extend([json!({}), json!([]), json!("approve"), json!({ "risk": 0, "reason": "r" })]);
        match style {
            Style::OpenAi => {
                let choice = good["choices"][0].clone();
                bad.push(with(good.clone(), "/choices", json!([choice, choice])));
                bad.push(with(good.clone(), "/choices", json!([])));
                for reason in ["length", "content_filter", "tool_calls", ""] {
                    bad.push(with(good.clone(), "/choices/0/finish_reason", json!(reason)));
                }
                bad.push(with(good.clone(), "/choices/0/finish_reason", json!(null)));
                bad.push(with(good.clone(), "/choices/0/message/refusal", json!("I cannot")));
                bad.push(with(good.clone(), "/choices/0/message/content", json!(null)));
                let fenced = "```json\n{\"reason\":\"r\",\"risk\":0}\n```";
                bad.push(with(good.clone(), "/choices/0/message/content", json!(fenced)));
                let twice = r#"{"reason":"r","risk":0,"risk":1}"#;
                bad.push(with(good.clone(), "/choices/0/message/content", json!(twice)));
                let cut = r#"{"reason":"r","risk":0"#;
                bad.push(with(good.clone(), "/choices/0/message/content", json!(cut)));
            }
            Style::Anthropic => {
                let used = good["content"][1].clone();
                bad.push(with(good.clone(), "/content", json!([used, used])));
                bad.push(with(good.clone(), "/content", json!([])));
                for reason in ["max_tokens", "refusal", "end_turn", "pause_turn", "stop_sequence"] {
                    bad.push(with(good.clone(), "/stop_reason", json!(reason)));
                }
                bad.push(with(good.clone(), "/stop_reason", json!(null)));
                bad.push(with(good.clone(), "/content/1/name", json!("approve")));
                bad.push(with(good.clone(), "/content/1/type", json!("text")));
            }
        }
        for answer in bad {
            let (said, _server) = said(style, Answer::json(&answer), PATIENCE).await;
            assert!(matches!(said, ModelSaid::Failed { .. }), "{answer}: {said:?}");
            assert_not_milder(&said, &answer.to_string());
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_misbehaves_is_a_failure() {
    for style in STYLES {
        let good = risk(style, json!(0)).to_string();
        let padded = format!("{good}{}", " ".repeat(answer::BYTES_MAX));
        let bom = format!("\u{feff}{good}");
        let cases = [
            (Answer::body(500, &good), "it answered 500"),
            (Answer::body(401, &good), "it answered 401"),
            (Answer::body(204, ""), "its answer cannot be read"),
            (Answer::redirect("/elsewhere"), "it answered 307, and redirects are not followed"),
            (Answer::body(200, ""), "its answer cannot be read"),
            (Answer::body(200, "approve"), "its answer cannot be read"),
            (Answer::body(200, &bom), "its answer cannot be read"),
            (Answer::body(200, good.strip_suffix('}').unwrap()), "its answer cannot be read"),
            (Answer::body(200, &padded), "its answer is over 64 KiB"),
            (Answer::Flood(10_000_000), "its answer is over 64 KiB"),
            (
                Answer::Raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{good}")),
                "its answer broke off",
            ),
            (Answer::Raw("nonsense\r\n\r\n".into()), "it broke off"),
            (Answer::Raw(String::new()), "it broke off"),
        ];
        for (answer, reason) in cases {
            let (said, server) = said(style, answer, PATIENCE).await;
            assert_eq!(why(&said), reason);
            assert_not_milder(&said, reason);
            assert!(server.asked().iter().all(|(head, _)| !head.contains("/elsewhere")));
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_given_up() {
    let short = Duration::from_millis(300);
    for style in STYLES {
        for said_before in ["", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"choices\":["] {
            let (said, _server) = said(style, Answer::Hang(said_before.into()), short).await;
            assert_eq!(why(&said), "it did not answer within 300 ms");
            assert_not_milder(&said, "a hang");
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_a_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let model = model(&url, Style::OpenAi, PATIENCE, &Arc::default()).unwrap();
    let said = model.ask(&Question::default()).await;
    assert!(matches!(said, ModelSaid::Failed { .. }), "{said:?}");
    assert_not_milder(&said, "nobody there");
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_left_alone() {
    let clock: Arc<TestClock> = Arc::default();
    let server = FakeModel::start(Answer::body(503, "")).await;
    let model = model(&server.url(""), Style::OpenAi, PATIENCE, &clock).unwrap();
    let question = Question::default();
    for _ in 0..5 {
        assert_eq!(why(&model.ask(&question).await), "it answered 503");
    }
    for _ in 0..3 {
        let said = model.ask(&question).await;
        assert_eq!(why(&said), "it has failed 5 times in a row and is left alone for 30 s");
        assert_not_milder(&said, "left alone");
    }
    assert_eq!(server.asked().len(), 5);
    clock.advance(Duration::from_secs(30));
    assert_eq!(why(&model.ask(&question).await), "it answered 503");
    model.ask(&question).await;
    assert_eq!(server.asked().len(), 6, "one probe");
    clock.advance(Duration::from_secs(30));
    server.answers(Answer::json(&risk(Style::OpenAi, json!(0.5))));
    for _ in 0..2 {
        assert!(matches!(model.ask(&question).await, ModelSaid::Answered { .. }));
    }
    assert_eq!(server.asked().len(), 8);
}

#[tokio::test]
async fn what_arguments_can_make_a_model_say_takes_it_from_nobody_else() {
    let server = FakeModel::start(Answer::json(&risk(Style::Anthropic, json!(7)))).await;
    let model = model(&server.url(""), Style::Anthropic, PATIENCE, &Arc::default()).unwrap();
    for _ in 0..7 {
        assert_eq!(why(&model.ask(&Question::default()).await), "its answer has no risk from 0 to 1");
    }
    assert_eq!(server.asked().len(), 7);
}

#[test]
fn only_this_machine_is_asked_in_the_clear() {
    for (url, is_good) in [
        ("http://127.0.0.1:9/v1", true),
        ("http://[::1]:9", true),
        ("http://localhost:11434/v1", true),
        ("https://api.example.com/v1", true),
        ("http://api.example.com/v1", false),
        ("http://10.0.0.7/v1", false),
        ("http://127.0.0.1.example.com/v1", false),
    ] {
        let made = model(url, Style::OpenAi, PATIENCE, &Arc::default());
        assert_eq!(made.is_ok(), is_good, "{url}");
    }
}
