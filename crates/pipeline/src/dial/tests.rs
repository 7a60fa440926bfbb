//! Who is dialled, and as whom, on real sockets with throw-away certificates.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use domain::{
    credential::CredentialKind,
    service::{Network, UpstreamUrl},
    stop::Fault,
};
use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::credentials::tests::bench::Bench;

/// An authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a name, and its key.
    fn sign(&self, name: &str) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().der().clone(), key)
    }

    /// The value of a client's credential.
    fn client(&self) -> String {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        format!("{}{}", params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// Answers every request with the number of certificates that its client showed.
async fn serve(authority: &Authority, name: &str, clients: Option<&Authority>, alpn: &[&[u8]]) -> SocketAddr {
    let (certificate, key) = authority.sign(name);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.0.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = config.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Clients that we refuse are part of the tests.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let shown = stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
                let service = service_fn(move |_request| {
                    std::future::ready(Ok::<_, Infallible>(http::Response::new(shown.to_string())))
                });
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

fn upstream(url: &str, ca: &Authority) -> HttpUpstream {
    HttpUpstream { url: UpstreamUrl::parse(url).unwrap(), network: Network::Private, ca_pem: Some(ca.pem()) }
}

async fn get(
    upstream: &HttpUpstream,
    versions: Versions,
    identity: Option<&ClientIdentity>,
) -> Result<(Version, String), String> {
    let connector = Dialler::new().connector(upstream, versions, identity).unwrap();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let request =
        Request::builder().uri(upstream.url.uri().clone()).body(Empty::<bytes::Bytes>::new()).unwrap();
    let answer = client.request(request).await.map_err(|error| {
        std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ")
    })?;
    let version = answer.version();
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((version, String::from_utf8(body.into()).unwrap()))
}

#[tokio::test]
async fn a_server_that_asks_is_shown_the_services_certificate() {
    let (ca, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let address = serve(&ca, "127.0.0.1", Some(&clients), &[HTTP_2, HTTP_1]).await;
    let url = format!("https://{address}/");

    let bench = Bench::new().await;
    let service = bench.api(&url, &[("certificate", CredentialKind::ClientCertificate)]).await;
    assert!(bench.set(&service, "certificate", clients.client().as_bytes()).await);
    let injection = bench.credentials.injection(&service, &bench.world().await).await.ok().unwrap();
    let upstream = upstream(&url, &ca);
    let shown = get(&upstream, Versions::Http2OrHttp1, injection.identity.as_deref()).await;
    assert_eq!(shown, Ok((Version::HTTP_2, "1".into())));

    assert!(get(&upstream, Versions::Http2OrHttp1, None).await.is_err());
    let stranger = ClientIdentity::from_pem(strangers.client().as_bytes()).ok().unwrap();
    assert!(get(&upstream, Versions::Http2OrHttp1, Some(&stranger)).await.is_err());
}

#[tokio::test]
async fn a_key_that_does_not_fit_its_certificate_is_found_before_anything_is_dialled() {
    let bench = Bench::new().await;
    let slots = [("certificate", CredentialKind::ClientCertificate)];
    let service = bench.api("https://127.0.0.1:9/", &slots).await;
    let certificate = Authority::new().client();
    let (certificate, _key) = certificate.split_once("-----BEGIN PRIVATE KEY").unwrap();
    let value = format!("{certificate}{}", KeyPair::generate().unwrap().serialize_pem());
    assert!(bench.set(&service, "certificate", value.as_bytes()).await);
    let outcome = bench.credentials.injection(&service, &bench.world().await).await;
    let Err(Fault::CredentialFailed(why)) = outcome else { panic!("it was taken") };
    assert!(why.contains("its private key does not fit its certificate"), "{why}");
}

#[tokio::test]
async fn the_version_of_http_is_what_both_sides_speak() {
    let ca = Authority::new();
    let cases: [(&[&[u8]], Versions, Version); 4] = [
        (&[HTTP_2, HTTP_1], Versions::Http2OrHttp1, Version::HTTP_2),
        (&[HTTP_2, HTTP_1], Versions::Http1, Version::HTTP_11),
        (&[HTTP_1], Versions::Http2OrHttp1, Version::HTTP_11),
        (&[], Versions::Http2OrHttp1, Version::HTTP_11),
    ];
    for (alpn, versions, expected) in cases {
        let address = serve(&ca, "127.0.0.1", None, alpn).await;
        let answered = get(&upstream(&format!("https://{address}/"), &ca), versions, None).await;
        assert_eq!(answered, Ok((expected, "0".into())));
    }
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_is_sent_nothing() {
    let (ca, other) = (Authority::new(), Authority::new());
    let address = serve(&ca, "127.0.0.1", None, &[HTTP_1]).await;
    let why =
        get(&upstream(&format!("https://{address}/"), &other), Versions::Http1, None).await.unwrap_err();
    assert!(why.contains("TLS with `127.0.0.1` failed") && why.contains("invalid peer certificate"), "{why}");

    let address = serve(&ca, "elsewhere.example", None, &[HTTP_1]).await;
    let why = get(&upstream(&format!("https://{address}/"), &ca), Versions::Http1, None).await.unwrap_err();
    assert!(why.contains("TLS with `127.0.0.1` failed"), "{why}");
}

/// The spellings of an IPv4 address that `inet_aton` and others read: parts in decimal, octal and hex, written out
/// or not, one to four of them; and the IPv6 addresses that carry it.
fn spellings([a, b, c, d]: [u8; 4]) -> Vec<String> {
    let number = |value: u32| {
        [format!("{value}"), format!("0{value:o}"), format!("0x{value:x}"), format!("0X{value:08X}")]
    };
    let (ab, cd) = (u32::from(a) << 8 | u32::from(b), u32::from(c) << 8 | u32::from(d));
    let last = [u32::from(b) << 16 | cd, cd, u32::from(d)];
    let mut all: Vec<String> = number(ab << 16 | cd).into();
    for first in number(a.into()) {
        all.extend(number(last[0]).map(|rest| format!("{first}.{rest}")));
        for second in number(b.into()) {
            all.extend(number(last[1]).map(|rest| format!("{first}.{second}.{rest}")));
            all.extend(number(last[2]).map(|rest| format!("{first}.{second}.{c}.{rest}")));
        }
    }
    let hex = format!("{ab:x}:{cd:x}");
    all.extend([
        format!("::ffff:{hex}"),
        format!("::ffff:{a}.{b}.{c}.{d}"),
        format!("::{hex}"),
        format!("::ffff:0:{hex}"),
        format!("64:ff9b::{hex}"),
        format!("64:ff9b:1::{hex}"),
        format!("2002:{hex}::1"),
        format!("2001:0:{hex}::1"),
    ]);
    all
}

#[tokio::test]
async fn no_spelling_of_an_address_gets_past_the_judge() {
    let public = [[127, 0, 0, 1], [10, 0, 0, 1], [192, 168, 1, 1], [169, 254, 169, 254]];
    let tried = public.map(spellings).concat();
    assert!(tried.len() > 400);
    for host in tried {
        // However the system reads it: it is judged by what it is read as, or it is not read at all.
        let outcome = dial(&host, 9, Network::Public).await.map(drop);
        assert!(
            matches!(outcome, Err(DialError::Forbidden { .. } | DialError::Unresolved(_))),
            "{host}: {outcome:?}"
        );
    }
    for host in spellings([169, 254, 169, 254]) {
        let outcome = dial(&host, 9, Network::Private).await.map(drop);
        assert!(
            matches!(outcome, Err(DialError::Forbidden { .. } | DialError::Unresolved(_))),
            "{host}: {outcome:?}"
        );
    }
    for host in ["fe80::1%lo", "fe80::1%1", "::1%lo", "localhost", "0"] {
        let outcome = dial(host, 9, Network::Public).await.map(drop);
        assert!(
            matches!(outcome, Err(DialError::Forbidden { .. } | DialError::Unresolved(_))),
            "{host}: {outcome:?}"
        );
    }
}
