//! Services: applied from a file, listed, shown, removed. What belongs to a service goes with it: a value that was
//! sealed for another address, or for a credential of another kind, is dropped.

use std::collections::BTreeSet;

use domain::{
    credential::{CredentialSlot, carries_over},
    names::{CredentialName, ServiceName},
    service::{Documentation, Service},
    yaml::did_you_mean,
};
use jiff::Timestamp;
use serde_json::json;
use store::{Change, StoredCredential, StoredService};

use crate::{
    Actor, Admin, AdminError, CredentialView, event,
    service_text::{Difference, differences, upstream_text},
};

/// A service as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedService {
    /// The service; its `documentation` is made from the text.
    pub service: Service,
    /// The text of its documentation.
    pub documentation: Option<String>,
}

impl From<Service> for WantedService {
    fn from(service: Service) -> Self {
        Self { service, documentation: None }
    }
}

/// What applying did to one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// The service as it is now.
    pub service: Service,
    /// What was done.
    pub what: What,
    /// Values that were dropped with it.
    pub dropped: Vec<Dropped>,
    /// Credentials that it declares and that have no value now.
    pub missing: Vec<CredentialName>,
}

/// Added, changed or left as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Added,
    /// It differed.
    Changed(Vec<Difference>),
    /// It was so already; nothing was written.
    Same,
}

/// A credential whose value was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Which one.
    pub name: CredentialName,
    /// Why.
    pub why: Why,
}

/// Why a credential's value was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was sealed for another scheme, host or port.
    OtherOrigin,
    /// It would be read in another way, or sent to another token endpoint.
    OtherKind,
    /// The service does not declare it any more.
    Undeclared,
}

/// What somebody who puts a service has seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    Anything,
    /// Nothing: it is to be new.
    Nothing,
    /// The service of this revision.
    Revision(i64),
}

/// A service as somebody sees it, before they change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenService {
    /// The service.
    pub service: Service,
    /// What [`Expected`] wants to see again; each change of the service moves it, a value of a credential does not.
    pub revision: i64,
    /// Its credentials by name.
    pub credentials: Vec<CredentialView>,
}

impl Admin {
    /// Makes one service what it is to be. Its documentation stays.
    ///
    /// # Errors
    /// [`AdminError::ServiceExists`] where it was to be new; [`AdminError::ChangedMeanwhile`] where it is another one
    /// than was seen.
    pub async fn put_service(
        &self,
        actor: &Actor,
        now: Timestamp,
        service: Service,
        expected: Expected,
    ) -> Result<ServiceChange, AdminError> {
        let old = self.expected_service(&service.name, expected).await?;
        let documentation = self.store.documentation(&service.name).await?;
        let documented = old.as_ref().and_then(|old| old.service.documentation.clone());
        let service = Service { documentation: documented, ..service };
        self.apply_service(actor, now, old.as_ref(), service, documentation).await
    }

    /// The same with its documentation, which takes the place of what it had.
    ///
    /// # Errors
    /// As [`put_service`](Self::put_service).
    pub async fn put_documented_service(
        &self,
        actor: &Actor,
        now: Timestamp,
        WantedService { service, documentation }: WantedService,
        expected: Expected,
    ) -> Result<ServiceChange, AdminError> {
        let old = self.expected_service(&service.name, expected).await?;
        let service = Service { documentation: documentation.as_deref().map(Documentation::of), ..service };
        self.apply_service(actor, now, old.as_ref(), service, documentation).await
    }

    /// What is there of that name, where it is as whoever asks has seen it.
    async fn expected_service(
        &self,
        name: &ServiceName,
        expected: Expected,
    ) -> Result<Option<StoredService>, AdminError> {
        let old = self.store.load_services().await?.into_iter().find(|old| old.service.name == *name);
        match (expected, &old) {
            (Expected::Nothing, Some(_)) => Err(AdminError::ServiceExists(name.clone())),
            (Expected::Revision(seen), old) if old.as_ref().is_none_or(|old| old.revision != seen) => {
                Err(AdminError::ChangedMeanwhile(format!("service `{name}`")))
            }
            _ => Ok(old),
        }
    }

    /// What agents may read about a service.
    ///
    /// # Errors
    /// [`AdminError::NoSuchService`].
    pub async fn documentation(&self, name: &str) -> Result<Option<String>, AdminError> {
        let service = self.stored_service(name).await?.service;
        Ok(self.store.documentation(&service.name).await?)
    }

    /// One service as it is now, for who wants to change just that one.
    ///
    /// # Errors
    /// [`AdminError::NoSuchService`].
    pub async fn see_service(&self, name: &str) -> Result<SeenService, AdminError> {
        let StoredService { service, revision } = self.stored_service(name).await?;
        let credentials = self.credentials_of(&service).await?;
        Ok(SeenService { service, revision, credentials })
    }

    /// Makes the declared services what the file says, in its order; services that it does not name stay.
    ///
    /// # Errors
    /// [`AdminError::ChangedMeanwhile`] when somebody else changed one of them at the same moment; services
    /// before it in the file are applied then.
    pub async fn apply_services(
        &self,
        actor: &Actor,
        now: Timestamp,
        wanted: Vec<WantedService>,
    ) -> Result<Vec<ServiceChange>, AdminError> {
        let stored = self.store.load_services().await?;
        let mut changes = Vec::with_capacity(wanted.len());
        for WantedService { mut service, documentation } in wanted {
            service.documentation = documentation.as_deref().map(Documentation::of);
            let old = stored.iter().find(|old| old.service.name == service.name);
            changes.push(self.apply_service(actor, now, old, service, documentation).await?);
        }
        Ok(changes)
    }

    async fn apply_service(
        &self,
        actor: &Actor,
        now: Timestamp,
        old: Option<&StoredService>,
        service: Service,
        documentation: Option<String>,
    ) -> Result<ServiceChange, AdminError> {
        let values = self.store.credentials(&service.name).await?;
        let keeps = old.map(|old| keeps(&old.service, &service)).unwrap_or_default();
        let dropped = match old {
            Some(old) => dropped(&old.service, &service, &keeps, &values),
            None => Vec::new(),
        };
        let what = match old {
            Some(old) if old.service == service => What::Same,
            Some(old) => What::Changed(differences(&old.service, &service)),
            None => What::Added,
        };
        if what != What::Same {
            let (action, args) = match &what {
                What::Changed(differences) => {
                    let list = differences
                        .iter()
                        .map(|d| json!({ "field": d.field, "from": d.from, "to": d.to }))
                        .collect::<Vec<_>>();
                    let names: Vec<_> = dropped.iter().map(|dropped| dropped.name.as_str()).collect();
                    ("services.update", json!({ "changed": list, "dropped": names }))
                }
                _ => ("services.create", json!({ "upstream": upstream_text(&service.upstream) })),
            };
            let mut event = event(actor, now, action, &args);
            event.service = Some(service.name.as_str().into());
            let change = Change::PutService {
                service: service.clone(),
                replaces: old.map(|old| old.revision),
                documentation,
                keeps: keeps.clone(),
            };
            if !self.write(change, event).await? {
                return Err(AdminError::ChangedMeanwhile(format!("service `{}`", service.name)));
            }
        }
        let has_value = |slot: &&CredentialSlot| {
            keeps.contains(&slot.name)
                && values.iter().any(|value| value.has_value && value.name == slot.name)
        };
        let missing =
            service.credentials.iter().filter(|slot| !has_value(slot)).map(|slot| slot.name.clone());
        let missing = missing.collect();
        Ok(ServiceChange { service, what, dropped, missing })
    }

    /// All services by name.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn list_services(&self) -> Result<Vec<Service>, AdminError> {
        Ok(self.store.load_services().await?.into_iter().map(|stored| stored.service).collect())
    }

    /// One service.
    ///
    /// # Errors
    /// [`AdminError::NoSuchService`].
    pub async fn show_service(&self, name: &str) -> Result<Service, AdminError> {
        Ok(self.stored_service(name).await?.service)
    }

    /// One service, and the revision of its row.
    pub(crate) async fn stored_service(&self, name: &str) -> Result<StoredService, AdminError> {
        let mut all = self.store.load_services().await?;
        match all.iter().position(|stored| stored.service.name.as_str() == name) {
            Some(found) => Ok(all.swap_remove(found)),
            None => {
                let known = all.iter().map(|stored| stored.service.name.as_str());
                let near = did_you_mean(name, known).map(str::to_owned);
                let name = name.chars().take(64).flat_map(char::escape_default).collect();
                Err(AdminError::NoSuchService { name, near })
            }
        }
    }

    /// Removes a service with its documentation and the values of its credentials; scopes keep its name, the trail
    /// its history. Returns the credentials that had a value. `seen`: the revision that whoever asks has seen; another
    /// one by now is left as it is.
    ///
    /// # Errors
    /// [`AdminError::NoSuchService`], [`AdminError::ChangedMeanwhile`].
    pub async fn remove_service(
        &self,
        actor: &Actor,
        now: Timestamp,
        name: &ServiceName,
        seen: Option<i64>,
    ) -> Result<Vec<CredentialName>, AdminError> {
        self.show_service(name.as_str()).await?;
        let values = self.store.credentials(name).await?;
        let dropped: Vec<CredentialName> =
            values.into_iter().filter(|value| value.has_value).map(|value| value.name).collect();
        let mut event = event(actor, now, "services.remove", &json!({ "dropped": dropped }));
        event.service = Some(name.as_str().into());
        if !self.write(Change::RemoveService { name: name.clone(), seen }, event).await? {
            return Err(AdminError::ChangedMeanwhile(format!("service `{name}`")));
        }
        Ok(dropped)
    }
}

/// The credentials whose values may go on: the same address, and a kind that reads the value in the same way. It
/// does not matter which have a value now: somebody may set one at this moment.
fn keeps(old: &Service, new: &Service) -> BTreeSet<CredentialName> {
    if old.upstream.origin() != new.upstream.origin() {
        return BTreeSet::new();
    }
    let carried = |slot: &&CredentialSlot| {
        old.credentials.iter().any(|was| was.name == slot.name && carries_over(&was.kind, &slot.kind))
    };
    new.credentials.iter().filter(carried).map(|slot| slot.name.clone()).collect()
}

/// The values that do not go on, and why.
fn dropped(
    old: &Service,
    new: &Service,
    keeps: &BTreeSet<CredentialName>,
    values: &[StoredCredential],
) -> Vec<Dropped> {
    let moved = old.upstream.origin() != new.upstream.origin();
    let why = |name: &CredentialName| match new.credentials.iter().any(|slot| slot.name == *name) {
        false => Why::Undeclared,
        true if moved => Why::OtherOrigin,
        true => Why::OtherKind,
    };
    let gone = values.iter().filter(|value| value.has_value && !keeps.contains(&value.name));
    gone.map(|value| Dropped { name: value.name.clone(), why: why(&value.name) }).collect()
}
