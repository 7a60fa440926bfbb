//! The guard in front of a real hyper: what is good comes through unchanged, and nothing comes through that hyper
//! alone would not have read there.

use std::{convert::Infallible, sync::Mutex};

use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;

/// A request as the service behind hyper sees it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    line: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
}

fn pairs(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

async fn see(request: http::Request<Incoming>) -> Option<Seen> {
    let line = format!("{} {} {:?}", request.method(), request.uri(), request.version());
    let headers = pairs(request.headers());
    let whole = request.into_body().collect().await.ok()?;
    let trailers = whole.trailers().map(pairs).unwrap_or_default();
    Some(Seen { line, headers, body: whole.to_bytes().to_vec(), trailers })
}

/// Lets everything run that can. There is no clock and no socket here, so nothing runs later than this.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// What the service sees of a connection that brings these pieces, and what was refused.
fn served(pieces: &[&[u8]], guarded: bool) -> (Vec<Seen>, Option<HeadFault>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (verdict, seen) = (Verdict::default(), Arc::new(Mutex::new(Vec::new())));
        let (refused, sink) = (Arc::clone(&verdict), Arc::clone(&seen));
        let service = service_fn(move |request: http::Request<Incoming>| {
            let stands_in = refused.get().is_some() && is_stand_in(&request);
            let sink = Arc::clone(&sink);
            async move {
                if !stands_in && let Some(seen) = see(request).await {
                    sink.lock().unwrap().push(seen);
                }
                Ok::<_, Infallible>(http::Response::new(Full::new(bytes::Bytes::new())))
            }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.max_headers(100).max_buf_size(64 * 1024);
        let serving = if guarded {
            let stream = TokioIo::new(Guarded::new(server, 64 * 1024, Arc::clone(&verdict)));
            tokio::spawn(async move { drop(builder.serve_connection(stream, service).await) })
        } else {
            let stream = TokioIo::new(server);
            tokio::spawn(async move { drop(builder.serve_connection(stream, service).await) })
        };
        for piece in pieces {
            // Whoever refuses a request may have closed the connection already.
            let _ = client.write_all(piece).await;
            settle().await;
        }
        serving.abort();
        let seen = seen.lock().unwrap().clone();
        (seen, verdict.get().copied())
    })
}

/// The bytes in pieces of these lengths, the lengths repeated as often as it takes, at most 200 pieces.
fn cut<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for length in cuts.iter().cycle().take(199) {
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..most),
        Just(b"\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n0\r\n\r\n".to_vec()),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let chunks = prop::collection::vec((bytes(40), prop::sample::select(&["", ";a", " ;b=\"c\""][..])), 0..5);
    prop_oneof![
        Just(b"\r\n".to_vec()),
        bytes(300).prop_map(|body| {
            [format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat()
        }),
        (chunks, any::<bool>()).prop_map(|(chunks, trailer)| {
            let mut all = b"transfer-encoding:\tChunked \r\n\r\n".to_vec();
            for (chunk, extension) in chunks.iter().filter(|(chunk, _)| !chunk.is_empty()) {
                all.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
                all.extend_from_slice(chunk);
                all.extend_from_slice(b"\r\n");
            }
            all.extend_from_slice(if trailer { b"0\r\nX-Sum: 1\r\n\r\n" } else { b"000\r\n\r\n" });
            all
        }),
    ]
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(&["", "\r\n"][..]);
    let method = prop::sample::select(&["GET", "POST", "DELETE"][..]);
    (start, method, "/[a-z]{0,9}", prop::option::of("[ -~]{0,300}"), body()).prop_map(
        |(start, method, target, filler, body)| {
            let filler = filler.map(|filler| format!("X-Filler: {filler}\r\n")).unwrap_or_default();
            [format!("{start}{method} {target} HTTP/1.1\r\nHost: h\r\n{filler}").as_bytes(), &body].concat()
        },
    )
}

fn requests() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(request(), 1..5)
}

proptest! {
    #[test]
    fn good_requests_come_through_as_they_are(
        requests in requests(),
        cuts in prop::collection::vec(1_usize..90, 1..6),
    ) {
        let all = requests.concat();
        let pieces = cut(&all, &cuts);
        let (plain, guarded) = (served(&pieces, false), served(&pieces, true));
        prop_assert_eq!(guarded.1, None);
        prop_assert_eq!(plain.0.len(), requests.len());
        prop_assert_eq!(guarded.0, plain.0);
    }

    #[test]
    fn nothing_comes_through_that_hyper_alone_would_read_otherwise(
        requests in requests(),
        edits in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                0_usize..4,
                prop::sample::select(&[
                    "", "\n", "\r", "\r\n", " ", ":", "\0", "0", "a", "\r\n\r\n", "Content-Length: 3\r\n",
                    "\r\nTransfer-Encoding: chunked", "\r\nContent-Length: 0", "\r\n X: y", ";", "GET / HTTP/1.1\n\n",
                ][..]),
            ),
            1..4,
        ),
        cuts in prop::collection::vec(1_usize..200, 1..6),
    ) {
        let mut all = requests.concat();
        for (place, cut, put) in edits {
            let from = place.index(all.len() + 1);
            let to = (from + cut).min(all.len());
            all.splice(from..to, put.bytes());
        }
        let pieces = cut(&all, &cuts);
        let ((plain, _), (guarded, fault)) = (served(&pieces, false), served(&pieces, true));
        prop_assert!(plain.starts_with(&guarded), "{:?} is not how {:?} starts", guarded, plain);
        // What is missing was refused: for its head, or for chunks that only the guard refuses.
        if let Some(missing) = plain.get(guarded.len()) {
            let chunked = missing.headers.iter().any(|(name, _)| name == "transfer-encoding");
            prop_assert!(fault.is_some() || chunked, "{:?} was lost", missing);
        }
    }
}

#[test]
fn a_refused_head_is_the_last_one() {
    const GOOD: &str = "POST /good HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok";
    const BAD: &str =
        "POST /bad HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
    let all = format!("{GOOD}{GOOD}{BAD}0\r\n\r\n{GOOD}");
    for length in [1, 7, 1_000] {
        let (seen, fault) = served(&cut(all.as_bytes(), &[length]), true);
        assert_eq!(fault, Some(HeadFault::TwoFramings));
        assert_eq!(
            seen.iter().map(|seen| seen.line.as_str()).collect::<Vec<_>>(),
            ["POST /good HTTP/1.1"; 2]
        );
    }
}

#[test]
fn a_client_cannot_pass_for_the_stand_in() {
    let (seen, fault) = served(&[STAND_IN.as_bytes()], true);
    assert_eq!((seen.len(), fault), (1, None));
}
