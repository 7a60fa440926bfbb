//! What leaves with a credential in it, to the byte; and what keeps it from leaving.

pub(crate) mod bench;

use std::{collections::BTreeMap, time::Duration};

use domain::{
    service::{EnvValue, StdioUpstream},
    stop::Stop,
};
use http::{HeaderMap, Request, request};

use super::*;
use crate::{
    arrival::Exchange,
    leave::Leave,
    upstreams::{Outbound, Upstreams},
};
use bench::{Bench, api, caller, service};

const URL: &str = "https://api.example.com/base";

fn request(uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().uri(format!("https://api.example.com{uri}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

async fn injection_of(slots: &[(&str, CredentialKind)], values: &[&[u8]]) -> Result<Arc<Injection>, Fault> {
    let bench = Bench::new().await;
    let service = bench.api(URL, slots).await;
    for ((name, _), value) in slots.iter().zip(values) {
        assert!(bench.set(&service, name, value).await);
    }
    bench.credentials.injection(&service, &bench.world().await).await
}

async fn applied(kind: CredentialKind, value: &[u8], mut parts: request::Parts) -> request::Parts {
    let injection =
        injection_of(&[("key", kind)], &[value]).await.unwrap_or_else(|fault| panic!("{fault:?}"));
    injection.apply(&mut parts, None, "2026-11-23T14:00:00Z".parse().unwrap()).unwrap();
    parts
}

fn values<'p>(parts: &'p request::Parts, name: &str) -> Vec<&'p [u8]> {
    parts.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect()
}

fn failed(outcome: Result<Arc<Injection>, Fault>) -> String {
    match outcome {
        Err(Fault::CredentialFailed(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was made ready"),
    }
}

#[tokio::test]
async fn a_bearer_token_replaces_the_agents_own() {
    let own =
        request("/", &[("authorization", "Basic agent"), ("authorization", "Bearer agent"), ("x-a", "b")]);
    let parts = applied(CredentialKind::Bearer, b"sk_live_\"1%", own).await;
    assert_eq!(values(&parts, "authorization"), [b"Bearer sk_live_\"1%"]);
    assert_eq!(values(&parts, "x-a"), [b"b"]);
    assert!(parts.headers["authorization"].is_sensitive());
}

#[tokio::test]
async fn basic_names_the_user_in_the_slot_or_in_the_value() {
    // The examples of RFC 7617 §2 and §2.1.
    let named = CredentialKind::Basic { username: Some("Aladdin".into()) };
    let parts = applied(named, b"open sesame", request("/", &[])).await;
    assert_eq!(values(&parts, "authorization"), [b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]);
    let whole = CredentialKind::Basic { username: None };
    let parts = applied(whole, "test:123\u{a3}".as_bytes(), request("/", &[])).await;
    assert_eq!(values(&parts, "authorization"), [b"Basic dGVzdDoxMjPCow=="]);
}

#[tokio::test]
async fn what_is_masked_is_the_secret_and_its_encoded_form() {
    let slot = ("key", CredentialKind::Basic { username: None });
    let injection =
        injection_of(&[slot], &[b"user:pass:word"]).await.unwrap_or_else(|fault| panic!("{fault:?}"));
    let secrets: Vec<&[u8]> = injection.secrets.iter().map(|secret| secret.reveal()).collect();
    assert_eq!(secrets, [&b"pass:word"[..], b"dXNlcjpwYXNzOndvcmQ="]);
}

#[tokio::test]
async fn a_header_of_the_services_own_has_no_lookalikes_beside_it() {
    let kind = CredentialKind::Header { name: "x-api-token".into(), format: "Token {}!".into() };
    let own = request("/", &[("X-Api_Token", "agent"), ("x_api_token", "agent"), ("x-api-token", "agent")]);
    let parts = applied(kind, b"abc", own).await;
    assert_eq!(parts.headers.len(), 1);
    assert_eq!(values(&parts, "x-api-token"), [b"Token abc!"]);
}

#[tokio::test]
async fn a_query_parameter_replaces_the_agents_own_however_it_is_spelled() {
    let kind = || CredentialKind::Query { name: "api key".into() };
    for (own, expected) in [
        ("/x", "/x?api%20key=a%26b%3D%25%22"),
        ("/x?", "/x?api%20key=a%26b%3D%25%22"),
        ("/x?a=1&api+key=agent&b=2", "/x?a=1&b=2&api%20key=a%26b%3D%25%22"),
        ("/x?%61pi%20key=agent&api%20%6Bey&API+key=other", "/x?API+key=other&api%20key=a%26b%3D%25%22"),
    ] {
        let parts = applied(kind(), b"a&b=%\"", request(own, &[])).await;
        assert_eq!(parts.uri.path_and_query().unwrap().as_str(), expected);
        assert_eq!(parts.uri.host(), Some("api.example.com"));
    }
}

#[tokio::test]
async fn a_signature_needs_the_body() {
    let kind = CredentialKind::AwsSigv4 {
        access_key_id: "AKID".into(),
        region: "eu-central-1".into(),
        service: "s3".into(),
    };
    let value = br#"{"secret_access_key":"key","session_token":"session"}"#;
    let injection =
        injection_of(&[("key", kind)], &[value]).await.unwrap_or_else(|fault| panic!("{fault:?}"));
    let at = "2026-11-23T14:00:00Z".parse().unwrap();
    let mut parts = request("/x", &[]);
    assert!(matches!(injection.apply(&mut parts, None, at), Err(Fault::CredentialFailed(_))));
    assert!(!parts.headers.contains_key("authorization"));
    injection.apply(&mut parts, Some(b"body"), at).unwrap();
    assert_eq!(values(&parts, "x-amz-security-token"), [b"session"]);
    assert_eq!(values(&parts, "x-amz-date"), [b"20261123T140000Z"]);
    let authorization = parts.headers["authorization"].to_str().unwrap();
    let start = "AWS4-HMAC-SHA256 Credential=AKID/20261123/eu-central-1/s3/aws4_request, \
                 SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=";
    assert!(authorization.starts_with(start), "{authorization}");
}

#[tokio::test]
async fn a_signature_covers_the_credential_in_the_query() {
    let aws = CredentialKind::AwsSigv4 { access_key_id: "A".into(), region: "r".into(), service: "s".into() };
    let slots = [("aws", aws), ("query", CredentialKind::Query { name: "key".into() })];
    let injection =
        injection_of(&slots, &[b"secret", b"one"]).await.unwrap_or_else(|fault| panic!("{fault:?}"));
    let at = "2026-11-23T14:00:00Z".parse().unwrap();
    let (mut together, mut apart) = (request("/x", &[]), request("/x?key=one", &[]));
    injection.apply(&mut together, Some(b""), at).unwrap();
    injection.signer.as_ref().unwrap().sign(&mut apart, b"", at).unwrap();
    assert_eq!(together.headers["authorization"], apart.headers["authorization"]);
}

#[tokio::test]
async fn two_credentials_never_write_the_same_place() {
    let aws =
        || CredentialKind::AwsSigv4 { access_key_id: "A".into(), region: "r".into(), service: "s".into() };
    let header = || CredentialKind::Header { name: "authorization".into(), format: "{}".into() };
    let query = || CredentialKind::Query { name: "key".into() };
    for (one, other) in [
        (CredentialKind::Bearer, header()),
        (aws(), header()),
        (header(), aws()),
        (aws(), aws()),
        (query(), query()),
    ] {
        let why = failed(injection_of(&[("one", one), ("other", other)], &[b"aaaa", b"bbbb"]).await);
        assert!(why.contains("another credential writes"), "{why}");
        assert!(
            why.contains("`other` of `billing`") && why.ends_with("credentials set billing other"),
            "{why}"
        );
    }
}

#[tokio::test]
async fn a_declared_credential_without_a_value_is_named() {
    let slots = [("set", CredentialKind::Bearer), ("unset", CredentialKind::Query { name: "k".into() })];
    let outcome = injection_of(&slots, &[b"value"]).await;
    assert_eq!(outcome.err(), Some(Fault::CredentialMissing("unset".into())));
}

#[tokio::test]
async fn a_value_opens_where_it_was_set_and_nowhere_else() {
    let bench = Bench::new().await;
    let slots = [("key", CredentialKind::Bearer)];
    let service = bench.api(URL, &slots).await;
    assert!(bench.set(&service, "key", b"canary-secret").await);
    let world = bench.world().await;
    assert!(bench.credentials.injection(&service, &world).await.is_ok());

    // The same row under another address: the credential belongs to scheme, host and port.
    for elsewhere in ["http://api.example.com/", "https://api.example.com:444/", "https://evil.example/"] {
        let moved = Arc::new(bench::service(Upstream::Api(api(elsewhere)), &slots));
        let outcome = bench.credentials.injection(&moved, &world).await;
        assert_eq!(outcome.err(), Some(Fault::StaleAuthorization), "it is not what the world has");
        let mut altered = bench.world().await;
        altered.services = Arc::new([(moved.name.clone(), Arc::clone(&moved))].into());
        let why = failed(bench.credentials.injection(&moved, &altered).await);
        assert!(why.contains("does not open") && !why.contains("canary"), "{why}");
    }
    // The path is no part of it.
    let path = Arc::new(bench::service(Upstream::Api(api("https://api.example.com/other")), &slots));
    assert!(bench.credentials.injection(&path, &world).await.is_ok());
    // Another version's ciphertext.
    let mut swapped = bench.world().await;
    let all = Arc::make_mut(&mut swapped.credentials);
    all.get_mut(&service.name).unwrap()[0].version += 1;
    failed(bench.credentials.injection(&service, &swapped).await);
}

#[tokio::test]
async fn a_value_is_opened_once_for_each_version() {
    let bench = Bench::new().await;
    let service = bench.api(URL, &[("key", CredentialKind::Bearer)]).await;
    assert!(bench.set(&service, "key", b"one").await);
    let world = bench.world().await;
    let first = bench.credentials.injection(&service, &world).await.ok().unwrap();
    // Another snapshot holds other copies of the same service.
    let again = bench.world().await;
    let copy = Arc::clone(&again.services[&service.name]);
    assert!(!Arc::ptr_eq(&copy, &service));
    assert!(Arc::ptr_eq(&first, &bench.credentials.injection(&copy, &again).await.ok().unwrap()));

    assert!(bench.set(&service, "key", b"two").await);
    let second = bench.credentials.injection(&service, &bench.world().await).await.ok().unwrap();
    assert_eq!((&first.versions, &second.versions), (&vec![1], &vec![2]));
    let mut parts = request("/", &[]);
    second.apply(&mut parts, None, "2026-11-23T14:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(values(&parts, "authorization"), [b"Bearer two"]);
}

#[tokio::test]
async fn what_was_opened_for_a_removed_service_is_forgotten() {
    let bench = Bench::new().await;
    let service = bench.api(URL, &[("key", CredentialKind::Bearer)]).await;
    assert!(bench.set(&service, "key", b"value").await);
    let world = bench.world().await;
    drop(bench.credentials.injection(&service, &world).await);
    bench.credentials.sweep(&world);
    assert_eq!(bench.credentials.opened.load().len(), 1);
    assert!(bench.change(store::Change::RemoveService { name: service.name.clone(), seen: None }).await);
    bench.credentials.sweep(&bench.world().await);
    assert_eq!(bench.credentials.opened.load().len(), 0);
}

#[tokio::test]
async fn a_process_finds_its_credentials_in_its_environment() {
    let bench = Bench::new().await;
    let name = CredentialName::parse("token").unwrap();
    let env = BTreeMap::from([
        ("API_TOKEN".to_owned(), EnvValue::Credential(name)),
        ("PLAIN".to_owned(), EnvValue::Plain("text".into())),
    ]);
    let child = StdioUpstream {
        command: vec!["true".into()],
        env,
        share: false,
        processes: 1,
        idle: Duration::from_secs(1),
    };
    let started = service(Upstream::Stdio(child), &[("token", CredentialKind::Env)]);
    bench.put(started.clone(), None).await;
    assert!(bench.set(&started, "token", b"line\n\xff").await);
    let injection = bench.credentials.injection(&Arc::new(started), &bench.world().await).await.ok().unwrap();
    let environment: Vec<(&str, &[u8])> =
        injection.environment.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    assert_eq!(environment, [("API_TOKEN", &b"line\n\xff"[..])]);

    let why = failed(injection_of(&[("key", CredentialKind::Env)], &[b"x"]).await);
    assert!(why.contains("for services that are started"), "{why}");
}

#[tokio::test]
async fn a_process_that_prints_its_environment_gives_nothing_away() {
    let bench = Bench::new().await;
    let name = CredentialName::parse("token").unwrap();
    // The secret comes in two pieces, so that no single read has it whole.
    let script =
        "printf 'said %.9s' \"$TOKEN\" >&2; sleep 0.02; printf %s \"${TOKEN#?????????}\" >&2; exit 1";
    let child = StdioUpstream {
        command: ["sh", "-c", script].map(str::to_owned).into(),
        env: BTreeMap::from([("TOKEN".to_owned(), EnvValue::Credential(name))]),
        share: false,
        processes: 4,
        idle: Duration::from_secs(60),
    };
    let started = service(Upstream::Stdio(child), &[("token", CredentialKind::Env)]);
    bench.put(started.clone(), None).await;
    assert!(bench.set(&started, "token", b"canary-of-the-environment").await);
    let started = Arc::new(started);
    let injection = bench.credentials.injection(&started, &bench.world().await).await.ok().unwrap();
    let upstreams = Upstreams::new(Dialler::new(), Arc::clone(&bench.clock) as _, 1_024);
    let (caller, freshness) = (caller(), bench.freshness().await);
    // Its last words are waited for only briefly, so a slow machine may need several tries to hear them.
    for _ in 0..100 {
        bench.clock.advance(Duration::from_secs(60));
        let request = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
        let exchange =
            Exchange::Post(wire::Message::read(request[..].into(), &wire::Limits::of_bytes(1_024)).unwrap());
        let outbound = Outbound {
            caller: &caller,
            exchange,
            session: None,
            headers: HeaderMap::new(),
            modern: false,
            leave: Leave::of_us(&freshness),
        };
        let Err(Stop::Fault(fault)) = upstreams.exchange(&started, outbound, &injection).await else {
            panic!("it answered")
        };
        let said = fault.cause();
        for piece in ["canary", "environment", "of-the"] {
            assert!(!said.contains(piece), "{said}");
        }
        if said.contains("***") {
            return;
        }
    }
    panic!("its last words were never heard");
}

#[tokio::test]
async fn only_signatures_need_the_whole_body() {
    let aws = CredentialKind::AwsSigv4 { access_key_id: "A".into(), region: "r".into(), service: "s".into() };
    let upstream = || Upstream::Api(api(URL));
    assert!(needs_whole_body(&service(upstream(), &[("b", CredentialKind::Bearer), ("a", aws)])));
    assert!(!needs_whole_body(&service(upstream(), &[("b", CredentialKind::Bearer)])));
}
