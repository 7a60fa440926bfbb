//! Against a token server that really listens, and a store that really stores.

mod server;

use std::{sync::Arc, time::Duration};

use domain::{
    credential::{ClientAuth, CredentialKind, OauthClient, RefreshValue},
    service::{Service, UpstreamUrl},
    stop::Fault,
};
use http::{HeaderMap, HeaderValue, Method, Request, header};

use super::{
    super::{
        Credentials, Injection, label,
        tests::bench::{Bench, caller},
    },
    REFUSED_MIN_AGE,
};
use crate::{
    arrival::{ApiRequest, CallBody, Exchange},
    dial::Dialler,
    leave::Leave,
    upstreams::{Outbound, Upstreams},
};
use server::{Answer, TokenServer};

const API: &str = "https://api.example.com/";

struct Stage {
    bench: Bench,
    server: TokenServer,
    service: Arc<Service>,
}

fn client(server: &TokenServer, client_auth: ClientAuth) -> OauthClient {
    OauthClient {
        token_url: UpstreamUrl::parse(&server.url()).unwrap(),
        client_id: "our id".into(),
        scope: Some("read write".into()),
        audience: None,
        client_auth,
    }
}

impl Stage {
    async fn client_credentials(answer: Answer) -> Self {
        let server = TokenServer::start(answer).await;
        let kind = CredentialKind::Oauth2ClientCredentials(client(&server, ClientAuth::Basic));
        Self::of(server, kind, b"client+secret").await
    }

    async fn refresh_token(answer: Answer) -> Self {
        let server = TokenServer::start(answer).await;
        let kind = CredentialKind::Oauth2RefreshToken(client(&server, ClientAuth::None));
        Self::of(server, kind, b"refresh-0").await
    }

    async fn of(server: TokenServer, kind: CredentialKind, value: &[u8]) -> Self {
        let bench = Bench::new().await;
        let service = bench.api(API, &[("token", kind)]).await;
        assert!(bench.set(&service, "token", value).await);
        Self { bench, server, service }
    }

    async fn injection(&self) -> Result<Arc<Injection>, Fault> {
        self.injection_of(&self.bench.credentials).await
    }

    async fn injection_of(&self, credentials: &Credentials) -> Result<Arc<Injection>, Fault> {
        credentials.injection(&self.service, &self.bench.world().await).await
    }

    async fn token(&self) -> String {
        match self.injection().await {
            Ok(injection) => authorization(&injection),
            Err(fault) => panic!("{fault:?}"),
        }
    }

    async fn failure(&self) -> String {
        match self.injection().await {
            Err(Fault::CredentialFailed(why)) => why,
            Err(other) => panic!("{other:?}"),
            Ok(injection) => panic!("{}", authorization(&injection)),
        }
    }

    /// The stored version and what it opens to.
    async fn stored(&self) -> (u64, serde_json::Value) {
        let stored = self.bench.store.snapshot().await.unwrap().credentials;
        let stored = &stored[&self.service.name][0];
        let origin = self.service.upstream.origin();
        let label = label(&self.service, &origin, &stored.name, stored.version);
        let value = self.bench.vault.open_sealed(&label, &stored.sealed).unwrap();
        let value = RefreshValue::read(value.reveal()).unwrap();
        (stored.version, serde_json::to_value(&value).unwrap())
    }

    fn advance(&self, seconds: u64) {
        self.bench.clock.advance(Duration::from_secs(seconds));
    }
}

fn authorization(injection: &Injection) -> String {
    let (mut parts, ()) = Request::builder().uri(API).body(()).unwrap().into_parts();
    injection.apply(&mut parts, None, "2026-11-23T14:00:00Z".parse().unwrap()).unwrap();
    parts.headers["authorization"].to_str().unwrap().to_owned()
}

fn tokens() -> Answer {
    Answer::Tokens { expires_in: "3600", rotates: false }
}

fn rotating() -> Answer {
    Answer::Tokens { expires_in: "3600", rotates: true }
}

/// Runs what was spawned until `done`. No sleep: each turn is a request's worth of work, and the bound is far off.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..3_000 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test]
async fn fifty_calls_at_once_ask_for_one_token() {
    let stage = Stage::client_credentials(tokens()).await;
    let world = stage.bench.world().await;
    let calls = (0..50).map(|_| stage.bench.credentials.injection(&stage.service, &world));
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(authorization(&outcome.ok().unwrap()), "Bearer access-1");
    }
    assert_eq!(stage.server.hits(), 1);
}

#[tokio::test]
async fn the_client_shows_itself_as_the_rfc_says() {
    let stage = Stage::client_credentials(tokens()).await;
    stage.token().await;
    let asked = stage.server.last();
    assert_eq!(asked.path, "POST /token");
    // `our%20id:client%2Bsecret`: both are form-encoded before base64 (RFC 6749 §2.3.1).
    assert_eq!(asked.authorization.as_deref(), Some("Basic b3VyJTIwaWQ6Y2xpZW50JTJCc2VjcmV0"));
    assert_eq!(asked.form, "grant_type=client_credentials&scope=read%20write");

    let server = TokenServer::start(tokens()).await;
    let kind = CredentialKind::Oauth2RefreshToken(client(&server, ClientAuth::Body));
    let stage = Stage::of(server, kind, br#"{"refresh_token":"r&1","client_secret":"s=2"}"#).await;
    stage.token().await;
    let asked = stage.server.last();
    assert_eq!(asked.authorization, None);
    let expected = "grant_type=refresh_token&refresh_token=r%261&scope=read%20write&\
                    client_id=our%20id&client_secret=s%3D2";
    assert_eq!(asked.form, expected);

    let stage = Stage::refresh_token(tokens()).await;
    stage.token().await;
    let expected = "grant_type=refresh_token&refresh_token=refresh-0&scope=read%20write&client_id=our%20id";
    assert_eq!(stage.server.last().form, expected);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_runs_out_and_no_call_waits() {
    let stage = Stage::client_credentials(tokens()).await;
    assert_eq!(stage.token().await, "Bearer access-1");
    stage.advance(2_879);
    assert_eq!(stage.token().await, "Bearer access-1");
    assert_eq!(stage.server.hits(), 1);

    stage.advance(1);
    // The server does not answer, and the call goes on.
    let hold = stage.server.hold().await;
    assert_eq!(stage.token().await, "Bearer access-1");
    assert_eq!(stage.token().await, "Bearer access-1");
    drop(hold);
    until("the renewal", async || stage.token().await == "Bearer access-2").await;
    assert_eq!(stage.server.hits(), 2);
}

#[tokio::test]
async fn a_failed_renewal_is_not_noticed_until_the_token_has_run_out() {
    let stage = Stage::client_credentials(tokens()).await;
    assert_eq!(stage.token().await, "Bearer access-1");
    stage.server.answer(Answer::Status(500, "{}"));
    stage.advance(3_000);
    assert_eq!(stage.token().await, "Bearer access-1");
    stage.bench.credentials.settle().await;
    assert_eq!(stage.server.hits(), 2);
    // While it backs off nobody asks again.
    assert_eq!(stage.token().await, "Bearer access-1");
    stage.bench.credentials.settle().await;
    assert_eq!(stage.server.hits(), 2);

    stage.advance(590);
    let why = stage.failure().await;
    assert!(why.contains("answered 500") && why.contains("credential `token` of `billing`"), "{why}");
    assert_eq!(stage.server.hits(), 3);
    // And again: the second pause is longer than the first.
    assert_eq!(stage.failure().await, why);
    stage.advance(1);
    assert_eq!(stage.failure().await, why);
    assert_eq!(stage.server.hits(), 3);
    stage.advance(1);
    stage.server.answer(tokens());
    assert_eq!(stage.token().await, "Bearer access-4");
}

#[tokio::test]
async fn a_new_refresh_token_is_durable_before_its_access_token_is_used() {
    let stage = Stage::refresh_token(rotating()).await;
    assert_eq!(stage.token().await, "Bearer access-1");
    let (version, value) = stage.stored().await;
    assert_eq!((version, &value["refresh_token"], &value["set_as"]), (2, &"refresh-1".into(), &1.into()));
    // What the gateway stored itself is no reason to ask again.
    assert_eq!(stage.token().await, "Bearer access-1");
    assert_eq!(stage.server.hits(), 1);
    // The next one is asked for with it, and so on.
    stage.advance(3_600);
    assert_eq!(stage.token().await, "Bearer access-2");
    assert!(stage.server.last().form.contains("refresh_token=refresh-1"));
    assert_eq!(stage.stored().await.0, 3);
    // A gateway that starts later goes on from there.
    let other = stage.bench.another_gateway();
    assert_eq!(authorization(&stage.injection_of(&other).await.ok().unwrap()), "Bearer access-3");
    assert!(stage.server.last().form.contains("refresh_token=refresh-2"));
}

#[tokio::test]
async fn what_another_gateway_was_given_is_taken_over_without_asking() {
    let stage = Stage::refresh_token(rotating()).await;
    assert_eq!(stage.token().await, "Bearer access-1");
    let other = stage.bench.another_gateway();
    assert_eq!(authorization(&stage.injection_of(&other).await.ok().unwrap()), "Bearer access-2");
    // The store now has version 3. The first gateway's access token stays good.
    assert_eq!(stage.token().await, "Bearer access-1");
    assert_eq!(stage.server.hits(), 2);
    stage.advance(3_600);
    assert_eq!(stage.token().await, "Bearer access-3");
    assert!(stage.server.last().form.contains("refresh_token=refresh-2"));
}

#[tokio::test]
async fn a_value_that_an_operator_sets_replaces_the_token_at_once() {
    let stage = Stage::refresh_token(rotating()).await;
    assert_eq!(stage.token().await, "Bearer access-1");
    assert!(stage.bench.set(&stage.service, "token", b"of-another-account").await);
    assert_eq!(stage.token().await, "Bearer access-2");
    assert!(stage.server.last().form.contains("refresh_token=of-another-account"));
    assert_eq!(stage.stored().await.1["set_as"], 3);
}

#[tokio::test]
async fn a_lost_race_for_the_store_is_run_again_with_what_is_stored() {
    let stage = Stage::refresh_token(rotating()).await;
    let world = stage.bench.world().await;
    let hold = stage.server.hold().await;
    let call = stage.bench.credentials.injection(&stage.service, &world);
    let meanwhile = async {
        until("the request", async || stage.server.hits() == 1).await;
        assert!(stage.bench.set(&stage.service, "token", b"set-meanwhile").await);
        drop(hold);
    };
    let (outcome, ()) = tokio::join!(call, meanwhile);
    // The first answer belonged to the old value: it is not used.
    assert_eq!(authorization(&outcome.ok().unwrap()), "Bearer access-2");
    assert!(stage.server.last().form.contains("refresh_token=set-meanwhile"));
    assert_eq!(stage.stored().await.0, 3);
}

/// The service as an operator makes it when its tokens are to come from `server`.
fn moved_to(server: &TokenServer, service: &Service) -> Service {
    let mut moved = service.clone();
    moved.credentials[0].kind = CredentialKind::Oauth2RefreshToken(client(server, ClientAuth::None));
    moved
}

#[tokio::test]
async fn a_value_for_another_token_endpoint_is_not_shown_to_the_old_one() {
    let (stage, other) = (Stage::refresh_token(rotating()).await, TokenServer::start(rotating()).await);
    let world = stage.bench.world().await;
    let hold = stage.server.hold().await;
    let call = stage.bench.credentials.injection(&stage.service, &world);
    let meanwhile = async {
        until("the request", async || stage.server.hits() == 1).await;
        let moved = moved_to(&other, &stage.service);
        stage.bench.move_away(moved.clone()).await;
        assert!(stage.bench.set(&moved, "token", b"for-the-other").await);
        drop(hold);
    };
    let (outcome, ()) = tokio::join!(call, meanwhile);
    assert!(outcome.is_err(), "its refresh token could not be saved");
    assert_eq!(stage.server.hits(), 1);
    assert!(!stage.server.last().form.contains("for-the-other"));
    // Calls that are judged by the service of now go on with it.
    let (world, moved) = (stage.bench.world().await, moved_to(&other, &stage.service));
    let injection = stage.bench.credentials.injection(&Arc::new(moved), &world).await.ok().unwrap();
    assert_eq!(authorization(&injection), "Bearer access-1");
    assert!(other.last().form.contains("refresh_token=for-the-other"));
}

#[tokio::test]
async fn a_call_that_was_judged_before_its_service_moved_gets_no_value_of_now() {
    let (stage, other) = (Stage::refresh_token(tokens()).await, TokenServer::start(tokens()).await);
    let moved = moved_to(&other, &stage.service);
    stage.bench.move_away(moved.clone()).await;
    assert!(stage.bench.set(&moved, "token", b"for-the-other").await);
    let world = stage.bench.world().await;
    let outcome = stage.bench.credentials.injection(&stage.service, &world).await;
    assert_eq!(outcome.err(), Some(Fault::StaleAuthorization));
    assert_eq!((stage.server.hits(), other.hits()), (0, 0));
}

#[tokio::test]
async fn a_refused_token_is_not_used_again() {
    let stage = Stage::client_credentials(tokens()).await;
    let injection = stage.injection().await.ok().unwrap();
    stage.advance(5);
    assert_eq!(stage.token().await, "Bearer access-1");
    injection.refused();
    assert_eq!(stage.token().await, "Bearer access-2");
    assert_eq!(stage.token().await, "Bearer access-2");
    // One that is new is given some seconds, so that a service that refuses everything costs no token a call.
    stage.injection().await.ok().unwrap().refused();
    assert_eq!(stage.token().await, "Bearer access-2");
    assert_eq!(stage.server.hits(), 2);
    stage.advance(5);
    assert_eq!(stage.token().await, "Bearer access-3");
}

#[tokio::test]
async fn a_service_that_answers_401_costs_the_token_and_is_not_asked_again() {
    let (server, api) =
        (TokenServer::start(tokens()).await, TokenServer::start(Answer::Status(401, "no")).await);
    let bench = Bench::new().await;
    let kind = CredentialKind::Oauth2ClientCredentials(client(&server, ClientAuth::Basic));
    let service = bench.api(&api.url(), &[("token", kind)]).await;
    assert!(bench.set(&service, "token", b"client secret").await);
    let upstreams = Upstreams::new(Dialler::new(), Arc::clone(&bench.clock) as _, 1_024);
    let (caller, freshness) = (caller(), bench.freshness().await);
    for call in 1..=3 {
        let injection = bench.credentials.injection(&service, &bench.world().await).await.ok().unwrap();
        let target = wire::Target::parse("/v1/balance", None, wire::OddTargets::Refuse).unwrap();
        let body = CallBody::Whole(bytes::Bytes::new());
        let exchange =
            Exchange::Request(ApiRequest { method: Method::GET, target, body, reads_answer: false });
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("agent"))]);
        let leave = Leave::of_us(&freshness);
        let outbound = Outbound { caller: &caller, exchange, session: None, headers, modern: false, leave };
        let answer = upstreams.exchange(&service, outbound, &injection).await.ok().unwrap();
        assert_eq!(answer.response.status(), 401);
        let asked = api.last();
        assert_eq!(asked.path, "GET /token/v1/balance");
        assert_eq!(asked.authorization, Some(format!("Bearer access-{call}")));
        assert_eq!((api.hits(), server.hits()), (call, call));
        bench.clock.advance(REFUSED_MIN_AGE);
    }
}

#[tokio::test]
async fn answers_are_masked_for_every_secret_of_the_exchange() {
    let stage = Stage::refresh_token(rotating()).await;
    let injection = stage.injection().await.ok().unwrap();
    let secrets: Vec<&[u8]> = injection.secrets.iter().map(|secret| secret.reveal()).collect();
    assert_eq!(secrets, [&b"access-1"[..], b"refresh-1"]);
    assert!(injection.masker.is_some());
}

#[tokio::test]
async fn a_bad_answer_is_a_fault_that_repeats_nothing_of_it() {
    let long = format!("{{\"access_token\":\"{}\"}}", "a".repeat(70_000));
    for (answer, expected) in [
        (
            Answer::Status(400, r#"{"error":"invalid_client","error_description":"canary"}"#),
            "answered 400 invalid_client",
        ),
        (Answer::Status(401, r#"{"error":"invalid_grant"}"#), "answered 401 invalid_grant"),
        (Answer::Status(400, r#"{"error":"canary"}"#), "answered 400 (credential"),
        (Answer::Status(400, "canary"), "answered 400 (credential"),
        (Answer::Status(503, ""), "answered 503 (credential"),
        (Answer::Status(302, "canary"), "answered 302, and redirects are not followed"),
        (Answer::Status(200, "canary"), "something unreadable"),
        (Answer::Status(200, ""), "something unreadable"),
        (Answer::Status(200, "[]"), "something unreadable"),
        (Answer::Status(200, r#"{"access_token":1}"#), "something unreadable"),
        (Answer::Status(200, r#"{"access_token":"canary","access_token":"b"}"#), "something unreadable"),
        (Answer::Status(200, r#"{"access_token":""}"#), "no header can carry"),
        (Answer::Status(200, r#"{"access_token":"canary\r\nX-Evil: 1"}"#), "no header can carry"),
        (Answer::Status(200, r#"{"access_token":"canary","token_type":"mac"}"#), "another type of token"),
        (Answer::Status(200, r#"{"access_token":"canary","expires_in":0}"#), "an expired token"),
        (Answer::Status(200, r#"{"access_token":"canary","expires_in":-5}"#), "an expired token"),
        (Answer::Status(200, r#"{"access_token":"canary","expires_in":"soon"}"#), "an expired token"),
        (
            Answer::Status(200, r#"{"access_token":"canary","refresh_token":"a b"}"#),
            "unreadable refresh token",
        ),
        (Answer::Body(long.into_bytes()), "is over 65536 bytes"),
        (Answer::Endless, "is over 65536 bytes"),
        (Answer::HangUp, "broke off"),
    ] {
        let stage = Stage::client_credentials(answer).await;
        let why = stage.failure().await;
        assert!(why.contains(expected), "{why}, not {expected}");
        assert!(!why.contains("canary") && !why.contains("secret"), "{why}");
        assert_eq!(stage.server.hits(), 1, "nothing is followed or tried again");
    }
}

#[tokio::test]
async fn a_login_whose_refresh_was_lost_is_tried_once_more_and_told_when_it_has_ended() {
    let events = async |stage: &Stage| {
        let query = store::Query { action: Some("credentials.ended".into()), ..store::Query::default() };
        stage.bench.store.events(&query).await.unwrap()
    };
    let stage = Stage::refresh_token(Answer::LostThen(Box::new(rotating()))).await;
    assert_eq!(stage.token().await, "Bearer access-2", "a server with patience gives it once more");
    assert_eq!((stage.server.hits(), events(&stage).await.len()), (2, 0));

    let refused = Answer::Status(400, r#"{"error":"invalid_grant"}"#);
    let stage = Stage::refresh_token(Answer::LostThen(Box::new(refused))).await;
    let why = stage.failure().await;
    for words in [
        "answered 400 invalid_grant, after an answer of it was lost with the next refresh token",
        "this login has ended; log in anew and set what you get: toolgate credentials set billing token",
    ] {
        assert!(why.contains(words), "{why}");
    }
    for _ in 0..3 {
        stage.advance(61);
        assert_eq!(stage.failure().await, why);
    }
    let told = events(&stage).await;
    assert_eq!(told.len(), 1, "the trail tells it once");
    assert!(told[0].rec.contains("this login has ended") && !told[0].rec.contains("refresh-0"));
}

#[tokio::test]
async fn a_life_may_be_written_in_every_way_that_servers_do() {
    for (written, seconds) in [("\"120\"", 120), ("120.0", 120), ("1e30", 86_400), ("null", 300)] {
        let stage = Stage::client_credentials(Answer::Tokens { expires_in: written, rotates: false }).await;
        assert_eq!(stage.token().await, "Bearer access-1");
        stage.advance(seconds - 11);
        assert_eq!(stage.token().await, "Bearer access-1", "{written}");
        stage.bench.credentials.settle().await;
        stage.server.answer(Answer::Status(500, ""));
        stage.advance(seconds);
        stage.failure().await;
    }
}

#[tokio::test]
async fn a_silent_endpoint_is_given_up() {
    let stage = Stage::client_credentials(tokens()).await;
    let world = stage.bench.world().await;
    let _hold = stage.server.hold().await;
    let call = stage.bench.credentials.injection(&stage.service, &world);
    let clock = async {
        until("the request", async || stage.server.hits() == 1).await;
        // From here on the timers run by themselves whenever everybody waits.
        tokio::time::pause();
    };
    let (outcome, ()) = tokio::join!(call, clock);
    let Err(Fault::CredentialFailed(why)) = outcome else { panic!("it was answered") };
    assert!(why.contains("did not answer within 10 s"), "{why}");
}

#[tokio::test]
async fn an_endpoint_is_judged_as_the_service_is() {
    let stage = Stage::client_credentials(tokens()).await;
    let mut service = Service::clone(&stage.service);
    let domain::service::Upstream::Api(api) = &mut service.upstream else { panic!("it is an API") };
    api.http.network = domain::service::Network::Public;
    let world = stage.bench.world().await;
    let outcome = stage.bench.credentials.injection(&Arc::new(service.clone()), &world).await;
    let Err(Fault::CredentialFailed(why)) = outcome else { panic!("it was asked") };
    assert!(why.contains("is not https://"), "{why}");

    let CredentialKind::Oauth2ClientCredentials(client) = &mut service.credentials[0].kind else {
        panic!("it is OAuth")
    };
    client.token_url = UpstreamUrl::parse(&stage.server.url().replace("http://", "https://")).unwrap();
    stage.bench.move_away(service.clone()).await;
    assert!(stage.bench.set(&service, "token", b"client secret").await);
    let (service, world) = (Arc::new(service), stage.bench.world().await);
    let outcome = stage.bench.credentials.injection(&service, &world).await;
    let Err(Fault::CredentialFailed(why)) = outcome else { panic!("it was asked") };
    assert!(why.contains("is a loopback address"), "{why}");
    assert_eq!(stage.server.hits(), 0);
}
