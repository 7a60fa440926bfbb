//! The issuers whose access tokens are accepted for agents (RFC 9068), and the tokens already proven. Nothing that a
//! token names is ever fetched: the operator says who is an issuer, and the issuer says where its keys are.

mod cache;
mod jwks;
mod keys;
mod source;

use std::sync::Arc;

use domain::{
    clock::{Clock, Now},
    key::{KeyId, Proof},
    oauth::{AccessToken, Grant, IssuerId, Resource, Terms, TokenFault},
    service::HttpUpstream,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vault::{Algorithm, Pepper};
use wire::jws::Jws;

use self::{
    cache::{Proven, Verified},
    keys::{Keyring, NoProof},
    source::Source,
};
use crate::dial::{DialError, Dialler};

/// Where the metadata of protected resources is (RFC 9728 §3); a resource's path stands behind it.
pub const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// An issuer as an operator has written it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSettings {
    /// On which terms its tokens are taken.
    pub terms: Terms,
    /// Its address: the issuer's URL, whether it may be on a private network, its trust anchor.
    pub at: HttpUpstream,
}

/// The issuers of an install; often none.
pub struct Issuers {
    list: Vec<Issuer>,
    /// How agents reach the gateway, without a slash at the end: what resources begin with.
    base: String,
    verified: Verified,
    clock: Arc<dyn Clock>,
}

struct Issuer {
    terms: Terms,
    id: IssuerId,
    keys: Arc<Keyring>,
}

/// Whom a token stands for. Whether there is such an agent, and whether it may call, is not known here.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// What the token grants.
    pub grant: Arc<Grant>,
    /// Who has made it: the issuer's identifier.
    pub issuer: String,
    /// What is looked at again later.
    pub proof: Proof,
    /// The scope that it lacks.
    pub lacks: Option<String>,
    /// Whether it was seen before.
    pub is_new: bool,
}

impl Vouched {
    /// The id that stands for its subject (see [`Pepper::id_of_subject`]).
    #[must_use]
    pub fn key(&self, pepper: &Pepper) -> KeyId {
        pepper.id_of_subject(&self.issuer, &self.grant.subject, self.grant.agent.as_str())
    }
}

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unvouched {
    /// It is not a good one.
    Refused(TokenFault),
    /// Its issuer's keys could not be fetched, or not for so long that they are not believed any more.
    Unavailable,
}

/// Why a token is not proven by what is in hand.
enum Miss {
    Refused(TokenFault),
    /// Other keys might prove it: the issuer's place in the list, and what is said if they do not.
    Keys(usize, Unvouched),
}

impl From<TokenFault> for Miss {
    fn from(fault: TokenFault) -> Self {
        Self::Refused(fault)
    }
}

impl Issuers {
    /// Nobody is contacted yet. `base` is how agents reach the gateway.
    ///
    /// # Errors
    /// [`DialError`] when an issuer's trust anchor cannot be read.
    pub fn new(
        settings: Vec<IssuerSettings>,
        base: &str,
        dialler: &Dialler,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DialError> {
        let issuer = |IssuerSettings { terms, at }: IssuerSettings| {
            let source = Source::new(terms.issuer.clone(), at, dialler.clone())?;
            let keys = Arc::new(Keyring::new(source, Arc::clone(&clock)));
            Ok(Issuer { id: terms.id(), terms, keys })
        };
        let list = settings.into_iter().map(issuer).collect::<Result<_, DialError>>()?;
        Ok(Self { list, base: base.trim_end_matches('/').to_owned(), verified: Verified::default(), clock })
    }

    /// The time, after somebody has waited for keys.
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Whether no token of anybody is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether tokens of this issuer are taken, on the same terms.
    #[must_use]
    pub fn has(&self, id: &IssuerId) -> bool {
        self.list.iter().any(|issuer| issuer.id == *id)
    }

    /// Keeps the issuers' keys at hand, for ever. Run it as a task of its own.
    pub async fn run(self: Arc<Self>) {
        join_all(self.list.iter().map(|issuer| issuer.keys.keep())).await;
    }

    /// Whom a token stands for at this resource. Keys that are not at hand are fetched, at most once in a while,
    /// however many ask.
    ///
    /// # Errors
    /// [`Unvouched`].
    pub async fn examine(
        &self,
        token: &AccessToken,
        resource: &Resource,
        now: Now,
    ) -> Result<Vouched, Unvouched> {
        let at = match self.prove(token, resource, now) {
            Ok(vouched) => return Ok(vouched),
            Err(Miss::Refused(fault)) => return Err(Unvouched::Refused(fault)),
            Err(Miss::Keys(at, _)) => at,
        };
        if let Some(issuer) = self.list.get(at) {
            issuer.keys.renew().await;
        }
        // The time of asking counts for the token, the time of now for the keys.
        let later = Now { wall: now.wall, monotonic: self.clock.now().monotonic };
        self.prove(token, resource, later).map_err(|miss| match miss {
            Miss::Refused(fault) => Unvouched::Refused(fault),
            Miss::Keys(_, unvouched) => unvouched,
        })
    }

    /// The same by what is in hand; `None` when that is not enough, or the token is not good.
    #[must_use]
    pub fn recall(&self, token: &AccessToken, resource: &Resource, now: Now) -> Option<Vouched> {
        self.prove(token, resource, now).ok()
    }

    fn prove(&self, token: &AccessToken, resource: &Resource, now: Now) -> Result<Vouched, Miss> {
        let hash: [u8; 32] = Sha256::digest(token.reveal()).into();
        let current = |proven: &Proven| {
            self.list.get(proven.issuer).is_some_and(|issuer| issuer.keys.is_current(proven.generation, now))
        };
        let (proven, is_new) = match self.verified.get(&hash, now.wall).filter(current) {
            Some(proven) => (proven, false),
            None => (self.verify(token, now)?, true),
        };
        let issuer = self.list.get(proven.issuer).ok_or(TokenFault::UnknownIssuer)?;
        proven.grant.check(&self.audience(issuer, resource), now.wall)?;
        if is_new {
            self.verified.put(hash, proven.clone(), now.wall);
        }
        let expires_at = Some(proven.grant.expires_at);
        let lacks = issuer.terms.scope.clone().filter(|_| !proven.grant.has_scope);
        Ok(Vouched {
            grant: proven.grant,
            issuer: issuer.terms.issuer.clone(),
            proof: Proof::Token { issuer: issuer.id, expires_at },
            lacks,
            is_new,
        })
    }

    /// Reads a token and checks its signature: first who it claims to be from, then whether that is so, then the rest.
    fn verify(&self, token: &AccessToken, now: Now) -> Result<Proven, Miss> {
        let jws = Jws::read(token.reveal()).map_err(|_| TokenFault::Unreadable)?;
        let claims = jws.claims().ok_or(TokenFault::Unreadable)?;
        let named = claims.get("iss").and_then(wire::Raw::as_str).ok_or(TokenFault::Claims)?;
        let found = self.list.iter().enumerate().find(|(_, issuer)| issuer.terms.issuer == named);
        let (at, issuer) = found.ok_or(TokenFault::UnknownIssuer)?;
        let algorithm = Algorithm::parse(jws.algorithm()).ok_or(TokenFault::Algorithm)?;
        let generation = issuer.keys.prove(&jws, algorithm, now).map_err(|no| match no {
            NoProof::Wrong => Miss::Refused(TokenFault::Signature),
            NoProof::UnknownKey => Miss::Keys(at, Unvouched::Refused(TokenFault::UnknownKey)),
            NoProof::NoKeys => Miss::Keys(at, Unvouched::Unavailable),
        })?;
        let grant = Arc::new(Grant::read(&jws, &issuer.terms)?);
        Ok(Proven { issuer: at, generation, grant })
    }

    fn audience(&self, issuer: &Issuer, resource: &Resource) -> String {
        issuer.terms.audience.clone().unwrap_or_else(|| self.url(resource))
    }

    /// How a resource is called (RFC 8707 §2): its URL, without a slash at the end.
    #[must_use]
    pub fn url(&self, resource: &Resource) -> String {
        format!("{}{}", self.base, resource.path())
    }

    /// Where a resource's metadata is (RFC 9728 §3.1).
    #[must_use]
    pub fn metadata_url(&self, resource: &Resource) -> String {
        format!("{}{METADATA_PATH}{}", self.base, resource.path())
    }

    /// A resource's metadata (RFC 9728 §2). Whether there is such a service is not told.
    #[must_use]
    pub fn metadata(&self, resource: &Resource) -> Value {
        let issuers: Vec<&str> = self.list.iter().map(|issuer| issuer.terms.issuer.as_str()).collect();
        let mut metadata = json!({
            "resource": self.url(resource),
            "resource_name": "Toolgate",
            "authorization_servers": issuers,
            "bearer_methods_supported": ["header"],
        });
        let scopes = self.scopes();
        if let (false, Value::Object(members)) = (scopes.is_empty(), &mut metadata) {
            members.insert("scopes_supported".to_owned(), json!(scopes));
        }
        metadata
    }

    /// The scopes that issuers' terms ask for, each once.
    #[must_use]
    pub fn scopes(&self) -> Vec<&str> {
        let mut scopes: Vec<&str> =
            self.list.iter().filter_map(|issuer| issuer.terms.scope.as_deref()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }
}

/// Fetches an issuer's keys once, for whoever wants to know whether that works: how many can be used.
///
/// # Errors
/// In words for operators, why it does not.
pub async fn try_keys(settings: &IssuerSettings, dialler: &Dialler) -> Result<usize, String> {
    let source = Source::new(settings.terms.issuer.clone(), settings.at.clone(), dialler.clone());
    source.map_err(|error| error.to_string())?.keys().await.map(|keys| keys.len())
}

#[cfg(test)]
mod tests;
