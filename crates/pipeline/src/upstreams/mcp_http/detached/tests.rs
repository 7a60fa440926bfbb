//! Approved calls against a Streamable HTTP server that keeps sessions, forgets them, asks questions and counts.

mod server;

use std::time::Duration;

use domain::{
    service::Upstream,
    stop::{Fault, Stop},
};

use serde_json::json;

use self::server::{Forgets, Server, server};
use crate::{
    credentials::tests::bench::upstream,
    session::Session,
    upstreams::detached::tests::{Desk, unreachable, until},
};

const ECHO: &str = r#"{"jsonrpc":"2.0","id":"held-1","result":{"echo":{"a":1}}}"#;

async fn desk(server: &Server) -> Desk {
    Desk::new(Upstream::Http(upstream(&server.url))).await
}

fn session(id: &str) -> Session {
    Session::Http(id.into())
}

/// A call on a session of its own, from its beginning to its end.
fn alone(tool: &str) -> Vec<String> {
    let call = format!("tools/call {tool} s1");
    ["initialize -", "notifications/initialized s1", &call, "DELETE s1"].map(str::to_owned).into()
}

#[tokio::test]
async fn an_approved_call_goes_out_on_its_session_while_that_lives() {
    let server = server(|_| {}).await;
    server.open("mine");
    let desk = desk(&server).await;
    assert_eq!(desk.execute(Some(&session("mine")), "echo").await.unwrap(), (200, ECHO.into()));
    assert_eq!(server.log(), ["ping mine", "tools/call echo mine"], "and nobody ends it");
}

#[tokio::test]
async fn a_call_whose_session_is_gone_gets_one_of_its_own_and_is_made_once() {
    for forgets in [Forgets::NotFound, Forgets::BadRequest] {
        let server = server(|manner| manner.forgets = forgets).await;
        let desk = desk(&server).await;
        assert_eq!(desk.execute(Some(&session("old")), "echo").await.unwrap(), (200, ECHO.into()));
        let expected: Vec<String> = ["ping old".to_owned()].into_iter().chain(alone("echo")).collect();
        until(|| server.log() == expected).await;
        assert_eq!(server.initialized_with(), ("2025-06-18".into(), "{}".into()));
        assert_eq!(server.calls(), 1, "{forgets:?}");
        assert_eq!(server.sessions(), 0);
    }
}

#[tokio::test]
async fn a_server_that_forgets_a_session_only_at_the_call_is_not_sent_it_again() {
    let server = server(|manner| manner.forgets = Forgets::OnlyCalls).await;
    let desk = desk(&server).await;
    assert_eq!(desk.execute(Some(&session("old")), "echo").await.unwrap(), (404, String::new()));
    assert_eq!(server.log(), ["ping old", "unknown old"]);
}

#[tokio::test]
async fn where_no_sessions_are_kept_the_call_goes_as_it_came() {
    let server = server(|manner| manner.keeps_sessions = false).await;
    let desk = desk(&server).await;
    assert_eq!(desk.execute(None, "echo").await.unwrap(), (200, ECHO.into()));
    assert_eq!(server.log(), ["tools/call echo -"]);
}

#[tokio::test]
async fn a_call_without_a_session_gets_one_where_they_are_kept() {
    let server = server(|_| {}).await;
    let desk = desk(&server).await;
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"sampling":{}}}}"#;
    assert_eq!(desk.live(None, hello).await.session, Some(session("s1")));
    assert_eq!(desk.execute(None, "echo").await.unwrap(), (200, ECHO.into()));
    let expected =
        ["initialize -", "initialize -", "notifications/initialized s2", "tools/call echo s2", "DELETE s2"];
    until(|| server.log() == expected).await;
    assert_eq!(server.sessions(), 1, "the client's own goes on");
}

#[tokio::test]
async fn what_a_server_asks_while_nobody_is_there_is_declined() {
    let server = server(|_| {}).await;
    server.open("mine");
    let desk = desk(&server).await;
    for id in ["mine", "old"] {
        let (status, text) = desk.execute(Some(&session(id)), "ask").await.unwrap();
        assert_eq!(status, 200);
        let told: serde_json::Value = serde_json::from_str(&text).expect("the response alone");
        let no = json!({"code": -32601, "message": "nobody is there to answer"});
        assert_eq!(
            told["result"]["told"],
            json!([
                {"jsonrpc": "2.0", "id": "q-1", "error": no},
                {"jsonrpc": "2.0", "id": 2, "result": {}},
            ])
        );
    }
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_server_that_never_stops_asking_is_given_up() {
    let server = server(|_| {}).await;
    server.open("mine");
    let outcome = desk(&server).await.execute(Some(&session("mine")), "nag").await;
    let Err(Stop::Fault(Fault::UpstreamBroken(why))) = outcome else { panic!("{outcome:?}") };
    assert_eq!(why, "it asked more than 64 questions while nobody was there");
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn without_a_session_nothing_of_the_call_is_sent() {
    let failing = server(|manner| manner.initialize = 500).await;
    let why = unreachable(desk(&failing).await.execute(Some(&session("old")), "echo").await);
    assert_eq!(why, "no session could be opened for the approved call: it answered 500");
    assert_eq!(failing.log(), ["ping old", "initialize -"]);

    let odd = server(|manner| manner.initialized = 400).await;
    let why = unreachable(desk(&odd).await.execute(Some(&session("old")), "echo").await);
    assert_eq!(why, "no session could be opened for the approved call: it answered 400");
    until(|| odd.log() == ["ping old", "initialize -", "notifications/initialized s1", "DELETE s1"]).await;

    let chatty = server(|manner| manner.padding = 2 * 1024 * 1024).await;
    let why = unreachable(desk(&chatty).await.execute(Some(&session("old")), "echo").await);
    assert!(why.ends_with("its answer is larger than 1048576 bytes"), "{why}");
    assert_eq!(chatty.calls(), 0);

    let gone = desk(&chatty).await;
    let chatty = chatty.hang_up().await;
    unreachable(gone.execute(Some(&session("old")), "echo").await);
    assert_eq!(chatty.calls(), 0);
}

#[tokio::test]
async fn a_server_that_opens_no_session_in_time_is_not_sent_the_call() {
    let server = server(|manner| manner.initialize = 0).await;
    let mut desk = desk(&server).await;
    desk.bounds.upstream_timeout = Duration::from_secs(2);
    let why = unreachable(desk.execute(Some(&session("old")), "echo").await);
    assert!(why.ends_with("no answer within 1 s"), "{why}");
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn whatever_becomes_of_a_call_it_is_not_made_again() {
    // What the tool does, and what the gateway may conclude.
    for tool in ["break", "cut", "400", "404", "500", "large"] {
        let server = server(|_| {}).await;
        server.open("mine");
        let desk = desk(&server).await;
        for (id, calls) in [("mine", 1), ("old", 2)] {
            match desk.execute(Some(&session(id)), tool).await {
                Ok((status, _)) => assert_eq!(status.to_string(), tool),
                Err(stop) => assert!(stop.may_have_happened(), "{tool}: {stop:?}"),
            }
            assert_eq!(server.calls(), calls, "{tool}");
        }
        // The session of its own is ended all the same.
        until(|| server.sessions() == 1).await;
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_no_session_behind() {
    let server = server(|_| {}).await;
    let desk = desk(&server).await;
    let old = session("old");
    {
        let executing = desk.execute(Some(&old), "hang");
        tokio::select! {
            outcome = executing => panic!("{outcome:?}"),
            () = until(|| server.calls() == 1) => {}
        }
    }
    until(|| server.sessions() == 0 && server.log().last().is_some_and(|line| line == "DELETE s1")).await;
}

#[tokio::test]
async fn the_newest_protocol_needs_no_session() {
    let server = server(|manner| manner.keeps_sessions = false).await;
    let desk = desk(&server).await;
    assert_eq!(desk.execute_as(None, "echo", true).await.unwrap(), (200, ECHO.into()));
    assert_eq!(desk.execute_as(None, "stream", true).await.unwrap(), (200, ECHO.into()));
    assert_eq!(server.log(), ["tools/call echo -", "tools/call stream -"]);
}

#[tokio::test]
async fn an_answer_whose_stream_was_let_go_is_fetched_and_not_asked_for_again() {
    let server = server(|_| {}).await;
    server.open("mine");
    let desk = desk(&server).await;
    assert_eq!(desk.execute(Some(&session("mine")), "later").await.unwrap(), (200, ECHO.into()));
    let expected = ["ping mine", "tools/call later mine", "GET after 1 mine", "GET after 2 mine"];
    assert_eq!(server.log(), expected);

    let outcome = desk.execute(Some(&session("mine")), "never").await;
    let Err(Stop::Fault(Fault::UpstreamBroken(why))) = outcome else { panic!("{outcome:?}") };
    assert_eq!(why, "its stream cannot be resumed");
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_server_that_is_gone_before_its_answer_leaves_the_outcome_open() {
    let server = server(|_| {}).await;
    server.open("mine");
    let (desk, mine) = (desk(&server).await, session("mine"));
    let leaving = async {
        until(|| server.calls() == 1).await;
        server.hang_up().await
    };
    let (outcome, server) = tokio::join!(desk.execute(Some(&mine), "pause"), leaving);
    assert!(outcome.as_ref().is_err_and(Stop::may_have_happened), "{outcome:?}");
    assert_eq!(server.calls(), 1);
}
