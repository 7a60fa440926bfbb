//! What a service's credentials add to a call, at the last moment before it leaves. A value is opened once for each
//! version, not for each call; no log line and no error ever contains a byte of it.

mod aws_sigv4;
mod basic;
mod bearer;
mod client_certificate;
mod env;
mod header;
mod injection;
mod oauth2;
mod query;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use domain::{
    clock::Clock,
    credential::{CredentialKind, CredentialSlot, SealedCredential, carries_over},
    names::{CredentialName, ServiceName},
    service::{Service, Upstream},
    stop::Fault,
    world::World,
};
use store::Store;
use vault::{Label, Purpose, Secret, Vault};

pub use client_certificate::ClientIdentity;
pub(crate) use injection::{Injection, sensitive};

use self::oauth2::TokenSource;
use crate::dial::Dialler;

/// Opens credentials and keeps what can be used again.
pub struct Credentials {
    tools: Arc<Tools>,
    nothing: Arc<Injection>,
    opened: ArcSwap<HashMap<ServiceName, Arc<Opened>>>,
    opening: Mutex<()>,
}

/// What opening, renewing and fetching need.
struct Tools {
    vault: Arc<Vault>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    dialler: Dialler,
}

/// One service's credentials, opened. They belong to one definition of the service and to one version of each value.
struct Opened {
    service: Arc<Service>,
    /// In the order of the service's slots.
    versions: Vec<u64>,
    ready: Ready,
}

enum Ready {
    /// The same for every call.
    Still(Arc<Injection>),
    /// With a token that runs out.
    Token(Arc<TokenSource>),
}

/// Whether requests to the service can only be sent once their body is known whole: a signature covers it.
#[must_use]
pub fn needs_whole_body(service: &Service) -> bool {
    service.credentials.iter().any(|slot| matches!(slot.kind, CredentialKind::AwsSigv4 { .. }))
}

impl Credentials {
    /// Opens with `vault`; saves refresh tokens that a server gave out anew in `store`; asks token endpoints through
    /// `dialler`.
    #[must_use]
    pub fn new(vault: Arc<Vault>, store: Arc<Store>, clock: Arc<dyn Clock>, dialler: Dialler) -> Self {
        let tools = Arc::new(Tools { vault, store, clock, dialler });
        Self { tools, nothing: Arc::default(), opened: ArcSwap::default(), opening: Mutex::new(()) }
    }

    /// What is to be added to a call of this service now. It waits only for an OAuth token, and only while there is
    /// none that is good; everything else is at hand.
    ///
    /// # Errors
    /// [`Fault::CredentialMissing`] names a declared credential without a value; [`Fault::CredentialFailed`] says for
    /// operators what is wrong with one; [`Fault::StaleAuthorization`] when the service is gone by now, or its
    /// credentials go elsewhere. Nothing was sent to the service.
    pub(crate) async fn injection(
        &self,
        service: &Arc<Service>,
        world: &World,
    ) -> Result<Arc<Injection>, Fault> {
        if service.credentials.is_empty() {
            return Ok(Arc::clone(&self.nothing));
        }
        // A call may wait between its judgement and here, for its body above all. Values of now may be meant for
        // another place than the service of then.
        match world.services.get(&service.name) {
            Some(now) if Arc::ptr_eq(now, service) || goes_the_same_way(service, now) => {}
            _ => return Err(Fault::StaleAuthorization),
        }
        let opened = self.opened(service, world)?;
        match &opened.ready {
            Ready::Still(injection) => Ok(Arc::clone(injection)),
            Ready::Token(source) => source.injection().await,
        }
    }

    /// Forgets what was opened for services that are gone or changed.
    pub fn sweep(&self, world: &World) {
        let stays = |opened: &Opened| {
            world
                .services
                .get(&opened.service.name)
                .is_some_and(|service| opened.fits(service, world, &self.tools))
        };
        if self.opened.load().values().all(|opened| stays(opened)) {
            return;
        }
        let _turn = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        self.opened.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.retain(|_, opened| stays(opened));
            all
        });
    }

    /// Waits for tokens that are being fetched (10 s at most), so that a refresh token that was given out anew is
    /// saved before the gateway ends.
    pub async fn settle(&self) {
        let opened = self.opened.load_full();
        let sources = opened.values().filter_map(|opened| match &opened.ready {
            Ready::Token(source) => Some(source.settle()),
            Ready::Still(_) => None,
        });
        futures_util::future::join_all(sources).await;
    }

    fn opened(&self, service: &Arc<Service>, world: &World) -> Result<Arc<Opened>, Fault> {
        let known = |all: &HashMap<ServiceName, Arc<Opened>>| {
            all.get(&service.name).filter(|opened| opened.fits(service, world, &self.tools)).cloned()
        };
        if let Some(opened) = known(&self.opened.load()) {
            return Ok(opened);
        }
        let _turn = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = known(&self.opened.load()) {
            return Ok(opened);
        }
        let fresh = Arc::new(self.tools.open_all(service, world)?);
        self.opened.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert(service.name.clone(), Arc::clone(&fresh));
            all
        });
        Ok(fresh)
    }
}

impl Opened {
    fn fits(&self, service: &Arc<Service>, world: &World, tools: &Tools) -> bool {
        if !Arc::ptr_eq(&self.service, service) && self.service != *service {
            return false;
        }
        service.credentials.iter().zip(&self.versions).all(|(slot, version)| {
            let Some(now) = value_of(&slot.name, service, world) else { return false };
            match &self.ready {
                Ready::Token(source) if source.is_for(&slot.name) => source.holds(now, tools),
                _ => now.version == *version,
            }
        })
    }
}

impl Tools {
    fn open_all(&self, service: &Arc<Service>, world: &World) -> Result<Opened, Fault> {
        let (mut injection, mut versions, mut token) = (Injection::default(), Vec::new(), None);
        for slot in &service.credentials {
            let sealed = value_of(&slot.name, service, world)
                .ok_or_else(|| Fault::CredentialMissing(slot.name.to_string()))?;
            let value = Arc::new(self.open(service, sealed)?);
            versions.push(sealed.version);
            if let CredentialKind::Oauth2ClientCredentials(_) | CredentialKind::Oauth2RefreshToken(_) =
                slot.kind
            {
                if token.replace((slot, value, sealed.version)).is_some() {
                    return Err(unfit(
                        &slot.name,
                        service,
                        "another credential writes the header `authorization`",
                    ));
                }
                continue;
            }
            add(slot, &value, service, &mut injection).map_err(|why| unfit(&slot.name, service, &why))?;
            injection.versions.push(sealed.version);
        }
        let ready = match token {
            None => {
                injection.cover().map_err(|why| {
                    Fault::CredentialFailed(format!(
                        "the credentials of `{}` cannot be used, {why}",
                        service.name
                    ))
                })?;
                Ready::Still(Arc::new(injection))
            }
            Some((slot, value, version)) => {
                let source = TokenSource::new(slot, &value, version, service, injection, self)
                    .map_err(|why| unfit(&slot.name, service, &why))?;
                Ready::Token(Arc::new(source))
            }
        };
        Ok(Opened { service: Arc::clone(service), versions, ready })
    }

    /// Opens one value where it belongs: a value of another service, name, version or origin does not open.
    fn open(&self, service: &Service, sealed: &SealedCredential) -> Result<Secret, Fault> {
        let origin = service.upstream.origin();
        self.vault
            .open_sealed(&label(service, &origin, &sealed.name, sealed.version), &sealed.sealed)
            .map_err(|_| {
                let (service, name) = (&service.name, &sealed.name);
                Fault::CredentialFailed(format!(
                    "the value of credential `{name}` of `{service}` does not open; set it again: \
                     toolgate credentials set {service} {name}"
                ))
            })
    }
}

/// Every kind, and how its value becomes a part of what is added. OAuth tokens are fetched later.
fn add(
    slot: &CredentialSlot,
    value: &Arc<Secret>,
    service: &Service,
    to: &mut Injection,
) -> Result<(), String> {
    let value = Arc::clone(value);
    match (&slot.kind, &service.upstream) {
        (CredentialKind::Env, Upstream::Stdio(child)) => env::add(&slot.name, child, &value, to),
        (CredentialKind::Env, _) => return Err("the kind `env` is for services that are started".into()),
        (kind, Upstream::Stdio(_)) => {
            return Err(format!(
                "the kind `{}` goes into requests, and the service is a process",
                kind.word()
            ));
        }
        (CredentialKind::Bearer, _) => bearer::add(value, to)?,
        (CredentialKind::Basic { username }, _) => basic::add(username.as_deref(), value, to)?,
        (CredentialKind::Header { name, format }, _) => header::add(name, format, value, to)?,
        (CredentialKind::Query { name }, _) => query::add(name, value, to)?,
        (CredentialKind::AwsSigv4 { access_key_id, region, service }, _) => {
            aws_sigv4::add(access_key_id, region, service, &value, to)?;
        }
        (CredentialKind::ClientCertificate, Upstream::Http(http)) => {
            client_certificate::add(&value, http, to)?;
        }
        (CredentialKind::ClientCertificate, Upstream::Api(api)) => {
            client_certificate::add(&value, &api.http, to)?;
        }
        (CredentialKind::Oauth2ClientCredentials(_) | CredentialKind::Oauth2RefreshToken(_), _) => {}
    }
    Ok(())
}

fn value_of<'w>(name: &CredentialName, service: &Service, world: &'w World) -> Option<&'w SealedCredential> {
    world.credentials.get(&service.name)?.iter().find(|sealed| sealed.name == *name)
}

/// Whether values that are set for the service `now` go to where they went with `then`, in the same way.
fn goes_the_same_way(then: &Service, now: &Service) -> bool {
    let fits = |slot: &CredentialSlot| {
        let same = now.credentials.iter().find(|other| other.name == slot.name);
        same.is_some_and(|same| carries_over(&same.kind, &slot.kind))
    };
    then.name == now.name
        && then.upstream.origin() == now.upstream.origin()
        && then.credentials.iter().all(fits)
}

fn label<'a>(service: &'a Service, origin: &'a str, name: &'a CredentialName, version: u64) -> Label<'a> {
    Label {
        purpose: Purpose::Credential,
        service: service.name.as_str(),
        origin,
        name: name.as_str(),
        version,
    }
}

/// The sentence for a value that opens and does not do.
fn unfit(name: &CredentialName, service: &Service, why: &str) -> Fault {
    let service = &service.name;
    Fault::CredentialFailed(format!(
        "credential `{name}` of `{service}` cannot be used, {why}; set it again: toolgate credentials set {service} {name}"
    ))
}
