//! A listener with a certificate speaks TLS: HTTP/1.1 and HTTP/2 by ALPN, the same doors behind both, and nothing in
//! the clear.

use std::{io::Read as _, sync::Arc};

use bytes::Bytes;
use http::{Method, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::harness::*;

/// The usual stage behind TLS, and the certificate that its clients trust.
struct Private {
    stage: Stage,
    roots: RootCertStore,
}

impl Private {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let home = Home::new(POLICY);
        home.write("cert.pem", &made.cert.pem());
        home.write("key.pem", &made.signing_key.serialize_pem());
        let (cert, key) = (home.path().join("cert.pem"), home.path().join("key.pem"));
        let settings = ["gateway", "console"].into_iter().flat_map(|listener| {
            [
                format!("{listener}.tls.cert={}", cert.display()),
                format!("{listener}.tls.key={}", key.display()),
            ]
        });
        let home = settings.fold(home, |home, setting| home.set(&setting));
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        Self { stage: Stage::with(home), roots }
    }

    async fn connect(
        &self,
        address: std::net::SocketAddr,
        alpn: &[&str],
    ) -> TlsStream<tokio::net::TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        #[expect(clippy::disallowed_methods, reason = "a test speaks to its own gateway")]
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    fn request(&self, uri: &str, key: Option<&str>) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        request.body(Full::new(Bytes::from(call(1, "read_note", "{}")))).unwrap()
    }

    /// What a call that passes left behind: one hit with its body, an intent and an outcome.
    fn passed(&self, call_id: &str) {
        assert_eq!(self.stage.web.last().body, call(1, "read_note", "{}").into_bytes());
        let kinds: Vec<_> =
            self.stage.gateway.recorded(call_id, 2).iter().map(|e| e["kind"].clone()).collect();
        assert_eq!(kinds, ["intent", "outcome"]);
    }
}

/// Status, call id and body of an answer.
async fn whole(answer: http::Response<hyper::body::Incoming>) -> (u16, String, String) {
    let (head, body) = answer.into_parts();
    let id = head.headers["x-call-id"].to_str().unwrap().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), id, String::from_utf8(body.to_vec()).unwrap())
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn http_1_is_served_behind_tls() {
    let private = Private::new();
    let gateway = &private.stage.gateway;
    for alpn in [&["http/1.1"][..], &[]] {
        let (status, id, body) = run(async {
            let stream = private.connect(gateway.address(), alpn).await;
            assert_eq!(stream.get_ref().1.alpn_protocol(), alpn.first().map(|name| name.as_bytes()));
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let mut request = private.request("/mcp/web", Some(&private.stage.key));
            request.headers_mut().insert("host", "localhost".parse().unwrap());
            whole(sender.send_request(request).await.unwrap()).await
        });
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("\"result\""), "{body}");
        private.passed(&id);
    }
    assert!(gateway.said().contains("gateway   https://"), "{}", gateway.said());
}

#[test]
fn http_2_is_served_behind_tls() {
    let private = Private::new();
    let gateway = &private.stage.gateway;
    let key = private.stage.key.as_str();
    let id = run(async {
        let stream = private.connect(gateway.address(), &["h2", "http/1.1"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let send = async |request| whole(sender.clone().send_request(request).await.unwrap()).await;

        let (status, _, body) = send(private.request("https://localhost/mcp/web", None)).await;
        assert_eq!(status, 401, "{body}");
        // Each refused for its head; the connection goes on, because its streams are framed apart.
        let hosts = |values: &[&'static str]| {
            let mut request = private.request("https://localhost/mcp/web", Some(key));
            for value in values {
                request.headers_mut().append("host", value.parse().unwrap());
            }
            request
        };
        for (request, why) in [
            (hosts(&["evil.test"]), "its target names another host than its Host header"),
            (hosts(&["localhost", "localhost"]), "it has more than one Host"),
            (
                private.request("https://localhost/mcp/caf\u{e9}", Some(key)),
                "its target has characters that must be percent-encoded",
            ),
        ] {
            let (status, _, body) = send(request).await;
            assert_eq!(status, 400, "{body}");
            assert!(body.contains(why), "{body}");
        }
        let (status, _, body) = send(private.request("https://evil.test/mcp/web", Some(key))).await;
        assert_eq!(status, 403, "{body}");
        let mut trace = private.request("https://localhost/mcp/web", Some(key));
        *trace.method_mut() = Method::TRACE;
        assert_eq!(send(trace).await.0, 405);
        assert_eq!(private.stage.web.count(), 0);

        let (status, id, body) = send(private.request("https://localhost/mcp/web", Some(key))).await;
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("\"result\""), "{body}");
        let several = (0..20).map(|_| {
            let (mut sender, request) =
                (sender.clone(), private.request("https://localhost/mcp/web", Some(key)));
            tokio::spawn(async move { whole(sender.send_request(request).await.unwrap()).await.0 })
        });
        for answer in several.collect::<Vec<_>>() {
            assert_eq!(answer.await.unwrap(), 200);
        }
        id
    });
    assert_eq!(private.stage.web.count(), 21);
    private.passed(&id);
}

#[test]
fn the_console_is_private_too() {
    let private = Private::new();
    let status = run(async {
        let stream = private.connect(private.stage.gateway.console(), &["http/1.1"]).await;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::builder().uri(Uri::from_static("/healthz")).header("host", "localhost");
        sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap().status()
    });
    assert_eq!(status, 200);
}

#[test]
fn nothing_is_answered_in_the_clear() {
    let private = Private::new();
    let plain = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for address in [private.stage.gateway.address(), private.stage.gateway.console()] {
        let mut answer = Vec::new();
        // It may hang up with what it did not read; that is an end too.
        let _ = send_bytes(address, plain).read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    }
}

/// A client that takes HTTP/2 for granted (RFC 9113 §3.3) hears in HTTP/1 why it gets none.
#[test]
fn http_2_in_the_clear_is_refused_in_words() {
    let stage = Stage::new();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut answer = String::new();
    send_bytes(stage.gateway.address(), preface).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("its version is neither HTTP/1.0 nor HTTP/1.1"), "{answer}");
}
