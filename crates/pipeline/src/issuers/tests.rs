//! Tokens of issuers that run here, on a clock that the test moves: which are taken, and how often issuers are asked.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    names::{AgentName, ServiceName},
    oauth::AgentRule,
    service::{Network, UpstreamUrl},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::clock::test_clock::TestClock;

/// A key that signs, and its public half.
enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    fn ed(seed: u8) -> Self {
        Self::Ed(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn jwk(&self, id: &str) -> String {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let members = match self {
            Self::Ed(key) => {
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, encoded(key.public_key().as_ref()))
            }
            Self::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                format!(r#""kty":"EC","crv":"P-256","x":"{}","y":"{}""#, encoded(x), encoded(y))
            }
            Self::Rsa(key) => {
                // RFC 8017 §A.1.1 in DER: the modulus of 2048 bits stands behind nine bytes.
                let n = &key.public_key().as_ref()[9..9 + 256];
                format!(r#""kty":"RSA","n":"{}","e":"AQAB""#, encoded(n))
            }
        };
        format!(r#"{{{members},"kid":"{id}","use":"sig"}}"#)
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut bytes = vec![0; key.public_modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut bytes).unwrap();
                bytes
            }
        }
    }

    fn token(&self, id: &str, claims: &str) -> AccessToken {
        let header = format!(r#"{{"alg":"{}","kid":"{id}","typ":"at+jwt"}}"#, self.algorithm());
        token(&header, claims, |message| self.sign(message))
    }
}

fn token(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> AccessToken {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    AccessToken::parse(&format!("{signed}.{signature}")).unwrap()
}

/// An issuer that runs: it tells its metadata and the keys that it has now.
struct TestIssuer {
    url: String,
    keys: Arc<Mutex<Vec<String>>>,
    asked: Arc<AtomicUsize>,
}

impl TestIssuer {
    async fn start(keys: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (keys, asked) = (Arc::new(Mutex::new(keys.to_vec())), Arc::new(AtomicUsize::new(0)));
        let issuer = Self { url: url.clone(), keys: Arc::clone(&keys), asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (mut head, mut buffer) = (Vec::new(), [0; 1_024]);
                while !head.ends_with(b"\r\n\r\n") {
                    match socket.read(&mut buffer).await {
                        Ok(read) if read > 0 => head.extend_from_slice(&buffer[..read]),
                        _ => break,
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let (status, body) = if head.starts_with("GET /.well-known/openid-configuration ") {
                    ("200 OK", format!(r#"{{"issuer":"{url}","jwks_uri":"{url}/jwks"}}"#))
                } else if head.starts_with("GET /jwks ") {
                    asked.fetch_add(1, Ordering::SeqCst);
                    ("200 OK", format!(r#"{{"keys":[{}]}}"#, keys.lock().unwrap().join(",")))
                } else {
                    ("404 Not Found", String::new())
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                // A client that does not wait for it has its reasons.
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        issuer
    }

    fn set(&self, keys: &[String]) {
        *self.keys.lock().unwrap() = keys.to_vec();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// What a good token says.
    fn claims(&self) -> String {
        claims(&self.url, "https://gate.example.com/mcp/files")
    }
}

fn claims(issuer: &str, audience: &str) -> String {
    format!(
        r#"{{"iss":"{issuer}","sub":"ada","aud":"{audience}","client_id":"laptop","iat":1800000000,"exp":1800100000}}"#
    )
}

fn settings(url: &str) -> IssuerSettings {
    let agent = AgentRule::Claim { claim: "client_id".into(), names: None };
    IssuerSettings {
        terms: Terms { issuer: url.into(), agent, audience: None, scope: None },
        at: HttpUpstream { url: UpstreamUrl::parse(url).unwrap(), network: Network::Private, ca_pem: None },
    }
}

struct Bench {
    issuers: Issuers,
    clock: Arc<TestClock>,
}

impl Bench {
    fn new(settings: Vec<IssuerSettings>) -> Self {
        let clock = Arc::<TestClock>::default();
        let shown = Arc::<TestClock>::clone(&clock);
        Self {
            issuers: Issuers::new(settings, "https://gate.example.com/", &Dialler::new(), shown).unwrap(),
            clock,
        }
    }

    async fn at(&self, service: &str, token: &AccessToken) -> Result<AgentName, Unvouched> {
        let resource = Resource::Mcp(ServiceName::parse(service).unwrap());
        let examined = self.issuers.examine(token, &resource, self.clock.now()).await;
        examined.map(|vouched| vouched.grant.agent.clone())
    }

    async fn examine(&self, token: &AccessToken) -> Result<AgentName, Unvouched> {
        self.at("files", token).await
    }
}

fn refused(fault: TokenFault) -> Result<AgentName, Unvouched> {
    Err(Unvouched::Refused(fault))
}

fn laptop() -> Result<AgentName, Unvouched> {
    Ok(AgentName::parse("laptop").unwrap())
}

#[tokio::test]
async fn a_token_is_taken_by_each_kind_of_key_where_it_is_for_and_nowhere_else() {
    let signers = [
        Signer::ed(1),
        Signer::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
        Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
    ];
    let names = ["a", "b", "c"];
    let keys: Vec<String> = signers.iter().zip(names).map(|(signer, name)| signer.jwk(name)).collect();
    let issuer = TestIssuer::start(&keys).await;
    let bench = Bench::new(vec![settings(&issuer.url)]);
    for (signer, name) in signers.iter().zip(names) {
        let token = signer.token(name, &issuer.claims());
        assert_eq!(bench.examine(&token).await, laptop(), "{name}");
        // It is remembered for what it is for.
        assert_eq!(bench.at("web", &token).await, refused(TokenFault::Audience));
        assert_eq!(bench.examine(&token).await, laptop());
        let elsewhere = claims(&issuer.url, "https://gate.example.com/mcp/web");
        assert_eq!(bench.examine(&signer.token(name, &elsewhere)).await, refused(TokenFault::Audience));
    }
    assert_eq!(issuer.asked(), 1, "one fetch serves all");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_it_is_refused() {
    let (signer, other) = (Signer::ed(1), Signer::ed(2));
    let rsa = Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    let issuer = TestIssuer::start(&[signer.jwk("a"), rsa.jwk("r")]).await;
    let elsewhere = TestIssuer::start(&[other.jwk("a")]).await;
    let bench = Bench::new(vec![settings(&issuer.url), settings(&elsewhere.url)]);
    let good = issuer.claims();
    let with = |header: &str| token(header, &good, |message| signer.sign(message));
    let hmac_with_public_key = |header: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, rsa.jwk("r").as_bytes());
        token(header, &good, |message| hmac::sign(&key, message).as_ref().to_vec())
    };
    let altered = |from: &str, to: &str| {
        let text = signer.token("a", &good).reveal().to_owned();
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let claims = URL_SAFE_NO_PAD.encode(good.replace(from, to));
        AccessToken::parse(&format!("{header}.{claims}.{signature}")).unwrap()
    };
    let minted = |from: &str, to: &str| signer.token("a", &good.replace(from, to));
    let now = "1800000000";
    for (what, presented, fault) in [
        ("alg none", with(r#"{"alg":"none","kid":"a"}"#), TokenFault::Algorithm),
        (
            "HS256 with the public key",
            hmac_with_public_key(r#"{"alg":"HS256","kid":"r"}"#),
            TokenFault::Algorithm,
        ),
        ("RS256 over an HMAC", hmac_with_public_key(r#"{"alg":"RS256","kid":"r"}"#), TokenFault::Signature),
        ("another algorithm for the key", with(r#"{"alg":"RS256","kid":"a"}"#), TokenFault::UnknownKey),
        ("unknown kid", signer.token("z", &good), TokenFault::UnknownKey),
        ("another issuer's key", other.token("a", &good), TokenFault::Signature),
        ("another issuer's name", signer.token("a", &claims(&elsewhere.url, "x")), TokenFault::Signature),
        ("altered", altered("ada", "eve"), TokenFault::Signature),
        ("an unknown issuer", minted(&issuer.url, "http://127.0.0.1:1"), TokenFault::UnknownIssuer),
        ("a slash more", minted(&issuer.url, &format!("{}/", issuer.url)), TokenFault::UnknownIssuer),
        ("expired", minted("1800100000", "1799999970"), TokenFault::Expired),
        ("not yet", minted(now, "1800000031"), TokenFault::NotYet),
        ("no agent's name", minted("laptop", "Lap Top"), TokenFault::NoAgent),
        ("an ID token", minted("}", r#","nonce":"n"}"#), TokenFault::NotAccess),
        ("a claim twice", minted("}", r#","sub":"eve"}"#), TokenFault::Unreadable),
        ("a header twice", with(r#"{"alg":"none","alg":"EdDSA","kid":"a"}"#), TokenFault::Unreadable),
        ("an extension", with(r#"{"alg":"EdDSA","kid":"a","crit":["x"]}"#), TokenFault::Unreadable),
        ("its own key", with(r#"{"alg":"EdDSA","jwk":{"kty":"OKP"},"kid":"q"}"#), TokenFault::UnknownKey),
        (
            "a place for keys",
            with(r#"{"alg":"EdDSA","jku":"http://127.0.0.1:1/","kid":"q"}"#),
            TokenFault::UnknownKey,
        ),
    ] {
        assert_eq!(bench.examine(&presented).await, refused(fault), "{what}");
    }
    // No name for the key: the one that fits the algorithm is tried.
    assert_eq!(bench.examine(&with(r#"{"alg":"EdDSA"}"#)).await, laptop());
    assert_eq!(bench.examine(&signer.token("a", &good)).await, laptop());
    assert!(AccessToken::parse(&format!("{}a", "a.".repeat(20_000))).is_none(), "too large to be looked at");
}

#[tokio::test]
async fn a_new_key_is_found_and_an_old_one_forgotten() {
    let (old, new) = (Signer::ed(1), Signer::ed(2));
    let issuer = TestIssuer::start(&[old.jwk("old")]).await;
    let bench = Bench::new(vec![settings(&issuer.url)]);
    let (with_old, with_new) = (old.token("old", &issuer.claims()), new.token("new", &issuer.claims()));
    assert_eq!(bench.examine(&with_old).await, laptop());
    issuer.set(&[old.jwk("old"), new.jwk("new")]);
    assert_eq!(bench.examine(&with_new).await, refused(TokenFault::UnknownKey), "asked a moment ago");
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(bench.examine(&with_new).await, laptop());
    assert_eq!(bench.examine(&with_old).await, laptop());
    issuer.set(&[new.jwk("new")]);
    bench.clock.advance(Duration::from_secs(300));
    bench.issuers.list[0].keys.renew().await;
    assert_eq!(bench.examine(&with_old).await, refused(TokenFault::UnknownKey), "though it was remembered");
    assert_eq!(bench.examine(&with_new).await, laptop());
    // Another key under the same name is another key.
    issuer.set(&[old.jwk("new")]);
    bench.clock.advance(Duration::from_secs(10));
    bench.issuers.list[0].keys.renew().await;
    assert_eq!(bench.examine(&with_new).await, refused(TokenFault::Signature));
}

#[tokio::test]
async fn a_thousand_tokens_of_unknown_keys_do_not_hammer_the_issuer() {
    let signer = Signer::ed(1);
    let issuer = TestIssuer::start(&[signer.jwk("a")]).await;
    let bench = Bench::new(vec![settings(&issuer.url)]);
    // The keys are there, so that nobody is told to come back for them.
    assert_eq!(bench.examine(&signer.token("a", &issuer.claims())).await, laptop());
    bench.clock.advance(Duration::from_secs(10));
    let all = (0..1_000).map(|number| {
        let token = signer.token(&format!("bad-{number}"), &issuer.claims());
        let bench = &bench;
        async move { bench.examine(&token).await }
    });
    for found in join_all(all).await {
        assert_eq!(found, refused(TokenFault::UnknownKey));
    }
    assert_eq!(issuer.asked(), 2);
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(bench.examine(&signer.token("bad", &issuer.claims())).await, refused(TokenFault::UnknownKey));
    assert_eq!(issuer.asked(), 3);
    assert_eq!(bench.examine(&signer.token("a", &issuer.claims())).await, laptop());
}

#[tokio::test]
async fn an_issuer_that_is_down_makes_no_token_good_and_none_bad_for_an_hour() {
    let signer = Signer::ed(1);
    let issuer = TestIssuer::start(&[signer.jwk("a")]).await;
    let bench = Bench::new(vec![settings(&issuer.url)]);
    let good = signer.token("a", &issuer.claims());
    // No keys in its set is as bad as no answer.
    issuer.set(&[]);
    assert_eq!(bench.examine(&good).await, Err(Unvouched::Unavailable));
    assert_eq!(bench.examine(&good).await, Err(Unvouched::Unavailable));
    assert_eq!(issuer.asked(), 1);
    issuer.set(&[signer.jwk("a")]);
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(bench.examine(&good).await, laptop());
    issuer.set(&[]);
    bench.clock.advance(Duration::from_secs(3_600));
    assert_eq!(bench.examine(&good).await, laptop(), "keys are believed for an hour");
    assert_eq!(issuer.asked(), 2, "a token that is known asks nobody");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.examine(&good).await, Err(Unvouched::Unavailable), "and no longer");
    issuer.set(&[signer.jwk("a")]);
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(bench.examine(&good).await, laptop());
}

#[tokio::test]
async fn an_issuer_on_a_private_network_must_be_said_to_be_there() {
    let signer = Signer::ed(1);
    let issuer = TestIssuer::start(&[signer.jwk("a")]).await;
    let mut public = settings(&issuer.url);
    public.at.network = Network::Public;
    let why = try_keys(&public, &Dialler::new()).await.unwrap_err();
    assert!(why.contains("network: private"), "{why}");
    let bench = Bench::new(vec![public]);
    let good = signer.token("a", &issuer.claims());
    assert_eq!(bench.examine(&good).await, Err(Unvouched::Unavailable));
    assert_eq!((issuer.asked(), try_keys(&settings(&issuer.url), &Dialler::new()).await), (0, Ok(1)));
}

#[test]
fn metadata_names_the_resource_and_its_issuers_and_nothing_else() {
    let mut with_scope = settings("http://127.0.0.1:1");
    with_scope.terms.scope = Some("tools".into());
    let plain = Bench::new(vec![settings("http://127.0.0.1:1"), settings("http://127.0.0.1:2")]);
    let scoped = Bench::new(vec![with_scope]);
    let resource = Resource::at("/http/billing").unwrap();
    assert_eq!(
        plain.issuers.metadata(&resource),
        json!({
            "resource": "https://gate.example.com/http/billing",
            "resource_name": "Toolgate",
            "authorization_servers": ["http://127.0.0.1:1", "http://127.0.0.1:2"],
            "bearer_methods_supported": ["header"],
        })
    );
    assert_eq!(
        plain.issuers.metadata_url(&resource),
        "https://gate.example.com/.well-known/oauth-protected-resource/http/billing"
    );
    let gateway = scoped.issuers.metadata(&Resource::Gateway);
    assert_eq!(
        (&gateway["resource"], &gateway["scopes_supported"]),
        (&json!("https://gate.example.com"), &json!(["tools"]))
    );
}
