//! Filtered lists: an agent does not see what it may not use. Elements are cut out of the raw bytes, in place.

mod changes;

use std::sync::Arc;

use bytes::Bytes;
use domain::{policy::Rights, risk::RiskScore, service::Service, tools::Extent};
use wire::{
    Limits, Malformed, Raw, Reason, Shape, graft, json, list,
    mcp::{
        ListKind::{self, Prompts, ResourceTemplates, Resources, Tools},
        extension, repeated_arguments,
    },
};

use crate::{
    arrival::{Caller, Exchange},
    freshness::Freshness,
    gateway::Gateway,
    lists::Lists,
    risk::Risk,
    tools::Tools as LearnedTools,
};

/// The tool by which an agent asks for the answer to a call of its that was held. The gateway answers it itself.
pub const WAIT_TOOL: &str = "toolgate_wait";

/// How it stands in lists.
const WAIT_TOOL_LISTED: &str = concat!(
    r#"{"name":"toolgate_wait","description":"Get the result of a call that is held for a person's approval. "#,
    r#"Waits a short while. Give the approval id from the error. Asking never changes or repeats the call.","#,
    r#""inputSchema":{"type":"object","properties":{"approval":{"type":"string"}},"required":["approval"]}}"#
);

/// How long a list may be kept by who asked for it (milliseconds). A list that says a shorter time keeps it.
pub const CACHED_MS_MAX: u64 = 5_000;

/// How that tool stands in the lists of an agent with these rights; `None` where no call of its can be held there.
#[must_use]
pub fn wait_tool(rights: Rights<'_>, risk: &Risk) -> Option<&'static str> {
    let can_wait = rights.may_hold(risk.thresholds.approve_at, risk.model.is_some());
    can_wait.then_some(WAIT_TOOL_LISTED)
}

/// What a server says whose tools are others by now.
const TOOLS_CHANGED: &str = "notifications/tools/list_changed";

const LISTS: [ListKind; 4] = [Tools, Prompts, Resources, ResourceTemplates];

/// What one agent may see of one service's lists.
#[derive(Clone)]
pub(crate) struct Catalog {
    freshness: Arc<Freshness>,
    lists: Arc<Lists>,
    tools: Arc<LearnedTools>,
    /// Whether an answer without a next page is a whole list.
    from_start: bool,
    approve_at: Option<RiskScore>,
    has_model: bool,
    caller: Caller,
    service: Arc<Service>,
}

impl Catalog {
    /// For the answer to `asked`.
    pub(crate) fn new(gateway: &Gateway, caller: &Caller, service: &Arc<Service>, asked: &Exchange) -> Self {
        Self {
            freshness: Arc::clone(&gateway.freshness),
            lists: Arc::clone(&gateway.lists),
            tools: Arc::clone(&gateway.tools),
            from_start: asks_from_start(asked),
            approve_at: gateway.risk.thresholds.approve_at,
            has_model: gateway.risk.model.is_some(),
            caller: caller.clone(),
            service: Arc::clone(service),
        }
    }

    /// The message without what the agent may not use; none when nothing has to be cut.
    ///
    /// Whatever list was asked for, every list that is there is cut: an answer may hold more than its question. What
    /// tools say about themselves is learned before, from the whole list.
    ///
    /// # Errors
    /// When the message cannot be read: a list that cannot be cut is not handed out.
    pub(crate) fn cut(&self, message: &[u8]) -> Result<Option<Bytes>, Malformed> {
        let root = json::read(message, &Limits::of_bytes(message.len()))?;
        if !root.is_object() {
            return Err(Malformed::new(0, Reason::Batch));
        }
        let Some(result) = root.get("result") else {
            self.hear(root);
            return Ok(None);
        };
        let mut present = Vec::new();
        for (key, list) in result.members() {
            match LISTS.into_iter().find(|kind| key == *kind.result_member()) {
                Some(kind) if list.kind() == json::Kind::Array => present.push((kind, list)),
                Some(_) => return Err(Malformed::new(0, Reason::Shape("a list must be an array"))),
                None => {}
            }
        }
        if present.is_empty() {
            return Ok(None);
        }
        // Tools are cut by what is known with this very list: another one may come at the same moment.
        let mut learned = None;
        for (kind, list) in &present {
            if *kind == Tools {
                let is_whole = self.from_start && is_last_page(result);
                let extent = if is_whole { Extent::Whole } else { Extent::Part };
                learned = self.tools.learn(&self.service, *list, extent);
            }
            self.lists.learn(&self.service, *kind, *list);
        }
        // Today's rights: a stream may be older than the policy.
        let world = self.freshness.current();
        let rights = self.rights(&world);
        // Only results of the newest version say how they ended.
        let is_modern = result.get("resultType").is_some();
        let mut kept: Option<Vec<u8>> = None;
        let can_wait = rights.is_some_and(|rights| rights.may_hold(self.approve_at, self.has_model));
        for (kind, _) in present {
            let is_held_back = |name: &str| {
                kind == Tools
                    && learned.as_ref().is_none_or(|learned| learned.held_back(&self.service, name).is_some())
            };
            kept = edited(root, kept, |root| cut_one(root, kind, rights, is_modern, &is_held_back))?;
            if kind == Tools && can_wait {
                kept = edited(root, kept, with_wait_tool)?;
            }
        }
        kept = edited(root, kept, cached_by_one_agent)?;
        kept = edited(root, kept, cached_briefly)?;
        Ok(kept.map(Bytes::from))
    }

    /// A server may say that its tools are others by now: then they are looked at again.
    pub(crate) fn hear(&self, root: Raw<'_>) {
        if root.get("method").and_then(Raw::as_str).as_deref() == Some(TOOLS_CHANGED) {
            self.tools.note_changed(&self.service.name);
        }
    }

    /// What a server of the newest version says of itself, with the extension by which a held call becomes a task, where
    /// a call of the agent can be held. It is then said to this agent alone.
    pub(crate) fn with_tasks(&self, root: Raw<'_>) -> Option<Vec<u8>> {
        let world = self.freshness.current();
        if !self.rights(&world)?.may_hold(self.approve_at, self.has_model) {
            return None;
        }
        let result = root.get("result")?;
        let extensions = result.get("capabilities")?.get("extensions");
        if extensions.and_then(|known| known.get(extension::TASKS)).is_some() {
            return None;
        }
        let path = ["result", "capabilities", "extensions", extension::TASKS];
        let offered = graft::set(root, &path, "{}")?;
        edited(root, Some(offered), cached_by_one_agent).ok().flatten()
    }
}

/// Whether a list is asked for from its beginning: a request for tools without a cursor.
fn asks_from_start(asked: &Exchange) -> bool {
    let Exchange::Post(message) = asked else { return false };
    let Shape::Request { method: "tools/list", .. } = message.shape() else { return false };
    let cursor = message.params().and_then(|params| params.get("cursor"));
    cursor.is_none_or(|cursor| cursor.kind() == json::Kind::Null)
}

fn is_last_page(result: Raw<'_>) -> bool {
    result.get("nextCursor").is_none_or(|next| next.kind() == json::Kind::Null)
}

/// An edit moves what stands behind it, so the next one looks at the document anew.
pub(crate) fn edited(
    root: Raw<'_>,
    kept: Option<Vec<u8>>,
    edit: impl Fn(Raw<'_>) -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, Malformed> {
    let edited = match &kept {
        None => edit(root),
        Some(bytes) => edit(json::read(bytes, &Limits::of_bytes(bytes.len()))?),
    };
    Ok(edited.or(kept))
}

/// Every page of a list is one agent's: it is cut for its rights, and obtained with the service's credential.
fn cached_by_one_agent(root: Raw<'_>) -> Option<Vec<u8>> {
    root.get("result")?.get("cacheScope")?;
    graft::set(root, &["result", "cacheScope"], "\"private\"")
}

/// What people change is seen soon. A time that is no whole number of milliseconds is none.
fn cached_briefly(root: Raw<'_>) -> Option<Vec<u8>> {
    let lasts = root.get("result")?.get("ttlMs")?.as_u64().unwrap_or_default().min(CACHED_MS_MAX);
    graft::set(root, &["result", "ttlMs"], &lasts.to_string())
}

fn cut_one(
    root: Raw<'_>,
    kind: ListKind,
    rights: Option<Rights<'_>>,
    is_modern: bool,
    is_held_back: &dyn Fn(&str) -> bool,
) -> Option<Vec<u8>> {
    list::cut(root, &["result", kind.result_member()], &mut |element| {
        shows(rights, kind, element, is_held_back)
            && !(is_modern && kind == Tools && is_annotated_wrongly(element))
    })
}

/// Clients of the newest version must not offer a tool whose arguments they cannot repeat in headers, so it is not shown
/// to those that would.
fn is_annotated_wrongly(tool: Raw<'_>) -> bool {
    tool.get("inputSchema").is_some_and(|schema| repeated_arguments(schema).is_err())
}

/// The last page of tools has ours behind the upstream's.
fn with_wait_tool(root: Raw<'_>) -> Option<Vec<u8>> {
    let is_last = root.get("result").is_some_and(is_last_page);
    is_last.then(|| list::append(root, &["result", Tools.result_member()], WAIT_TOOL_LISTED)).flatten()
}

/// An element without a readable name cannot be called, so it is not shown.
fn shows(
    rights: Option<Rights<'_>>,
    kind: ListKind,
    element: Raw<'_>,
    is_held_back: &dyn Fn(&str) -> bool,
) -> bool {
    element
        .get(kind.element_name())
        .and_then(Raw::as_str)
        .is_some_and(|name| shows_named(rights, kind, &name) && !is_held_back(&name))
}

fn shows_named(rights: Option<Rights<'_>>, kind: ListKind, name: &str) -> bool {
    // An upstream's tool of that name is out of reach: calls of it end here.
    !(kind == Tools && name == WAIT_TOOL) && rights.is_some_and(|rights| rights.may_list(kind, name))
}
