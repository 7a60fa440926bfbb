//! What is told of an upstream that breaks: never in its own words.

use domain::service::{HttpUpstream, Network, UpstreamUrl};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{credentials::tests::bench::Bench, dial::Versions};

/// An HTTP/2 server (RFC 9113 §4.1, §6.5, §6.8) that says goodbye to everybody in its own words.
async fn parting(words: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u8::try_from(8 + words.len()).unwrap();
    let goodbye = [&[0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11], words.as_bytes()].concat();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut first = [0; 24];
            if stream.read_exact(&mut first).await.is_ok() {
                let _ = stream.write_all(&settings).await;
                let _ = stream.write_all(&goodbye).await;
            }
            // Until the client has read it and hangs up.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn the_last_words_of_an_http2_server_are_told_to_nobody() {
    let url = parting("sk_live_9f3c4b1d7e2a8f60").await;
    let upstream =
        HttpUpstream { url: UpstreamUrl::parse(&url).unwrap(), network: Network::Private, ca_pem: None };
    let connector = Dialler::new().connector(&upstream, Versions::Http1, None).unwrap();
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
    let request = ::http::Request::get(url).body(Empty::<bytes::Bytes>::new()).unwrap();
    let error = client.request(request).await.unwrap_err();
    let mut told = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        told.push(error.to_string());
        cause = error.source();
    }
    assert!(told.join(" ").contains("sk_live"), "the library tells: {told:?}");
    let Stop::Fault(Fault::UpstreamBroken(text)) = fault(&error) else { panic!("{told:?}") };
    assert_eq!(text, "http2 error");
}

/// A client of a server that greets every request with so many interim answers, and then says no more.
async fn hesitant(interim_answers: u32) -> Result<String, Stop> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        for _ in 0..interim_answers {
            let _ = stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
        }
        if interim_answers <= INTERIM_ANSWERS_MAX {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
        // Ends when the client hangs up.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let upstream =
        HttpUpstream { url: UpstreamUrl::parse(&url).unwrap(), network: Network::Private, ca_pem: None };
    let client = client(Dialler::new().connector(&upstream, Versions::Http1, None).unwrap());
    let request = ::http::Request::get(url).body(Empty::<bytes::Bytes>::new()).unwrap();
    let bench = Bench::new().await;
    let answer = send(&client, request, &Leave::of_us(&bench.freshness().await)).await;
    let text = match answer {
        Ok(answer) => Ok(answer.into_body().collect().await.unwrap().to_bytes()),
        Err(stop) => Err(stop),
    };
    drop(client);
    let gone = tokio::time::timeout(std::time::Duration::from_secs(60), server).await;
    gone.expect("the connection is kept").unwrap();
    text.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn interim_answers_without_end_are_no_answer() {
    assert_eq!(hesitant(0).await.ok().as_deref(), Some("ok"));
    assert_eq!(hesitant(INTERIM_ANSWERS_MAX).await.ok().as_deref(), Some("ok"));
    let Err(Stop::Fault(Fault::UpstreamBroken(why))) = hesitant(10_000).await else { panic!("it passed") };
    assert_eq!(why, "it sent more than 60 interim answers");
}
