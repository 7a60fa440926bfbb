//! A model's endpoint on 127.0.0.1 that remembers what it was asked, and answers as it is told, byte by byte.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What it answers. Every connection ends after one answer.
#[derive(Clone)]
pub enum Answer {
    /// These bytes, and then the end.
    Raw(String),
    /// A head and so many bytes of a body.
    Flood(usize),
    /// These bytes, and then nothing.
    Hang(String),
}

impl Answer {
    pub fn json(body: &Value) -> Self {
        Self::body(200, &body.to_string())
    }

    pub fn body(status: u16, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n");
        Self::Raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    pub fn redirect(to: &str) -> Self {
        Self::Raw(format!(
            "HTTP/1.1 307 X\r\nLocation: {to}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ))
    }
}

pub struct FakeModel {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<(String, String)>>,
}

impl FakeModel {
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { answer: Mutex::new(answer), asked: Mutex::default() });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on it answers something else.
    pub fn answers(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// Head and body of every request, in order.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.state.asked.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let Ok(read) = stream.read(&mut buffer).await else { return };
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase().lines().find_map(|line| {
            line.strip_prefix("content-length: ").map(|length| length.trim().parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or(0) {
            state.asked.lock().unwrap().push((head.to_owned() + "\r\n", body.to_owned()));
            break;
        }
    }
    let answer = state.answer.lock().unwrap().clone();
    // The gateway may have hung up.
    match answer {
        Answer::Raw(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
        Answer::Flood(length) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&vec![b' '; length]).await;
        }
        Answer::Hang(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            std::future::pending::<()>().await;
        }
    }
    // What is still unread would turn the end into a reset.
    let _ = stream.shutdown().await;
}
