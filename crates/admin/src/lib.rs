//! Floor 4: what an operator may do. Commands and console both call it, so that both check the same things
//! and leave the same trace. Every change is one entry of the trail, naming who made it.

mod agents;
mod approvals;
mod credentials;
mod csv;
mod fault;
mod health;
mod keys;
mod kill;
mod operators;
mod overview;
mod own_password;
mod pepper;
mod restore;
mod retention;
mod service_json;
mod service_text;
mod services;
mod sessions;
mod sign_in;
mod tokens;
mod tools;
mod trail;
mod vault;

use std::{collections::BTreeSet, sync::Arc};

use domain::{
    audit::{Event, Kind, redact},
    names::ServiceName,
    operator::{Email, OperatorRole},
    yaml::did_you_mean,
};
use jiff::Timestamp;
use store::{Applied, Change, Entry, Store};

pub use agents::{AgentUpdate, AgentView};
pub use approvals::{
    AddedCredential, ApprovalPage, ApprovalView, InboxPage, REASON_CHARACTERS_MAX, SecondLook, Sees,
    ShownAnswer, ShownBody, ShownCall, ShownTool, WholeCall, approval_json, page_json,
};
pub use credentials::{CredentialView, SetCredential, StoredValue};
pub use csv::{csv_head, csv_line};
pub use fault::{AdminError, Blame};
pub use keys::{CreatedKey, KeyView, NewKey, Revoked, Warning};
pub use operators::{PASSWORD_BYTES_MAX, PASSWORD_CHARACTERS_MIN, check_password};
pub use overview::{Bar, Layer, Overview, Range};
pub use pepper::{open_access_keys, open_pepper, open_session_sealer};
pub use restore::record_restore;
pub use service_json::{credential_json, service_json};
pub use service_text::Difference;
pub use services::{Dropped, Expected, SeenService, ServiceChange, WantedService, What, Why};
pub use sessions::{Client, OpenedSession, SessionKeys};
pub use sign_in::ActingOperator;
pub use tokens::{CreatedToken, RevokedToken};
pub use tools::{ToolView, ToolsView, tools_json};
pub use trail::{CallEnd, CallFilter, CallRow, CallsPage, Exported, Record, RecordedDecision, RecordedError};
pub use vault::{Rotated, TermView, open_vault};

/// Who makes a change, as the trail names them: an e-mail address, or `os:<user>` for whoever owns the home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: Arc<str>,
    role: Option<OperatorRole>,
}

impl Actor {
    /// The operating system's user who runs a command.
    #[must_use]
    pub fn os_user(name: &str) -> Self {
        Self { name: format!("os:{name}").into(), role: None }
    }

    /// An operator who has proven who they are.
    #[must_use]
    pub fn operator(email: &Email, role: OperatorRole) -> Self {
        Self { name: email.as_str().into(), role: Some(role) }
    }

    /// The operator's role; `None`: it is no operator but whoever can write the home.
    #[must_use]
    pub fn role(&self) -> Option<OperatorRole> {
        self.role
    }

    /// The name in the trail.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

/// The desk where changes are made.
#[derive(Clone)]
pub struct Admin {
    store: Arc<Store>,
}

impl Admin {
    /// A desk over an open store.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Writes one change with its event; whether its condition held.
    async fn write(&self, change: Change, event: Event) -> Result<bool, AdminError> {
        match self.store.append_and_tell(&[Entry { change: Some(change), event }]).await?.pop() {
            Some(Applied::Done) => Ok(true),
            Some(Applied::Failed(fault)) => Err(fault.into()),
            Some(Applied::ConditionFailed) | None => Ok(false),
        }
    }

    /// The first service of a scope that does not exist is an error that helps.
    async fn check_scope(&self, scope: &BTreeSet<ServiceName>) -> Result<(), AdminError> {
        if scope.is_empty() {
            return Ok(());
        }
        let services = self.store.load_services().await?;
        let known: Vec<&str> = services.iter().map(|stored| stored.service.name.as_str()).collect();
        match scope.iter().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let near = did_you_mean(name.as_str(), known).map(str::to_owned);
                Err(AdminError::NoSuchServiceInScope { name: name.to_string(), near })
            }
        }
    }
}

/// The event of a change. `args` are its particulars; like a call's, they are redacted and bounded.
fn event(actor: &Actor, now: Timestamp, action: &'static str, args: &serde_json::Value) -> Event {
    let mut event = Event::new(now, Kind::Operator);
    event.action = Some(action.into());
    event.operator = Some(actor.name.clone());
    event.args = redacted(args);
    event
}

/// Particulars as the trail may keep them.
fn redacted(args: &serde_json::Value) -> Option<Box<str>> {
    let text = args.to_string();
    let limits = wire::json::Limits { bytes: usize::MAX, depth: wire::json::Limits::DEFAULT_DEPTH };
    let raw = wire::json::read(text.as_bytes(), &limits).ok()?;
    Some(redact::redact(raw, &redact::Limits::TRAIL).into())
}

/// Names as people write a scope: `files,billing`; nothing is `–`.
fn scope_text(scope: &BTreeSet<ServiceName>) -> String {
    if scope.is_empty() {
        return "–".to_owned();
    }
    scope.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(",")
}
