//! HTTP/2 connections that are of no use to anybody, under a clock that runs ahead when nothing happens.

use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use pipeline::{clock::SystemClock, gateway::CallIds};
use tokio::{io::DuplexStream, task::JoinHandle, time::timeout};

use super::*;

const LONG: Duration = Duration::from_secs(3_600);

/// A connection that is served, its other side, and who can end it.
fn served() -> (DuplexStream, JoinHandle<()>, watch::Sender<bool>) {
    let entrance = Entrance::sealed(CallIds::new([7; 12]), Arc::new(SystemClock::start()), None);
    let (end, drain) = watch::channel(false);
    let (theirs, ours) = tokio::io::duplex(1 << 20);
    let peer = SocketAddr::from(([127, 0, 0, 1], 9));
    (theirs, tokio::spawn(http2(ours, peer, entrance, drain)), end)
}

/// A client whose streams take so many bytes before it asks for more.
async fn client(stream: DuplexStream, window: u32) -> SendRequest<Full<bytes::Bytes>> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request() -> hyper::Request<Full<bytes::Bytes>> {
    hyper::Request::get("https://localhost/mcp/web").body(Full::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_ended() {
    let (_theirs, serving, _end) = served();
    timeout(LONG, serving).await.expect("it is left alone for ever").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_is_ended() {
    let (theirs, serving, _end) = served();
    let mut sender = client(theirs, 1 << 16).await;
    for _ in 0..3 {
        let answer = sender.send_request(request()).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(!answer.into_body().collect().await.unwrap().to_bytes().is_empty());
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert!(!serving.is_finished(), "a pause is no end");
    }
    timeout(LONG, serving).await.expect("it is kept for ever").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_an_answer_unread_is_left() {
    let (theirs, serving, _end) = served();
    let mut sender = client(theirs, 10).await;
    let answer = sender.send_request(request()).await.unwrap();
    timeout(LONG, serving).await.expect("it waits for ever").unwrap();
    assert!(answer.into_body().collect().await.is_err(), "the answer did not arrive whole");
}
