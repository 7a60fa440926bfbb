//! A token server on 127.0.0.1 that counts, remembers, and answers as it is told.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::{Mutex as Gate, OwnedMutexGuard},
};

#[derive(Clone)]
pub enum Answer {
    /// `access-N` with a life; where it rotates, `refresh-N` as well.
    Tokens { expires_in: &'static str, rotates: bool },
    /// This status and body.
    Status(u16, &'static str),
    /// 200 and these bytes.
    Body(Vec<u8>),
    /// 200 and bytes without end.
    Endless,
    /// The connection ends without an answer.
    HangUp,
    /// The first request's answer is lost; the others are answered like this.
    LostThen(Box<Answer>),
}

#[derive(Clone)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
    pub form: String,
}

pub struct TokenServer {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<Asked>>,
    gate: Arc<Gate<()>>,
}

impl TokenServer {
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            Arc::new(State { answer: Mutex::new(answer), asked: Mutex::default(), gate: Arc::default() });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| answer_to(request, Arc::clone(&state)));
                // A client that hangs up early is part of some tests.
                tokio::spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    pub fn answer(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// No request is answered as long as the guard lives.
    pub async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.state.gate).lock_owned().await
    }

    pub fn hits(&self) -> usize {
        self.state.asked.lock().unwrap().len()
    }

    pub fn last(&self) -> Asked {
        self.state.asked.lock().unwrap().last().cloned().unwrap()
    }
}

async fn answer_to(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let form = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let authorization =
        parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let number = {
        let mut asked = state.asked.lock().unwrap();
        let path = format!("{} {}", parts.method, parts.uri.path());
        asked.push(Asked { path, authorization, form: String::from_utf8(form.into()).unwrap() });
        asked.len()
    };
    drop(state.gate.lock().await);
    let answer = match state.answer.lock().unwrap().clone() {
        Answer::LostThen(_) if number == 1 => Answer::HangUp,
        Answer::LostThen(answer) => *answer,
        answer => answer,
    };
    let (status, body) = match answer {
        Answer::Tokens { expires_in, rotates } => {
            let rotated =
                if rotates { format!(",\"refresh_token\":\"refresh-{number}\"") } else { String::new() };
            let body = format!(
                "{{\"access_token\":\"access-{number}\",\"token_type\":\"bearer\",\"expires_in\":{expires_in}{rotated},\"other\":[]}}"
            );
            (200, Full::new(Bytes::from(body)).boxed())
        }
        Answer::Status(status, body) => (status, Full::new(Bytes::from(body)).boxed()),
        Answer::Body(body) => (200, Full::new(Bytes::from(body)).boxed()),
        Answer::Endless => {
            let frames = futures_util::stream::repeat_with(|| {
                Ok(http_body::Frame::data(Bytes::from_static(&[b' '; 4_096])))
            });
            (200, BoxBody::new(http_body_util::StreamBody::new(frames)))
        }
        Answer::HangUp | Answer::LostThen(_) => return Err(std::io::Error::other("hung up")),
    };
    let response = Response::builder().status(status).header(header::LOCATION, "http://127.0.0.1:9/");
    Ok(response.body(body).unwrap())
}
