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

use crate::{Actor, Admin, AdminError, event};

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
}

impl Admin {
    /// The credentials that a service declares, by name.
    ///
    /// # Errors
    /// [`AdminError::NoSuchService`].
    pub async fn list_credentials(&self, service: &str) -> Result<Vec<CredentialView>, AdminError> {
        let service = self.show_service(service).await?;
        let values = self.store.credentials(&service.name).await?;
        let value = |slot: &CredentialSlot| {
            let value = values.iter().find(|value| value.has_value && value.name == slot.name)?;
            Some(StoredValue { version: value.version, set_at: value.set_at })
        };
        Ok(service.credentials.into_iter().map(|slot| CredentialView { value: value(&slot), slot }).collect())
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
        let Plan { service, slot, declared, .. } = plan;
        let stored = self.store.credentials(&service.name).await?;
        let last = stored.into_iter().find(|value| value.name == *name);
        let version = last.as_ref().map_or(1, |last| last.version.saturating_add(1));
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
            replaces: last.filter(|last| last.has_value).map(|last| last.version),
            sealed,
            at: now,
        };
        if !self.write(change, event).await? {
            return Err(AdminError::ChangedMeanwhile(format!("credential `{name}` of `{}`", service.name)));
        }
        Ok(SetCredential { slot, version, origin, declared })
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
        let args = json!({ "name": name, "version": value.version });
        let mut event = event(actor, now, "credentials.remove", &args);
        event.service = Some(service.name.as_str().into());
        let (of, version) = (service.name.clone(), value.version);
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
