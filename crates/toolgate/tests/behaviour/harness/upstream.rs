//! An MCP server over HTTP that counts: every connection, every request with its raw head and body.
//! What it answers is the test's to say, byte by byte where that matters.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, value::RawValue};
use socket2::{Domain, Socket, Type};

/// A server of this process, gone with it.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    hits: Mutex<Vec<Hit>>,
    connections: AtomicUsize,
    closed: AtomicUsize,
    over: AtomicBool,
}

/// One request that arrived.
#[derive(Debug, Clone)]
pub struct Hit {
    /// GET, POST or DELETE.
    pub method: String,
    /// The head as it came.
    pub head: String,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Hit {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Path and query as they stand on the request line.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The JSON-RPC method; empty when there is none.
    pub fn rpc_method(&self) -> String {
        self.json()["method"].as_str().unwrap_or_default().to_owned()
    }

    /// The request's id as it was written; none for notifications.
    pub fn id(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Envelope<'b> {
            #[serde(borrow)]
            id: Option<&'b RawValue>,
        }
        serde_json::from_slice::<Envelope<'_>>(&self.body).ok()?.id.map(|id| id.get().to_owned())
    }
}

/// One step of an answer.
pub enum Step {
    /// Send these bytes.
    Say(Vec<u8>),
    /// Wait until the test says so.
    Wait(Arc<Latch>),
    /// Close the connection.
    HangUp,
}

/// Something that happens once, and that others wait for.
#[derive(Default)]
pub struct Latch {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Latch {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// It has happened.
    pub fn release(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Waits for it; a test that forgets to release it does not hang for ever.
    pub fn wait(&self) {
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_timeout_while(open, Duration::from_secs(60), |open| !*open).unwrap());
    }
}

impl Upstream {
    /// A server that answers every request with what `answer` says.
    pub fn start(answer: impl Fn(&Hit) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            hits: Mutex::default(),
            connections: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let (shared, answer) = (Arc::clone(&state), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.over.load(Ordering::SeqCst) {
                    return;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                std::thread::spawn(move || {
                    serve(stream, &shared, &*answer);
                    shared.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state }
    }

    /// A well-behaved server: the tools, resources and prompts of [`mcp`].
    pub fn mcp() -> Self {
        Self::start(mcp)
    }

    /// One whose GET and whose tool `read_all` are streams that go on until the latch is released.
    pub fn endless(latch: &Arc<Latch>) -> Self {
        let held = Arc::clone(latch);
        Self::start(move |hit| {
            if hit.method != "GET" && !String::from_utf8_lossy(&hit.body).contains("read_all") {
                return mcp(hit);
            }
            vec![stream_head(), say("data: {\"open\":1}\n\n"), Step::Wait(Arc::clone(&held)), Step::HangUp]
        })
    }

    /// Its declaration as a service whose tools are not pinned: for promises that have nothing to do with that.
    pub fn declare(&self, name: &str) -> String {
        self.declare_pinned(name, "off")
    }

    /// Its declaration as a service with these pins.
    pub fn declare_pinned(&self, name: &str, pins: &str) -> String {
        let url = format!("http://{}/mcp", self.address);
        format!("  - {{ name: {name}, kind: mcp, url: \"{url}\", pins: {pins}, network: private }}\n")
    }

    /// Its declaration as an HTTP service, with more keys in the words of services.yaml.
    pub fn declare_api(&self, name: &str, more: &str) -> String {
        let url = format!("http://{}", self.address);
        format!("  - {{ name: {name}, kind: http, url: \"{url}\", network: private{more} }}\n")
    }

    /// Everything that arrived.
    pub fn hits(&self) -> Vec<Hit> {
        self.state.hits.lock().unwrap().clone()
    }

    /// How many requests arrived.
    pub fn count(&self) -> usize {
        self.state.hits.lock().unwrap().len()
    }

    /// How many connections were opened, with or without a request on them.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many connections have ended, whoever closed them.
    pub fn closed(&self) -> usize {
        self.state.closed.load(Ordering::SeqCst)
    }

    /// The last request that arrived.
    pub fn last(&self) -> Hit {
        self.hits().pop().expect("something arrived")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // The acceptor looks at the flag with the next connection: this one.
        #[expect(clippy::disallowed_methods, reason = "a test wakes its own server")]
        let _ = TcpStream::connect(self.address);
    }
}

/// A port where nobody listens, and that nobody else is given while this is kept.
pub struct ClosedPort(Socket);

impl ClosedPort {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// From now on somebody listens.
    pub fn listen(self) -> TcpListener {
        self.0.listen(16).unwrap();
        self.0.into()
    }
}

/// Serves one connection until either side ends it.
fn serve(stream: TcpStream, state: &State, answer: &dyn Fn(&Hit) -> Vec<Step>) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(hit) = read_request(&mut reader) {
        state.hits.lock().unwrap().push(hit.clone());
        for step in answer(&hit) {
            match step {
                Step::Say(bytes) => {
                    if writer.write_all(&bytes).is_err() {
                        return;
                    }
                }
                Step::Wait(latch) => latch.wait(),
                Step::HangUp => {
                    let _ = writer.shutdown(std::net::Shutdown::Both);
                    return;
                }
            }
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Hit> {
    let mut head = String::new();
    loop {
        let start = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head[start..].trim().is_empty() {
            break;
        }
    }
    let mut hit = Hit { method: head.split(' ').next()?.to_owned(), head, body: Vec::new() };
    if hit.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        hit.body = read_chunks(reader)?;
        return Some(hit);
    }
    let length = hit.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    hit.body = vec![0; length];
    reader.read_exact(&mut hit.body).ok()?;
    Some(hit)
}

/// A chunked body (RFC 9112 §7.1); none when it breaks off.
fn read_chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let start = body.len();
        body.resize(start + length, 0);
        reader.read_exact(&mut body[start..]).ok()?;
        reader.read_line(&mut line).ok()?;
        if length == 0 {
            return Some(body);
        }
    }
}

/// An answer with these headers (each with its line end) and this body.
pub fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<Step> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    vec![Step::Say([head.as_bytes(), body].concat())]
}

/// A JSON answer.
pub fn json(body: impl AsRef<[u8]>) -> Vec<Step> {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

/// The head of an event stream that ends with its connection.
pub fn stream_head() -> Step {
    say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
}

/// A whole event stream.
pub fn events(text: &str) -> Vec<Step> {
    vec![stream_head(), say(text), Step::HangUp]
}

pub fn say(text: &str) -> Step {
    Step::Say(text.as_bytes().to_vec())
}

/// The tools of the well-behaved server; `delete_note` and `write_note` are there to be refused.
pub const TOOLS: [&str; 5] = ["read_note", "delete_note", "echo", "write_note", "read_all"];

/// A well-behaved server without sessions.
pub fn mcp(hit: &Hit) -> Vec<Step> {
    if hit.method != "POST" {
        return answer("405 Method Not Allowed", "Allow: POST\r\n", "");
    }
    let Some(id) = hit.id() else { return answer("202 Accepted", "", "") };
    let result = match hit.rpc_method().as_str() {
        "initialize" => concat!(
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"resources":{},"prompts":{}},"#,
            r#""serverInfo":{"name":"web","version":"1"}}"#
        )
        .to_owned(),
        "tools/list" => list("tools", "name", &TOOLS),
        "resources/list" => {
            list("resources", "uri", &["file:///public/a", "file:///secret/b", "file:///public/c"])
        }
        "resources/templates/list" => {
            list("resourceTemplates", "uriTemplate", &["file:///public/{name}", "file:///secret/{name}"])
        }
        "prompts/list" => list("prompts", "name", &["hello", "hidden"]),
        _ => r#"{"content":[{"type":"text","text":"done"}]}"#.to_owned(),
    };
    json(rpc(&id, &result))
}

/// A JSON-RPC answer.
pub fn rpc(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn list(member: &str, name: &str, elements: &[&str]) -> String {
    let elements: Vec<_> = elements.iter().map(|element| format!(r#"{{"{name}":"{element}"}}"#)).collect();
    format!(r#"{{"{member}":[{}]}}"#, elements.join(","))
}
