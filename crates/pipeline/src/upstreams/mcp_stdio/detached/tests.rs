//! Approved calls against real children: the same MCP server over stdio that the behaviour tests start.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use domain::{
    service::{StdioUpstream, Upstream},
    stop::{Fault, Stop},
};
use http_body_util::BodyExt as _;
use tempfile::TempDir;

use crate::{
    session::Session,
    upstreams::detached::tests::{Desk, call, unreachable, until},
};

const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;

/// A service of children that write down what they read.
struct Bench {
    desk: Desk,
    folder: TempDir,
}

impl Bench {
    async fn new(share: bool, processes: u32, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../toolgate/tests/behaviour/harness/child.py");
        let log = folder.path().join("log");
        let mut command =
            ["python3", script.to_str().unwrap(), log.to_str().unwrap()].map(str::to_owned).to_vec();
        command.extend(options.iter().map(|option| (*option).to_owned()));
        let idle = Duration::from_secs(600);
        let child = StdioUpstream { command, env: BTreeMap::new(), share, processes, idle };
        Self { desk: Desk::new(Upstream::Stdio(child)).await, folder }
    }

    /// Opens a session as a client does.
    async fn open(&self) -> Session {
        let session = self.desk.live(None, HELLO).await.session.unwrap();
        self.desk.live(Some(&session), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        session
    }

    /// What the children have written down: process, kind, text.
    fn log(&self) -> Vec<(String, String, String)> {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let fields = |line: &str| {
            let mut fields = line.splitn(3, '\t').map(str::to_owned);
            (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap())
        };
        text.lines().map(fields).collect()
    }

    fn count(&self, kind: &str, part: &str) -> usize {
        self.log().iter().filter(|(_, of, text)| of == kind && text.contains(part)).count()
    }

    fn count_calls(&self) -> usize {
        self.count("in", "tools/call")
    }
}

fn nobody() -> Session {
    Session::Child(7)
}

/// The process that answered `pid`.
fn pid(outcome: Result<(u16, String), Stop>) -> String {
    let (status, text) = outcome.unwrap();
    assert_eq!(status, 200);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["id"], "held-1");
    answer["result"]["content"][0]["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_approved_call_goes_to_the_child_of_its_session_while_that_runs() {
    let bench = Bench::new(false, 1, &[]).await;
    let session = bench.open().await;
    let first = pid(bench.desk.execute(Some(&session), "pid").await);
    assert_eq!(pid(bench.desk.execute(Some(&session), "pid").await), first, "it goes on");
    assert_eq!((bench.count("start", ""), bench.count("in", "initialize\"")), (1, 1));
    bench.desk.stop().await;
}

#[tokio::test]
async fn a_call_whose_child_is_gone_gets_one_of_its_own_that_is_stopped_afterwards() {
    let bench = Bench::new(false, 1, &[]).await;
    let first = pid(bench.desk.execute(Some(&nobody()), "pid").await);
    // The one place is free again.
    let second = pid(bench.desk.execute(None, "pid").await);
    assert_ne!(first, second);
    until(|| bench.count("eof", "") == 2).await;
    let of_first = bench.log().into_iter().filter(|(process, kind, _)| *process == first && kind == "in");
    let read: Vec<serde_json::Value> =
        of_first.map(|(_, _, text)| serde_json::from_str(&text).unwrap()).collect();
    let methods: Vec<&str> = read.iter().map(|message| message["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["initialize", "notifications/initialized", "tools/call"]);
    assert_eq!(read[0]["params"]["protocolVersion"], "2025-06-18");
    assert_eq!(read[0]["params"]["capabilities"], serde_json::json!({}));
    bench.desk.stop().await;
}

#[tokio::test]
async fn a_child_of_its_own_counts_like_any_other() {
    let bench = Bench::new(false, 1, &[]).await;
    let _session = bench.open().await;
    let outcome = bench.desk.execute(Some(&nobody()), "pid").await;
    assert!(matches!(outcome, Err(Stop::Fault(Fault::UpstreamBusy))), "{outcome:?}");
    assert_eq!(bench.count_calls(), 0);
    bench.desk.stop().await;
}

#[tokio::test]
async fn what_a_child_asks_while_nobody_is_there_is_declined() {
    let bench = Bench::new(false, 2, &[]).await;
    let session = bench.open().await;
    for (on, declined) in [(&session, 1), (&nobody(), 2)] {
        pid(bench.desk.execute(Some(on), "ask").await);
        assert_eq!(bench.count("in", "nobody is there to answer"), declined);
    }
    assert_eq!(bench.count("in", "-32601"), 2);
    assert_eq!(bench.count_calls(), 2);
    bench.desk.stop().await;
}

#[tokio::test]
async fn what_a_child_asks_a_client_that_is_there_still_reaches_it() {
    let bench = Bench::new(false, 1, &[]).await;
    let session = bench.open().await;
    let executing = bench.desk.execute(Some(&session), "hang");
    tokio::select! {
        outcome = executing => panic!("{outcome:?}"),
        () = async {
            until(|| bench.count("hanging", "") == 1).await;
            let mut asked = bench.desk.live(Some(&session), &call("ask")).await.response.into_body();
            let event = asked.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(String::from_utf8_lossy(&event).contains("sampling/createMessage"), "{event:?}");
            let yes = r#"{"jsonrpc":"2.0","id":"question-1","result":"yes"}"#;
            bench.desk.live(Some(&session), yes).await;
            let event = asked.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(String::from_utf8_lossy(&event).contains(r#"\"yes\""#), "{event:?}");
        } => {}
    }
    assert_eq!(bench.count("in", "nobody is there to answer"), 0);
    bench.desk.stop().await;
}

#[tokio::test]
async fn a_child_that_breaks_is_not_asked_again() {
    let bench = Bench::new(false, 2, &[]).await;
    let outcome = bench.desk.execute(Some(&nobody()), "crash").await;
    assert!(outcome.as_ref().is_err_and(Stop::may_have_happened), "{outcome:?}");
    assert_eq!(bench.count_calls(), 1);
    bench.desk.stop().await;

    let bench = Bench::new(false, 2, &["dies-at-once"]).await;
    unreachable(bench.desk.execute(Some(&nobody()), "pid").await);
    assert_eq!(bench.count_calls(), 0);
    bench.desk.stop().await;
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_no_child_behind() {
    let bench = Bench::new(false, 1, &[]).await;
    let old = nobody();
    {
        let executing = bench.desk.execute(Some(&old), "hang");
        tokio::select! {
            outcome = executing => panic!("{outcome:?}"),
            () = until(|| bench.count("hanging", "") == 1) => {}
        }
    }
    until(|| bench.count("eof", "") == 1).await;
    bench.desk.stop().await;
}

#[tokio::test]
async fn a_shared_child_serves_approved_calls_too_and_stays() {
    let bench = Bench::new(true, 1, &[]).await;
    let session = bench.open().await;
    let first = pid(bench.desk.execute(Some(&session), "pid").await);
    assert_eq!(bench.count("in", "initialize\""), 1);
    // The session is one of an earlier child: nothing but the handshake is new.
    assert_eq!(pid(bench.desk.execute(Some(&nobody()), "pid").await), first);
    assert_eq!(bench.count("in", "initialize\""), 2);
    assert_eq!((bench.count("start", ""), bench.count("eof", "")), (1, 0));
    bench.desk.stop().await;
}

#[tokio::test]
async fn in_the_newest_protocol_a_key_has_its_child() {
    let bench = Bench::new(false, 1, &[]).await;
    let first = pid(bench.desk.execute_as(None, "pid", true).await);
    assert_eq!(pid(bench.desk.execute_as(None, "pid", true).await), first);
    assert_eq!(bench.count("in", "initialize"), 0);
    bench.desk.stop().await;
}
