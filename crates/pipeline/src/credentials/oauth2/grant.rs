//! What tokens are asked for with: a client's secret, or a refresh token that servers may give out anew with every
//! answer (RFC 6749 §6, RFC 9700 §4.14). A new one is durable before anything else is done with the answer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{
    audit::{Event, Kind},
    clock::Clock,
    credential::{CredentialKind, CredentialSlot, RefreshValue, SealedCredential},
    names::CredentialName,
    service::Service,
    stop::Fault,
};
use store::{Applied, Change, Entry, Store, Turn};
use vault::{Secret, Vault};
use zeroize::Zeroizing;

use super::{
    super::{Tools, goes_the_same_way, label, unfit},
    endpoint::Token,
};

/// The credential behind a source of tokens.
pub(super) struct Grant {
    slot: CredentialSlot,
    service: Arc<Service>,
    vault: Arc<Vault>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
}

/// The value as it is now.
struct Held {
    version: u64,
    /// The version that an operator set; later ones of the same are ours.
    set_as: u64,
    parts: Arc<Parts>,
    /// An answer whose refresh token could not be saved yet. Asking again might find the old one used up.
    unsaved: Option<Token>,
    /// Whether an answer to this refresh token was lost: the one that came with it never arrived.
    unanswered: bool,
    /// Whether the trail was told that this refresh token is not good any more.
    told: bool,
}

/// A value taken apart.
pub(super) struct Parts {
    /// The client's secret, where it has one.
    pub(super) client_secret: Option<Arc<Secret>>,
    /// The refresh token; none with the client credentials grant.
    pub(super) refresh_token: Option<Arc<Secret>>,
}

/// What became of an answer's refresh token.
pub(super) enum Keeping {
    /// It is durable, or there was nothing to save.
    Kept(Token),
    /// Another gateway saved one first; this one now works with that.
    SavedByAnother,
    /// An operator set another value meanwhile; this one now works with that.
    SetAnew,
}

impl Grant {
    pub(super) fn new(
        slot: &CredentialSlot,
        value: &Secret,
        version: u64,
        service: &Arc<Service>,
        tools: &Tools,
    ) -> Result<Self, String> {
        let (parts, set_as) = if let CredentialKind::Oauth2RefreshToken(_) = slot.kind {
            read(value)?
        } else {
            let client_secret = Some(Arc::new(Secret::new(value.reveal().to_vec())));
            (Parts { client_secret, refresh_token: None }, None)
        };
        let held = Held {
            version,
            set_as: set_as.unwrap_or(version),
            parts: Arc::new(parts),
            unsaved: None,
            unanswered: false,
            told: false,
        };
        Ok(Self {
            slot: slot.clone(),
            service: Arc::clone(service),
            vault: Arc::clone(&tools.vault),
            store: Arc::clone(&tools.store),
            clock: Arc::clone(&tools.clock),
            held: Mutex::new(held),
        })
    }

    pub(super) fn name(&self) -> &CredentialName {
        &self.slot.name
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.now().monotonic
    }

    pub(super) fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.lock().parts)
    }

    /// What answers must not show.
    pub(super) fn secrets(&self) -> Vec<Arc<Secret>> {
        let parts = self.parts();
        [&parts.client_secret, &parts.refresh_token].into_iter().flatten().cloned().collect()
    }

    /// An answer that came before and waits for its refresh token to be saved.
    pub(super) fn unsaved(&self) -> Option<Token> {
        self.lock().unsaved.take()
    }

    /// Whether the stored value is the one that is held, or is of the same origin and was taken over.
    pub(super) fn holds(&self, stored: &SealedCredential, tools: &Tools) -> bool {
        let (version, set_as) = {
            let held = self.lock();
            (held.version, held.set_as)
        };
        // A snapshot may be older than what was saved a moment ago.
        if stored.version <= version {
            return true;
        }
        if self.lock().parts.refresh_token.is_none() {
            return false;
        }
        let Ok(Ok((parts, Some(of)))) = tools.open(&self.service, stored).map(|value| read(&value)) else {
            return false;
        };
        if of == set_as {
            self.lock().take_over(stored.version, of, parts);
        }
        of == set_as
    }

    /// Of gateways that share a store one asks at a time, with the refresh token that the one before it saved: a server that
    /// sees one twice takes all of them back (RFC 9700 §4.14). With a client's secret all may ask at once.
    pub(super) async fn turn(&self) -> Result<Option<Turn>, Fault> {
        if self.parts().refresh_token.is_none() {
            return Ok(None);
        }
        let name = format!("oauth {} {}", self.service.name, self.name());
        let turn = self.store.turn(&name).await.map_err(|_| self.failed("its turn did not come"))?;
        Ok(Some(turn))
    }

    /// Takes over what was stored before it was our turn; `None`: nobody else could have stored anything.
    pub(super) async fn catch_up(&self) -> Result<Option<Keeping>, Fault> {
        let (set_as, ours) = {
            let held = self.lock();
            let ours = held.parts.refresh_token.is_none() || held.unsaved.is_some();
            (held.set_as, ours)
        };
        if ours || !self.store.is_shared() {
            return Ok(None);
        }
        self.read_again(set_as).await.map(Some)
    }

    /// Saves the refresh token of an answer, if it brought a new one.
    pub(super) async fn keep(&self, token: Token) -> Result<Keeping, Fault> {
        let (version, set_as, parts) = {
            let held = self.lock();
            (held.version, held.set_as, Arc::clone(&held.parts))
        };
        let (Some(old), Some(new)) = (&parts.refresh_token, &token.refresh_token) else {
            return Ok(Keeping::Kept(token));
        };
        if old.reveal() == new.reveal() {
            return Ok(Keeping::Kept(token));
        }
        let saved = self.save(version, set_as, &parts, new).await;
        match saved {
            Ok(true) => {
                let client_secret = parts.client_secret.clone();
                let parts = Parts { client_secret, refresh_token: token.refresh_token.clone() };
                self.lock().take_over(version + 1, set_as, parts);
                Ok(Keeping::Kept(token))
            }
            Ok(false) => self.read_again(set_as).await,
            Err(()) => {
                self.lock().unsaved = Some(token);
                Err(self.failed("the new refresh token cannot be saved"))
            }
        }
    }

    /// Seals and stores; `false` when the stored value is no longer the one that the token was asked for with.
    async fn save(&self, version: u64, set_as: u64, parts: &Parts, new: &Secret) -> Result<bool, ()> {
        let text = |secret: &Secret| String::from_utf8(secret.reveal().to_vec()).map(Zeroizing::new);
        let refresh_token = text(new).map_err(drop)?;
        let client_secret = parts.client_secret.as_deref().map(text).transpose().map_err(drop)?;
        let value = RefreshValue {
            refresh_token: refresh_token.as_str().into(),
            client_secret: client_secret.as_ref().map(|secret| secret.as_str().into()),
            set_as: Some(set_as),
        };
        let value = Zeroizing::new(serde_json::to_vec(&value).map_err(drop)?);
        let origin = self.service.upstream.origin();
        let sealed = self.vault.seal(&label(&self.service, &origin, self.name(), version + 1), &value);
        let at = self.clock.now().wall;
        let mut event = Event::new(at, Kind::System);
        event.action = Some("credentials.refresh".into());
        event.service = Some(self.service.name.as_str().into());
        let change = Change::PutCredential {
            service: self.service.name.clone(),
            origin,
            name: self.name().clone(),
            kind: self.slot.kind.clone(),
            version: version + 1,
            replaces: Some(version),
            sealed,
            at,
        };
        let applied = self.store.append(&[Entry { change: Some(change), event }]).await.map_err(drop)?;
        match applied.first() {
            Some(Applied::Done) => Ok(true),
            Some(Applied::ConditionFailed) => Ok(false),
            Some(Applied::Failed(_)) | None => Err(()),
        }
    }

    async fn read_again(&self, set_as: u64) -> Result<Keeping, Fault> {
        let snapshot = self.store.snapshot().await.map_err(|_| Fault::StoreUnavailable)?;
        // It may be sealed under a term that is as new. A ring that does not open is told by `freshness`.
        let _ = self.vault.adopt(&snapshot.keyring);
        let stored = snapshot
            .credentials
            .get(&self.service.name)
            .and_then(|all| all.iter().find(|stored| stored.name == *self.name()))
            .ok_or_else(|| Fault::CredentialMissing(self.name().to_string()))?;
        let origin = self.service.upstream.origin();
        // A value that was set for another token endpoint must not be shown to this one.
        if !snapshot.services.iter().any(|service| goes_the_same_way(&self.service, service)) {
            return Err(self.failed("its service was changed meanwhile"));
        }
        let label = label(&self.service, &origin, self.name(), stored.version);
        let value = self
            .vault
            .open_sealed(&label, &stored.sealed)
            .map_err(|_| self.failed("its new value does not open"))?;
        let (parts, of) = read(&value).map_err(|why| unfit(self.name(), &self.service, &why))?;
        let of = of.unwrap_or(stored.version);
        self.lock().take_over(stored.version, of, parts);
        Ok(if of == set_as { Keeping::SavedByAnother } else { Keeping::SetAnew })
    }

    /// An answer did not arrive; whether it may have brought another refresh token.
    pub(super) fn is_unanswered(&self) -> bool {
        let mut held = self.lock();
        held.unanswered = held.parts.refresh_token.is_some();
        held.unanswered
    }

    /// The server does not take it any more. For a refresh token that is the end of a login: the trail tells it once.
    pub(super) async fn ended(&self, why: &str) -> Fault {
        let (is_login, unanswered, told) = {
            let mut held = self.lock();
            let told = std::mem::replace(&mut held.told, true);
            (held.parts.refresh_token.is_some(), held.unanswered, told)
        };
        if !is_login {
            return self.failed(why);
        }
        let lost =
            if unanswered { ", after an answer of it was lost with the next refresh token" } else { "" };
        let (service, name) = (&self.service.name, self.name());
        let then = format!("log in anew and set what you get: toolgate credentials set {service} {name}");
        let fault = self.failed(&format!("{why}{lost}: this login has ended; {then}"));
        if !told {
            let mut event = Event::new(self.clock.now().wall, Kind::System);
            event.action = Some("credentials.ended".into());
            event.service = Some(service.as_str().into());
            event.error = Some((fault.code().into(), fault.cause()));
            if self.store.append_and_tell(&[event.into()]).await.is_err() {
                self.lock().told = false;
            }
        }
        fault
    }

    /// The sentence for operators; `why` has no byte of a value in it.
    pub(super) fn failed(&self, why: &str) -> Fault {
        Fault::CredentialFailed(format!("{why} (credential `{}` of `{}`)", self.name(), self.service.name))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn take_over(&mut self, version: u64, set_as: u64, parts: Parts) {
        if version > self.version {
            (self.version, self.set_as, self.parts) = (version, set_as, Arc::new(parts));
            (self.unanswered, self.told) = (false, false);
        }
    }
}

/// The value of a refresh token credential, and the version that an operator set where we have stored it since.
fn read(value: &Secret) -> Result<(Parts, Option<u64>), String> {
    let value = RefreshValue::read(value.reveal()).map_err(|bad| bad.to_string())?;
    let secret = |text: &str| Arc::new(Secret::new(text.as_bytes().to_vec()));
    let parts = Parts {
        client_secret: value.client_secret.as_deref().map(secret),
        refresh_token: Some(secret(&value.refresh_token)),
    };
    Ok((parts, value.set_as))
}
