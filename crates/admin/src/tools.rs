//! Tools of a service as people see them, and accepting a definition as it was shown.

use domain::{
    foreign::escape_foreign,
    names::ServiceName,
    service::{Pins, Upstream},
    tools::{Difference, Flag, HeldBack, ToolHash, differences, flags, place_of},
    yaml::did_you_mean,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Change, StoredTool};

use crate::{Actor, Admin, AdminError, event};

/// A service's tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolsView {
    /// Whose.
    pub service: ServiceName,
    /// Which of them may be called.
    pub pins: Pins,
    /// Whether a whole list was seen.
    pub listed: bool,
    /// The tools, by name.
    pub tools: Vec<ToolView>,
}

/// One tool. Its texts are the upstream's own: escape them where people read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolView {
    /// The tool as it is kept.
    pub tool: StoredTool,
    /// Why nobody may call it, if that is so.
    pub held_back: Option<HeldBack>,
    /// What is other than what was accepted.
    pub differences: Vec<Difference>,
    /// What should be looked at.
    pub flags: Vec<Flag>,
}

impl ToolView {
    /// How it stands, in one word: `accepted` by an operator, there at `first-use`, `new`, `changed`, or `unpinned`.
    #[must_use]
    pub fn state(&self, pins: Pins) -> &'static str {
        match self.held_back {
            Some(held) => held.as_str(),
            None if pins == Pins::Off => "unpinned",
            None if self.tool.accepted_by.is_some() => "accepted",
            None => "first-use",
        }
    }

    /// What its definition says of itself under this name, where that is a text.
    #[must_use]
    pub fn says(&self, member: &str) -> Option<String> {
        let text = self.tool.definition.as_deref()?;
        let raw = wire::json::read(text.as_bytes(), &wire::Limits::of_bytes(text.len())).ok()?;
        let first = if raw.is_object() { Some(raw) } else { raw.elements().next() };
        first?.get(member)?.as_str().map(std::borrow::Cow::into_owned)
    }
}

impl Admin {
    /// What is known of a service's tools.
    ///
    /// # Errors
    /// [`AdminError::NoSuchService`]; [`AdminError::NoTools`] for a service that has none.
    pub async fn tools(&self, name: &str) -> Result<ToolsView, AdminError> {
        let service = self.stored_service(name).await?.service;
        if matches!(service.upstream, Upstream::Api(_)) {
            return Err(AdminError::NoTools(service.name));
        }
        let place = place_of(&service.upstream);
        let kept = self.store.stored_tools(&service.name).await?.filter(|(tools, _)| tools.place == place);
        let (listed, stored) = kept.map(|(tools, stored)| (tools.listed, stored)).unwrap_or_default();
        let mut others = Vec::new();
        for other in self.store.load_services().await?.into_iter().map(|other| other.service) {
            if other.name != service.name
                && let Some(tools) = self.store.tools(&other.name).await?
            {
                others.extend(tools.tools.into_keys().map(|tool| (other.name.to_string(), tool)));
            }
        }
        let others: Vec<(&str, &str)> =
            others.iter().map(|(service, tool)| (service.as_str(), tool.as_str())).collect();
        let view = |tool: StoredTool| {
            let held_back = tool.known.held_back(service.pins);
            let accepted = tool.accepted_definition.as_deref();
            let differences = match held_back {
                Some(HeldBack::Changed) => differences(accepted, tool.definition.as_deref()),
                _ => Vec::new(),
            };
            let flags = flags(&tool.name, tool.definition.as_deref(), &others);
            ToolView { tool, held_back, differences, flags }
        };
        let tools = stored.into_iter().map(view).collect();
        Ok(ToolsView { service: service.name, pins: service.pins, listed, tools })
    }

    /// Accepts a tool as it was shown: from now on that definition may be called. Whether it was not accepted before.
    ///
    /// # Errors
    /// [`AdminError::NoSuchService`], [`AdminError::NoSuchTool`]; [`AdminError::ToolUnread`] for a definition that is
    /// not kept; [`AdminError::ChangedMeanwhile`] when it is defined otherwise by now.
    pub async fn accept_tool(
        &self,
        actor: &Actor,
        now: Timestamp,
        (service, tool): (&str, &str),
        hash: &ToolHash,
    ) -> Result<bool, AdminError> {
        let view = self.tools(service).await?;
        let Some(shown) = view.tools.iter().find(|view| view.tool.name == tool) else {
            let known = view.tools.iter().map(|view| view.tool.name.as_str());
            let near = did_you_mean(tool, known).map(|near| escape_foreign(near).into_owned());
            let name = escape_foreign(&tool.chars().take(120).collect::<String>()).into_owned();
            return Err(AdminError::NoSuchTool { service: view.service, name, near });
        };
        let changed = || AdminError::ChangedMeanwhile(format!("tool `{}`", escape_foreign(tool)));
        if shown.tool.known.hash != *hash {
            return Err(changed());
        }
        if shown.tool.definition.is_none() {
            return Err(AdminError::ToolUnread(escape_foreign(tool).into_owned()));
        }
        let was = shown.tool.known.pinned;
        if was.is_some_and(|was| was.hash == *hash && was.by_operator) {
            return Ok(false);
        }
        let args = json!({ "tool": tool, "hash": hash.hex(), "was": was.map(|was| was.hash.hex()) });
        let mut event = event(actor, now, "tools.accept", &args);
        event.service = Some(view.service.as_str().into());
        let change = Change::AcceptTool {
            service: view.service.clone(),
            tool: tool.to_owned(),
            hash: *hash,
            by: actor.as_str().into(),
            at: now,
        };
        if self.write(change, event).await? { Ok(true) } else { Err(changed()) }
    }
}

/// A service's tools as `--json` and the API have them.
#[must_use]
pub fn tools_json(view: &ToolsView) -> Value {
    json!({
        "service": view.service,
        "pins": view.pins.as_str(),
        "listed": view.listed,
        "tools": view.tools.iter().map(|tool| tool_json(tool, view.pins)).collect::<Vec<_>>()
    })
}

fn tool_json(view: &ToolView, pins: Pins) -> Value {
    let tool = &view.tool;
    let definition = |text: &Option<String>| -> Value {
        text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
    };
    json!({
        "name": tool.name,
        "state": view.state(pins),
        "hash": tool.known.hash.hex(),
        "hint": tool.known.hint.as_str(),
        "seen_at": tool.seen_at.to_string(),
        "accepted_hash": tool.known.pinned.map(|pinned| pinned.hash.hex()),
        "accepted_at": tool.accepted_at.map(|at| at.to_string()),
        "accepted_by": tool.accepted_by,
        "definition": definition(&tool.definition),
        "accepted_definition": definition(&tool.accepted_definition),
        "differences": view.differences.iter().map(|one| {
            json!({ "path": one.path, "from": one.from, "to": one.to })
        }).collect::<Vec<_>>(),
        "flags": view.flags.iter().map(ToString::to_string).collect::<Vec<_>>()
    })
}
