//! `bridge`: stdio on one side, Streamable HTTP on the other, and the bytes of messages as they are.
//! The gateway here is a script, so that every header and every way to fail can be looked at.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use crate::{harness::ClosedPort, terminal::Terminal};

/// Longer than anything here takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Answers a request by writing to the connection; the connection is closed when it returns.
type Script = dyn Fn(&Request, &mut TcpStream) + Send + Sync;

struct FakeGateway {
    url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl FakeGateway {
    fn start(script: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    fn on(listener: TcpListener, script: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                std::thread::spawn(move || {
                    let mut connection = connection.unwrap();
                    if let Some(request) = read(&connection) {
                        log.lock().unwrap().push(request.clone());
                        script(&request, &mut connection);
                    }
                });
            }
        });
        Self { url, seen }
    }

    /// Waits for a request that fits.
    fn wait_for(&self, what: &str, fits: impl Fn(&Request) -> bool) -> Request {
        for _ in 0..2_000 {
            if let Some(request) = self.seen.lock().unwrap().iter().find(|request| fits(request)) {
                return request.clone();
            }
            std::thread::sleep(PATIENCE / 2_000);
        }
        panic!("the bridge never sent {what}: {:?}", self.seen.lock().unwrap());
    }
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8(body).unwrap() })
}

fn answer(connection: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
    // The bridge may have gone, and that is for the test to judge.
    let _ = connection.write_all(text.as_bytes());
}

fn json(connection: &mut TcpStream, headers: &str, body: &str) {
    answer(connection, "200 OK", &format!("content-type: application/json\r\n{headers}"), body);
}

fn stream(connection: &mut TcpStream, frames: &str) {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
    let _ = connection.write_all(format!("{head}{frames}").as_bytes());
}

/// A running bridge: what the client writes, and the lines that it reads.
struct Bridge {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Bridge {
    fn start(url: &str) -> Self {
        let mut terminal = Terminal::new();
        terminal.set("TOOLGATE_KEY", "agt_test");
        // A project's `.env` must not choose where the key goes.
        terminal.write(".env", "TOOLGATE_URL=http://127.0.0.1:1\n");
        Self::spawn(&terminal, &["bridge", "files", "--url", url])
    }

    fn spawn(terminal: &Terminal, arguments: &[&str]) -> Self {
        let mut child = terminal.command(arguments).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        Self { stdin: child.stdin.take(), child, lines }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    #[track_caller]
    fn hear(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the bridge said nothing")
    }

    /// Closes stdin and waits; what was on stderr.
    fn end(mut self) -> String {
        drop(self.stdin.take());
        let mut talk = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
        assert!(self.child.wait().unwrap().success(), "{talk}");
        talk
    }
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#;
const WELCOME: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}"#;

#[test]
fn a_legacy_session_lives_from_initialize_to_delete() {
    let gateway = FakeGateway::start(|request, connection| match request {
        _ if request.body == INITIALIZE => json(connection, "mcp-session-id: s1\r\n", WELCOME),
        _ if request.body == LIST => stream(
            connection,
            ": hello\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\nid: 7\n\
             data: {\"jsonrpc\":\"2.0\",\ndata:  \"id\":\"l\",\"result\":{ \"n\": 1.0 }}\n\n",
        ),
        Request { method, .. } if method == "GET" => {
            stream(connection, "data: {\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"roots/list\"}\n\n");
            // The stream stays open for as long as the bridge wants it.
            let _ = connection.read(&mut [0]);
        }
        _ => answer(connection, "202 Accepted", "", ""),
    });
    let mut bridge = Bridge::start(&gateway.url);
    bridge.say(INITIALIZE);
    assert_eq!(bridge.hear(), WELCOME);
    bridge.say(INITIALIZED);
    assert_eq!(bridge.hear(), r#"{"jsonrpc":"2.0","id":9,"method":"roots/list"}"#);
    bridge.say(r#"{"jsonrpc":"2.0","id":9,"result":{"roots":[]}}"#);
    bridge.say(LIST);
    assert_eq!(bridge.hear(), r#"{"jsonrpc":"2.0","method":"notifications/message"}"#);
    assert_eq!(
        bridge.hear(),
        r#"{"jsonrpc":"2.0",  "id":"l","result":{ "n": 1.0 }}"#,
        "its line feed is a blank"
    );
    gateway.wait_for("the answer to roots/list", |it| it.body.contains("\"roots\""));
    assert_eq!(bridge.end(), "");

    let first = gateway.wait_for("initialize", |it| it.body == INITIALIZE);
    assert_eq!((first.path.as_str(), first.header("authorization")), ("/mcp/files", Some("Bearer agt_test")));
    assert_eq!((first.header("mcp-session-id"), first.header("mcp-protocol-version")), (None, None));
    assert_eq!(first.header("accept"), Some("application/json, text/event-stream"));
    let list = gateway.wait_for("tools/list", |it| it.body == LIST);
    assert_eq!(
        (list.header("mcp-session-id"), list.header("mcp-protocol-version")),
        (Some("s1"), Some("2025-11-25"))
    );
    assert_eq!(list.header("mcp-method"), None, "a header of the newest version");
    let end = gateway.wait_for("DELETE", |it| it.method == "DELETE");
    assert_eq!(end.header("mcp-session-id"), Some("s1"));
}

const MODERN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"grüßen","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

#[test]
fn the_newest_version_gets_its_headers_and_a_cancelled_request_its_stream_closed() {
    let (closed, heard) = channel();
    let gateway = FakeGateway::start(move |_, connection| {
        stream(connection, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n");
        // Ends when the bridge closes its side.
        let read = connection.read(&mut [0]);
        closed.send(matches!(read, Ok(0) | Err(_))).unwrap();
    });
    let mut bridge = Bridge::start(&gateway.url);
    bridge.say(MODERN);
    assert!(bridge.hear().contains("notifications/progress"));
    bridge.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert!(heard.recv_timeout(PATIENCE).unwrap());
    assert_eq!(bridge.end(), "");
    let call = gateway.wait_for("the call", |it| it.body == MODERN);
    assert_eq!(call.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(call.header("mcp-method"), Some("tools/call"));
    assert_eq!(call.header("mcp-name"), Some("=?base64?Z3LDvMOfZW4=?="));
    assert_eq!(
        gateway.seen.lock().unwrap().len(),
        1,
        "a cancellation is not sent, and there is no session to end"
    );
}

#[test]
fn arguments_that_a_tool_wants_in_headers_are_repeated_there() {
    let gateway = FakeGateway::start(|request, connection| match request.body.contains("tools/list") {
        true => json(
            connection,
            "",
            r#"{"jsonrpc":"2.0","id":0,"result":{"tools":[{"name":"grüßen","inputSchema":{"properties":{"to":{"type":"string","x-mcp-header":"To"}}}}]}}"#,
        ),
        false => json(connection, "", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
    });
    let mut bridge = Bridge::start(&gateway.url);
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    bridge.say(&format!(r#"{{"jsonrpc":"2.0","id":0,"method":"tools/list","params":{{{meta}}}}}"#));
    bridge.hear();
    bridge.say(&format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"grüßen","arguments":{{"to":"Ada"}},{meta}}}}}"#
    ));
    bridge.hear();
    bridge.end();
    let call = gateway.wait_for("the call", |it| it.body.contains("tools/call"));
    assert_eq!(call.header("mcp-param-to"), Some("Ada"));
}

#[test]
fn requests_do_not_wait_for_each_other() {
    let (open, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let gateway = FakeGateway::start(move |request, connection| {
        let id = if request.body.contains("\"id\":1") { 1 } else { 2 };
        if id == 1 {
            // Answered only when the second one was.
            gate.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        json(connection, "", &format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}"));
    });
    let mut bridge = Bridge::start(&gateway.url);
    bridge.say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    bridge.say(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    assert!(bridge.hear().contains("\"id\":2"));
    open.send(()).unwrap();
    assert!(bridge.hear().contains("\"id\":1"));
    bridge.end();
}

#[test]
fn an_absent_gateway_is_told_to_both_sides_and_tried_again() {
    let closed = ClosedPort::new();
    let address = closed.address();
    let mut bridge = Bridge::start(&format!("http://{address}"));
    let sentence =
        format!("no gateway answers (http://{address}); start `toolgate serve`, or set TOOLGATE_URL");
    for id in [1, 2] {
        bridge.say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
        assert_eq!(
            bridge.hear(),
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":502,"message":"{sentence}"}}}}"#)
        );
    }
    let _gateway = FakeGateway::on(closed.listen(), |_, connection| {
        json(connection, "", r#"{"jsonrpc":"2.0","id":3,"result":{}}"#);
    });
    bridge.say(r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#);
    assert_eq!(bridge.hear(), r#"{"jsonrpc":"2.0","id":3,"result":{}}"#);
    assert_eq!(bridge.end(), format!("error: {sentence}\n"), "one cause is told once");
}

#[test]
fn a_refused_or_missing_key_is_told_to_both_sides() {
    let gateway = FakeGateway::start(|_, connection| {
        answer(connection, "401 Unauthorized", "content-type: application/problem+json\r\n", "{}");
    });
    let mut bridge = Bridge::start(&gateway.url);
    let sentence =
        format!("the gateway refused TOOLGATE_KEY ({}); for a new one: toolgate keys create", gateway.url);
    bridge.say(INITIALIZE);
    assert_eq!(
        bridge.hear(),
        format!(r#"{{"jsonrpc":"2.0","id":0,"error":{{"code":401,"message":"{sentence}"}}}}"#)
    );
    assert_eq!(bridge.end(), format!("error: {sentence}\n"));

    let mut bridge = Bridge::spawn(&Terminal::new(), &["bridge", "files", "--url", &gateway.url]);
    bridge.say(INITIALIZE);
    assert!(bridge.hear().contains(r#""code":401,"message":"TOOLGATE_KEY is not set (bridge); make a key"#));
    bridge.end();
}

#[test]
fn a_refusal_of_the_gateway_keeps_its_words() {
    let problem = r#"{"type":"urn:toolgate:forbidden","title":"Forbidden","status":403,"detail":"This page is not ours.","next":"Do not retry."}"#;
    let gateway = FakeGateway::start(move |request, connection| match request.body.as_str() {
        "[1]" => answer(connection, "400 Bad Request", "content-type: application/problem+json\r\n", problem),
        _ => json(
            connection,
            "",
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":403,"message":"x","data":{"a":1.0}}}"#,
        ),
    });
    let mut bridge = Bridge::start(&gateway.url);
    bridge.say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(
        bridge.hear(),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":403,"message":"x","data":{"a":1.0}}}"#
    );
    bridge.say("[1]");
    assert_eq!(
        bridge.hear(),
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":400,"message":"This page is not ours. Do not retry."}}"#
    );
    bridge.end();
}

#[test]
fn an_error_without_an_id_is_given_the_one_of_its_request() {
    let gateway = FakeGateway::start(|request, connection| {
        let body = match request.body.contains("\"a\"") {
            true => r#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"x"},"id":null}"#,
            false => r#" {"jsonrpc":"2.0","error":{"code":-32601,"message":"x"}}"#,
        };
        answer(connection, "400 Bad Request", "content-type: application/json\r\n", body);
    });
    let mut bridge = Bridge::start(&gateway.url);
    bridge.say(r#"{"jsonrpc":"2.0","id":"a","method":"server/discover"}"#);
    assert_eq!(bridge.hear(), r#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"x"},"id":"a"}"#);
    bridge.say(r#"{"jsonrpc":"2.0","id":7,"method":"server/discover"}"#);
    assert_eq!(bridge.hear(), r#"{"id":7,"jsonrpc":"2.0","error":{"code":-32601,"message":"x"}}"#);
    bridge.end();
}

#[test]
fn an_answer_that_we_would_not_accept_is_passed_on_all_the_same() {
    let odd = r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}"#;
    let gateway = FakeGateway::start(move |_, connection| json(connection, "", odd));
    let mut bridge = Bridge::start(&gateway.url);
    bridge.say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(bridge.hear(), odd);
    bridge.end();
}

#[test]
fn a_session_that_is_gone_is_made_again_and_the_request_repeated_once() {
    let begun = Mutex::new(0);
    let gateway = FakeGateway::start(move |request, connection| match request {
        _ if request.body == INITIALIZE => {
            let mut begun = begun.lock().unwrap();
            *begun += 1;
            json(connection, &format!("mcp-session-id: s{begun}\r\n"), WELCOME);
        }
        Request { method, .. } if method == "GET" => answer(connection, "405 Method Not Allowed", "", ""),
        _ if request.body == LIST && request.header("mcp-session-id") == Some("s2") => {
            json(connection, "", r#"{"jsonrpc":"2.0","id":"l","result":{}}"#);
        }
        _ if request.body == LIST => answer(connection, "404 Not Found", "", ""),
        _ => answer(connection, "202 Accepted", "", ""),
    });
    let mut bridge = Bridge::start(&gateway.url);
    bridge.say(INITIALIZE);
    assert_eq!(bridge.hear(), WELCOME);
    bridge.say(INITIALIZED);
    bridge.say(LIST);
    assert_eq!(bridge.hear(), r#"{"jsonrpc":"2.0","id":"l","result":{}}"#, "and no second welcome");
    bridge.end();
}

#[test]
fn a_stream_that_breaks_is_taken_up_where_it_broke() {
    let gateway = FakeGateway::start(|request, connection| match request.method.as_str() {
        "GET" => stream(connection, "id: 2\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"l\",\"result\":{}}\n\n"),
        _ => stream(connection, "id: 1\nretry: 10\ndata:\n\n"),
    });
    let mut bridge = Bridge::start(&gateway.url);
    bridge.say(LIST);
    assert_eq!(bridge.hear(), r#"{"jsonrpc":"2.0","id":"l","result":{}}"#);
    let resumed = gateway.wait_for("GET", |it| it.method == "GET");
    assert_eq!(resumed.header("last-event-id"), Some("1"));
    bridge.end();
}

#[test]
fn an_answer_that_breaks_off_for_good_is_an_error_that_does_not_invite_a_repeat() {
    let gateway = FakeGateway::start(|_, connection| stream(connection, "data: {\"jsonr"));
    let mut bridge = Bridge::start(&gateway.url);
    bridge.say(LIST);
    let heard = bridge.hear();
    assert!(heard.contains("the call may have happened, check before repeating it"), "{heard}");
    bridge.end();
    assert_eq!(gateway.seen.lock().unwrap().len(), 1, "the request was not sent again");
}

#[test]
fn a_key_that_would_travel_in_the_clear_is_told() {
    let mut terminal = Terminal::new();
    terminal.set("TOOLGATE_KEY", "agt_test");
    terminal.set("TOOLGATE_URL", "http://gate.invalid");
    let done = terminal.run(&["bridge", "files"]).ok();
    assert_eq!(
        done.stderr,
        "! the key goes to gate.invalid unencrypted; use https:// for a gateway on another machine\n"
    );
}

#[test]
fn a_line_over_the_limit_is_refused_and_the_next_one_carried() {
    let gateway =
        FakeGateway::start(|_, connection| json(connection, "", r#"{"jsonrpc":"2.0","id":"l","result":{}}"#));
    let mut bridge = Bridge::start(&gateway.url);
    bridge.say(&format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":"{}"}}}}"#,
        "x".repeat(10_000_001)
    ));
    assert!(bridge.hear().contains("a message is larger than 10 MB (stdin); it was not sent"));
    bridge.say(LIST);
    assert!(bridge.hear().contains("\"l\""));
    bridge.end();
}
