//! Credentials: values go in, never out. What is shown of them is their name, kind, version and time.

use std::collections::BTreeSet;

use domain::{
    audit::push_hex,
    credential::{CredentialKind, CredentialSlot, carries_over, check_slots, check_value},
    names::CredentialName,
    service::Service,
    yaml::did_you_mean,
};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use store::{Change, StoredService};
use vault::{Label, Purpose, Secret, Vault};
use wire::mask::SECRET_BYTES_MIN;

use crate::{Actor, Admin, AdminError, SeenService, event};

/// A credential as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialView {
    /// Its name and kind.
    pub slot: CredentialSlot,
    /// What is known of its value; `None`: it has none yet, or none any more.
    pub value: Option<StoredValue>,
}

/// What may be known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredValue {
    /// Its version, from 1 on; no version is given twice.
    pub version: u64,
    /// Since when it is the one.
    pub set_at: Timestamp,
}

/// A value that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCredential {
    /// Its name and kind.
    pub slot: CredentialSlot,
    /// Its version.
    pub version: u64,
    /// The only place that it is sent to: scheme, host and port, or `stdio` for a child.
    pub origin: String,
    /// Whether the service declared it as it is now already.
    pub declared: bool,
    /// Whether it is masked in what the upstream sends back; a value under [`SECRET_BYTES_MIN`] bytes is not.
    pub masked: bool,
}

impl Admin {
    /// The credentials that a service declares, by name.
    ///
    /// # Errors
    /// [`AdminError::NoSuchService`].
    pub async fn list_credentials(&self, service: &str) -> Result<Vec<CredentialView>, AdminError> {
        self.credentials_of(&self.show_service(service).await?).await
    }

    /// The same of a service that is known.
    pub(crate) async fn credentials_of(&self, service: &Service) -> Result<Vec<CredentialView>, AdminError> {
        let values = self.store.credentials(&service.name).await?;
        let view = |slot: &CredentialSlot| {
            let value = values.iter().find(|value| value.has_value && value.name == slot.name);
            let value = value.map(|value| StoredValue { version: value.version, set_at: value.set_at });
            CredentialView { slot: slot.clone(), value }
        };
        Ok(service.credentials.iter().map(view).collect())
    }

    /// What setting a credential would set, without a value: so that nobody is asked for one in vain. `kind` adds
    /// a credential that the service does not declare, or takes the place of what it declares.
    ///
    /// # Errors
    /// [`AdminError`]: no such service or credential, or it does not fit the service.
    pub async fn credential_slot(
        &self,
        service: &str,
        name: &CredentialName,
        kind: Option<CredentialKind>,
    ) -> Result<CredentialSlot, AdminError> {
        Ok(planned(self.stored_service(service).await?, name, kind)?.slot)
    }

    /// Seals a value for the service's origin and stores it as the credential's next version. A running gateway
    /// uses it within a second.
    ///
    /// # Errors
    /// As [`credential_slot`](Self::credential_slot); [`AdminError::BadValue`]; [`AdminError::ChangedMeanwhile`].
    pub async fn set_credential(
        &self,
        actor: &Actor,
        now: Timestamp,
        vault: &Vault,
        (service, name): (&str, &CredentialName),
        kind: Option<CredentialKind>,
        value: &Secret,
    ) -> Result<SetCredential, AdminError> {
        let plan = planned(self.stored_service(service).await?, name, kind)?;
        check_value(&plan.slot.kind, value.reveal())?;
        if !plan.declared {
            self.declare(actor, now, &plan).await?;
        }
        self.seal(actor, now, vault, plan, value, None).await
    }

    /// Sets the values of a service's credentials, and drops those of all others. All are looked at before one is set.
    /// `seen`: the service as whoever asks has seen it; a value that is another one by now is left as it is.
    ///
    /// # Errors
    /// As [`set_credential`](Self::set_credential); [`AdminError::ChangedMeanwhile`] where somebody else changes the same
    /// values at the same moment, and some of them may be set then.
    pub async fn replace_credentials(
        &self,
        actor: &Actor,
        now: Timestamp,
        vault: &Vault,
        seen: &SeenService,
        values: &[(CredentialName, Secret)],
    ) -> Result<(), AdminError> {
        let SeenService { service, revision, credentials } = seen;
        let mut plans = Vec::with_capacity(values.len());
        for (name, value) in values {
            let stored = StoredService { service: service.clone(), revision: *revision };
            let plan = planned(stored, name, None)?;
            check_value(&plan.slot.kind, value.reveal())?;
            plans.push((plan, value));
        }
        if self.stored_service(service.name.as_str()).await?.revision != *revision {
            return Err(AdminError::ChangedMeanwhile(format!("service `{}`", service.name)));
        }
        for (plan, value) in plans {
            let seen = credentials.iter().find(|seen| seen.slot.name == plan.slot.name);
            let seen = seen.and_then(|seen| seen.value).map(|value| value.version);
            self.seal(actor, now, vault, plan, value, Some(seen)).await?;
        }
        for CredentialView { slot, value } in credentials {
            if let (Some(value), false) = (value, values.iter().any(|(name, _)| *name == slot.name)) {
                self.drop_value(actor, now, service, &slot.name, value.version).await?;
            }
        }
        Ok(())
    }

    /// The value's next version, sealed and stored. `seen`: the version that it is to take the place of, where whoever
    /// asks says so; `Some(None)`: there was no value.
    async fn seal(
        &self,
        actor: &Actor,
        now: Timestamp,
        vault: &Vault,
        Plan { service, slot, declared, .. }: Plan,
        value: &Secret,
        seen: Option<Option<u64>>,
    ) -> Result<SetCredential, AdminError> {
        let name = &slot.name;
        let changed = || AdminError::ChangedMeanwhile(format!("credential `{name}` of `{}`", service.name));
        let stored = self.store.credentials(&service.name).await?;
        let last = stored.into_iter().find(|value| value.name == *name);
        let version = last.as_ref().map_or(1, |last| last.version.saturating_add(1));
        let replaces = last.filter(|last| last.has_value).map(|last| last.version);
        if seen.is_some_and(|seen| seen != replaces) {
            return Err(changed());
        }
        let origin = service.upstream.origin();
        let label = Label {
            purpose: Purpose::Credential,
            service: service.name.as_str(),
            origin: &origin,
            name: name.as_str(),
            version,
        };
        let sealed = vault.seal(&label, value.reveal());
        let mut sha256 = String::with_capacity(64);
        push_hex(&mut sha256, &Sha256::digest(&sealed));
        let args = json!({
            "name": name, "kind": slot.kind.word(), "version": version, "origin": origin, "sha256": sha256
        });
        let mut event = event(actor, now, "credentials.set", &args);
        event.service = Some(service.name.as_str().into());
        let change = Change::PutCredential {
            service: service.name.clone(),
            origin: origin.clone(),
            name: name.clone(),
            kind: slot.kind.clone(),
            version,
            replaces,
            sealed,
            at: now,
        };
        if !self.write(change, event).await? {
            return Err(changed());
        }
        let masked = value.reveal().len() >= SECRET_BYTES_MIN;
        Ok(SetCredential { slot, version, origin, declared, masked })
    }

    /// Drops a credential's value; the service goes on declaring it, and is not called without it.
    ///
    /// # Errors
    /// [`AdminError`]: no such service or credential, or it has no value.
    pub async fn remove_credential(
        &self,
        actor: &Actor,
        now: Timestamp,
        service: &str,
        name: &CredentialName,
    ) -> Result<(), AdminError> {
        let service = self.show_service(service).await?;
        let stored = self.store.credentials(&service.name).await?;
        let Some(value) = stored.into_iter().find(|value| value.has_value && value.name == *name) else {
            return Err(match service.credentials.iter().any(|slot| slot.name == *name) {
                true => AdminError::NoValue { service: service.name, name: name.clone() },
                false => no_such_credential(&service, name),
            });
        };
        self.drop_value(actor, now, &service, name, value.version).await
    }

    async fn drop_value(
        &self,
        actor: &Actor,
        now: Timestamp,
        service: &Service,
        name: &CredentialName,
        version: u64,
    ) -> Result<(), AdminError> {
        let mut event = event(actor, now, "credentials.remove", &json!({ "name": name, "version": version }));
        event.service = Some(service.name.as_str().into());
        let of = service.name.clone();
        let change = Change::RemoveCredential { service: of, name: name.clone(), version };
        if !self.write(change, event).await? {
            return Err(AdminError::ChangedMeanwhile(format!("credential `{name}` of `{}`", service.name)));
        }
        Ok(())
    }

    /// Makes the service declare the credential. A value that cannot go on as the new kind is dropped with it.
    async fn declare(&self, actor: &Actor, now: Timestamp, plan: &Plan) -> Result<(), AdminError> {
        let (service, slot) = (&plan.service, &plan.slot);
        let keeps = |other: &&CredentialSlot| {
            other.name != slot.name || plan.was.as_ref().is_some_and(|was| carries_over(was, &slot.kind))
        };
        let keeps: BTreeSet<CredentialName> =
            service.credentials.iter().filter(keeps).map(|other| other.name.clone()).collect();
        let text = |kind: Option<&CredentialKind>| kind.map_or("–", CredentialKind::word);
        let change =
            json!({ "name": slot.name, "from": text(plan.was.as_ref()), "to": text(Some(&slot.kind)) });
        let mut event = event(actor, now, "credentials.declare", &change);
        event.service = Some(service.name.as_str().into());
        let change = Change::PutService {
            service: service.clone(),
            replaces: Some(plan.revision),
            documentation: self.store.documentation(&service.name).await?,
            keeps,
        };
        match self.write(change, event).await? {
            true => Ok(()),
            false => Err(AdminError::ChangedMeanwhile(format!("service `{}`", service.name))),
        }
    }
}

/// What is to be set, and the service as it will be.
struct Plan {
    service: Service,
    revision: i64,
    slot: CredentialSlot,
    /// The kind that the service declares now.
    was: Option<CredentialKind>,
    /// Whether that is the kind wanted.
    declared: bool,
}

fn planned(
    stored: StoredService,
    name: &CredentialName,
    kind: Option<CredentialKind>,
) -> Result<Plan, AdminError> {
    let StoredService { mut service, revision } = stored;
    let was = service.credentials.iter().find(|slot| slot.name == *name).map(|slot| slot.kind.clone());
    let Some(kind) = kind.or_else(|| was.clone()) else {
        return Err(no_such_credential(&service, name));
    };
    let (slot, declared) = (CredentialSlot { name: name.clone(), kind }, was.as_ref());
    let declared = declared == Some(&slot.kind);
    if !declared {
        let mut slots = std::mem::take(&mut service.credentials);
        slots.retain(|other| other.name != *name);
        slots.push(slot.clone());
        check_slots(&service.upstream, &slots).map_err(AdminError::BadSlot)?;
        service.credentials = CredentialSlot::by_name(slots);
    }
    Ok(Plan { service, revision, slot, was, declared })
}

fn no_such_credential(service: &Service, name: &CredentialName) -> AdminError {
    let known = service.credentials.iter().map(|slot| slot.name.as_str());
    let near = did_you_mean(name.as_str(), known).map(str::to_owned);
    AdminError::NoSuchCredential { service: service.name.clone(), name: name.clone(), near }
}
