//! A client that sends exactly what it is told, odd requests included, and hands back what came, byte for byte.
//! It must never mend a request or an answer.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// How long one read may take before the test fails: far more than anything takes that works.
const READ_MAX: Duration = Duration::from_secs(60);

/// A request, header by header.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without any header but `Host`.
    pub fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, headers: Vec::new(), body: Vec::new() }
    }

    /// A POST as MCP clients send it.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        let request = Self::new("POST", target)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream");
        Self { body: body.into(), ..request }
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Its body.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// A GET of an event stream.
    pub fn listen(target: &str) -> Self {
        Self::new("GET", target).header("Accept", "text/event-stream")
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without this header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// With a key in the usual place.
    pub fn key(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    /// The request's bytes. A `Host` of its own stands in for the address.
    fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !has("host") {
            head.push_str(&format!("Host: {address}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let chunked = has("transfer-encoding");
        if !chunked && !has("content-length") && (self.method == "POST" || !self.body.is_empty()) {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// Sends a request on a connection of its own and reads the whole answer.
pub fn send(address: SocketAddr, request: &Request) -> Reply {
    open(address, request).whole()
}

/// The same to a gateway that may not be there, or die meanwhile.
pub fn attempt(address: SocketAddr, request: &Request) -> io::Result<Reply> {
    Ok(read_answer(try_send_bytes(address, &request.bytes(address))?)?.whole())
}

/// Sends a request and reads the answer's head; the body is still to come.
pub fn open(address: SocketAddr, request: &Request) -> Answer {
    read_answer(send_bytes(address, &request.bytes(address))).expect("an answer comes")
}

/// Sends a request and reads nothing.
pub fn begin(address: SocketAddr, request: &Request) -> TcpStream {
    send_bytes(address, &request.bytes(address))
}

/// Opens a connection and writes bytes to it.
pub fn send_bytes(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    try_send_bytes(address, bytes).expect("the gateway listens")
}

fn try_send_bytes(address: SocketAddr, bytes: &[u8]) -> io::Result<TcpStream> {
    #[expect(clippy::disallowed_methods, reason = "a test speaks to its own gateway")]
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(READ_MAX))?;
    stream.set_nodelay(true)?;
    // Whoever refuses a request early may hang up while it is still being sent; the answer is what counts.
    let _ = stream.write_all(bytes);
    Ok(stream)
}

fn read_answer(stream: TcpStream) -> io::Result<Answer> {
    let mut reader = BufReader::new(stream);
    let status_line = read_line(&mut reader)?;
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status line: {status_line:?}")))?;
    let mut headers = Vec::new();
    while let Some((name, value)) = read_line(&mut reader)?.split_once(':') {
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let framing = match (find(&headers, "transfer-encoding"), find(&headers, "content-length")) {
        (Some("chunked"), _) => Framing::Chunked { left: 0, ended: false },
        (_, Some(length)) => Framing::Length(length.parse().unwrap()),
        _ if matches!(status, 204 | 304) => Framing::Length(0),
        _ => Framing::ToTheEnd,
    };
    Ok(Answer { status, headers, body: BufReader::new(Body { reader, framing }) })
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// An answer whose body is still under way.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    body: BufReader<Body>,
}

impl Answer {
    /// Waits for the end of the body.
    pub fn whole(mut self) -> Reply {
        let mut body = Vec::new();
        let cut_off = match self.body.read_to_end(&mut body) {
            Ok(_) => false,
            Err(error) => {
                assert!(!matches!(error.kind(), ErrorKind::WouldBlock), "the body stands still");
                true
            }
        };
        Reply { status: self.status, headers: self.headers, body, cut_off }
    }

    /// The next event of the stream with its blank line, byte for byte; none at the end of the stream.
    pub fn event(&mut self) -> Option<String> {
        let mut event = Vec::new();
        loop {
            let start = event.len();
            match self.body.read_until(b'\n', &mut event) {
                Ok(0) => return None,
                Ok(_) if event[start..] == b"\n"[..] || event[start..] == b"\r\n"[..] => {
                    return Some(String::from_utf8(event).unwrap());
                }
                Ok(_) => {}
                Err(error) => {
                    assert!(!matches!(error.kind(), ErrorKind::WouldBlock), "the stream stands still");
                    return None;
                }
            }
        }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// A whole answer.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body's bytes, as far as they came.
    pub body: Vec<u8>,
    /// The connection ended before the body did.
    pub cut_off: bool,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Every value of a header, in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fits = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(fits).map(|(_, value)| value.as_str()).collect()
    }

    /// The call's id, which every answer to a call must carry.
    pub fn call_id(&self) -> &str {
        self.header("x-call-id").expect("every answer carries X-Call-Id")
    }

    /// How the gateway says that it treated the call.
    pub fn proxy_status(&self) -> &str {
        self.header("x-proxy-status").expect("every answer carries X-Proxy-Status")
    }

    /// Whether nothing is known yet, or nothing was sent because a busy machine could not confirm its snapshot in time, or
    /// count.
    pub fn is_to_come_again(&self) -> bool {
        matches!(self.status, 429 | 503) || self.text().contains("urn:toolgate:in-progress")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON ({}): {}", self.status, self.text()))
    }

    /// The code of the JSON-RPC error.
    pub fn code(&self) -> i64 {
        let json = self.json();
        json["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {json}"))
    }

    /// The text of the JSON-RPC error: all that a model may see of it.
    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The verdict as agents tell it apart: the JSON-RPC code on HTTP 200, else the HTTP status.
    pub fn verdict(&self) -> i64 {
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(json) if self.status == 200 => json["error"]["code"].as_i64().unwrap_or(200),
            _ => i64::from(self.status),
        }
    }
}

fn find<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// A body in its framing (RFC 9112 §6); a body that ends too early is an error.
struct Body {
    reader: BufReader<TcpStream>,
    framing: Framing,
}

enum Framing {
    Length(usize),
    Chunked { left: usize, ended: bool },
    ToTheEnd,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let early = || io::Error::from(ErrorKind::UnexpectedEof);
        match &mut self.framing {
            Framing::ToTheEnd => self.reader.read(buffer),
            Framing::Length(0) => Ok(0),
            Framing::Length(left) => {
                let wanted = buffer.len().min(*left);
                let read = self.reader.read(&mut buffer[..wanted])?;
                *left -= read;
                if read == 0 { Err(early()) } else { Ok(read) }
            }
            Framing::Chunked { ended: true, .. } => Ok(0),
            Framing::Chunked { left, ended } => {
                if *left == 0 {
                    let mut line = String::new();
                    self.reader.read_line(&mut line)?;
                    *left = usize::from_str_radix(line.trim(), 16).map_err(|_| early())?;
                    if *left == 0 {
                        *ended = true;
                        self.reader.read_line(&mut line)?;
                        return Ok(0);
                    }
                }
                let wanted = buffer.len().min(*left);
                let read = self.reader.read(&mut buffer[..wanted])?;
                if read == 0 {
                    return Err(early());
                }
                *left -= read;
                if *left == 0 {
                    self.reader.read_line(&mut String::new())?;
                }
                Ok(read)
            }
        }
    }
}
