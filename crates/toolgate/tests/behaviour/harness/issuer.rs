//! An issuer of access tokens that runs here: it tells its metadata and its keys, and signs what a test wants.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Upstream, answer, json as json_answer, now};

/// An issuer with one Ed25519 key, `k1`.
pub struct Issuer {
    server: Upstream,
    key: Ed25519KeyPair,
    is_down: Arc<AtomicBool>,
}

impl Issuer {
    /// One that runs, with a key of its own.
    pub fn start() -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k1", "use": "sig" }] });
        let is_down = Arc::new(AtomicBool::new(false));
        let down = Arc::clone(&is_down);
        let server = Upstream::start(move |hit| {
            let host = format!("http://{}", hit.header("host").unwrap());
            match hit.target() {
                _ if down.load(Ordering::SeqCst) => answer("500 Internal Server Error", "", ""),
                "/.well-known/oauth-authorization-server" => {
                    let metadata = json!({ "issuer": host, "jwks_uri": format!("{host}/jwks") });
                    json_answer(metadata.to_string())
                }
                "/jwks" => json_answer(jwks.to_string()),
                _ => answer("404 Not Found", "", ""),
            }
        });
        Self { server, key, is_down }
    }

    /// Its identifier.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The setting that names it, with more keys in the words of toolgate.yaml.
    pub fn setting(&self, more: &str) -> String {
        format!("gateway.issuers=[{{issuer: \"{}\", network: private, {more}}}]", self.url())
    }

    /// From now on it answers 500, or its keys again.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// How often it was asked for anything.
    pub fn asked(&self) -> usize {
        self.server.count()
    }

    /// What a good token for `laptop` says, for an hour.
    pub fn claims(&self, audience: &str) -> Value {
        let now = now().as_second();
        json!({
            "iss": self.url(), "sub": "subject-77", "aud": audience, "client_id": "laptop",
            "iat": now, "exp": now + 3_600, "jti": "t1",
        })
    }

    /// A token that says this.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": "k1", "typ": "at+jwt" });
        let [header, claims] = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A good token for this audience.
    pub fn good(&self, audience: &str) -> String {
        self.token(&self.claims(audience))
    }

    /// One that is taken for so many seconds more: clocks may be half a minute apart.
    pub fn brief(&self, audience: &str, seconds: i64) -> String {
        let mut claims = self.claims(audience);
        claims["exp"] = json!(now().as_second() - 30 + seconds);
        self.token(&claims)
    }
}
