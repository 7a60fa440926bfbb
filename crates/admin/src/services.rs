//! Services: applied from a file, listed, shown, removed.

use domain::{
    names::ServiceName,
    service::{ApiUpstream, EnvValue, Network, RefusalForm, Service, UnknownMethods, Upstream},
    yaml::did_you_mean,
};
use jiff::Timestamp;
use serde_json::json;
use store::Change;

use crate::{Actor, Admin, AdminError, event};

/// What applying did to one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// The service as it is now.
    pub service: Service,
    /// What was done.
    pub what: What,
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

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key in services.yaml.
    pub field: &'static str,
    /// Before. Values of environment variables are never in here, only their names.
    pub from: String,
    /// Now.
    pub to: String,
}

impl Admin {
    /// Makes the declared services what the file says, in its order; services that it does not name stay.
    ///
    /// # Errors
    /// [`AdminError::ChangedMeanwhile`] when somebody else changed one of them at the same moment; services
    /// before it in the file are applied then.
    pub async fn apply_services(
        &self,
        actor: &Actor,
        now: Timestamp,
        declared: Vec<Service>,
    ) -> Result<Vec<ServiceChange>, AdminError> {
        let stored = self.store.load_services().await?;
        let mut changes = Vec::with_capacity(declared.len());
        for service in declared {
            let old = stored.iter().find(|old| old.service.name == service.name);
            let what = match old {
                Some(old) if old.service == service => What::Same,
                Some(old) => What::Changed(differences(&old.service, &service)),
                None => What::Added,
            };
            if what != What::Same {
                let args = match &what {
                    What::Changed(differences) => {
                        let list = differences
                            .iter()
                            .map(|d| json!({ "field": d.field, "from": d.from, "to": d.to }));
                        json!({ "changed": list.collect::<Vec<_>>() })
                    }
                    _ => json!({ "upstream": upstream_text(&service.upstream) }),
                };
                let action = if old.is_some() { "services.update" } else { "services.create" };
                let mut event = event(actor, now, action, &args);
                event.service = Some(service.name.as_str().into());
                let change =
                    Change::PutService { service: service.clone(), replaces: old.map(|old| old.revision) };
                if !self.write(change, event).await? {
                    return Err(AdminError::ChangedMeanwhile(format!("service `{}`", service.name)));
                }
            }
            changes.push(ServiceChange { service, what });
        }
        Ok(changes)
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
        let mut all = self.list_services().await?;
        match all.iter().position(|service| service.name.as_str() == name) {
            Some(found) => Ok(all.swap_remove(found)),
            None => {
                let near =
                    did_you_mean(name, all.iter().map(|service| service.name.as_str())).map(str::to_owned);
                let name = name.chars().take(64).flat_map(char::escape_default).collect();
                Err(AdminError::NoSuchService { name, near })
            }
        }
    }

    /// Removes a service; scopes keep its name, the trail its history.
    ///
    /// # Errors
    /// [`AdminError::NoSuchService`].
    pub async fn remove_service(
        &self,
        actor: &Actor,
        now: Timestamp,
        name: &ServiceName,
    ) -> Result<(), AdminError> {
        self.show_service(name.as_str()).await?;
        let mut event = event(actor, now, "services.remove", &json!({}));
        event.service = Some(name.as_str().into());
        if !self.write(Change::RemoveService(name.clone()), event).await? {
            return Err(AdminError::ChangedMeanwhile(format!("service `{name}`")));
        }
        Ok(())
    }
}

/// The upstream in one line: the command, or the address.
fn upstream_text(upstream: &Upstream) -> String {
    match upstream {
        Upstream::Http(http) | Upstream::Api(ApiUpstream { http, .. }) => http.url.to_string(),
        Upstream::Stdio(stdio) => stdio.command.join(" "),
    }
}

/// What differs, field by field, in the order of the contract's example.
fn differences(old: &Service, new: &Service) -> Vec<Difference> {
    let (old_fields, new_fields) = (fields(old), fields(new));
    let mut names: Vec<&'static str> = old_fields.iter().map(|(name, _)| *name).collect();
    names.extend(
        new_fields
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| !old_fields.iter().any(|(old, _)| old == name)),
    );
    let value = |fields: &[(&'static str, String)], name| {
        fields
            .iter()
            .find(|(field, _)| *field == name)
            .map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
    };
    let mut found: Vec<Difference> = names
        .into_iter()
        .map(|field| Difference { field, from: value(&old_fields, field), to: value(&new_fields, field) })
        .filter(|difference| difference.from != difference.to)
        .collect();
    if let (Upstream::Stdio(old), Upstream::Stdio(new)) = (&old.upstream, &new.upstream) {
        let names = |env: &std::collections::BTreeMap<String, EnvValue>| match env.is_empty() {
            true => "–".to_owned(),
            false => env.keys().cloned().collect::<Vec<_>>().join(" "),
        };
        if old.env != new.env {
            found.push(Difference { field: "env", from: names(&old.env), to: names(&new.env) });
        }
    }
    if let (Some(old), Some(new)) = (old.upstream.http(), new.upstream.http())
        && old.ca_pem != new.ca_pem
    {
        let shown = |pem: &Option<String>| if pem.is_some() { "a certificate" } else { "–" }.to_owned();
        found.push(Difference { field: "ca", from: shown(&old.ca_pem), to: shown(&new.ca_pem) });
    }
    found
}

/// A service's fields as they are written, without `env` and `ca`: their values are not for showing.
fn fields(service: &Service) -> Vec<(&'static str, String)> {
    let mut fields = match &service.upstream {
        Upstream::Http(http) | Upstream::Api(ApiUpstream { http, .. }) => {
            let network = match http.network {
                Network::Public => "public",
                Network::Private => "private",
            };
            vec![("url", http.url.to_string()), ("network", network.to_owned())]
        }
        Upstream::Stdio(stdio) => vec![
            ("command", stdio.command.join(" ")),
            ("share", stdio.share.to_string()),
            ("processes", stdio.processes.to_string()),
            ("idle", format!("{}s", stdio.idle.as_secs())),
        ],
    };
    let unknown = match service.unknown_methods {
        UnknownMethods::Refuse => "refuse",
        UnknownMethods::Pass => "pass",
    };
    let refusals = match service.refusals {
        RefusalForm::Error => "error",
        RefusalForm::Result => "result",
    };
    fields.push(("unknown_methods", unknown.to_owned()));
    fields.push(("refusals", refusals.to_owned()));
    fields
}
