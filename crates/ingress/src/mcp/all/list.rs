//! One list made of all members' lists. They are asked concurrently, each with the same short deadline. A member that
//! does not answer is left out, so that one upstream never hides the others.

use std::{collections::HashSet, sync::Arc, time::Duration};

use domain::{names::ServiceName, service::Service};
use pipeline::WAIT_TOOL;
use wire::{
    Raw,
    json::Kind,
    mcp::{
        Era,
        ListKind::{self, Prompts, Tools},
    },
};

use super::{
    client::{Answered, Client, Unanswered},
    line::{Closed, Lease},
    names::listed,
};

/// How long one member may take over its list, its start included. What is being opened then is there the next time.
const PATIENCE: Duration = Duration::from_secs(10);
/// What one member may list in any case (bytes), however many there are.
const SHARE_BYTES_MIN: usize = 1024 * 1024;
/// How many pages of one member are put together.
const PAGES_MAX: usize = 64;

/// What one member lists, under its names here.
#[derive(Default)]
struct Listed {
    elements: Vec<String>,
    /// The tool that asks for held calls' answers, where this agent's calls may be held.
    wait: Option<String>,
    /// How long it is good for (milliseconds).
    ttl: u64,
    bytes: usize,
}

/// A list put together of all members'.
pub(super) struct Joined {
    /// The elements, as a JSON array.
    pub(super) elements: String,
    /// How long it is good for (milliseconds): as long as the first part of it, and not at all where one is missing.
    pub(super) ttl: u64,
}

impl Client {
    /// The list of this kind, of these members, in their order.
    pub(super) async fn list(self: &Arc<Self>, kind: ListKind, members: Vec<Arc<Service>>) -> Joined {
        let bounds = &self.front.gateway.bounds;
        let patience = PATIENCE.min(bounds.upstream_timeout);
        // A member with a list of any length takes nothing from the others.
        let bytes_max = usize::try_from(bounds.body_bytes_max).unwrap_or(usize::MAX);
        let share = (bytes_max / members.len().max(1)).max(SHARE_BYTES_MIN);
        let asked = members.iter().map(|service| async {
            let listed = match tokio::time::timeout(patience, self.list_of(kind, service, share)).await {
                Ok(listed) => listed,
                Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
            };
            listed.inspect_err(|why| {
                tracing::warn!(
                    "`{}` is not in the list of all {}: {why}",
                    service.name,
                    kind.result_member()
                );
            })
        });
        let listed = futures_util::future::join_all(asked).await;
        let mut ttl = if listed.iter().all(Result::is_ok) { u64::MAX } else { 0 };
        let listed: Vec<Listed> = listed.into_iter().flatten().collect();
        let mut elements =
            String::with_capacity(listed.iter().map(|listed| listed.bytes).sum::<usize>() + 1_024);
        elements.push('[');
        let wait = listed.iter().find_map(|listed| listed.wait.as_ref());
        for element in listed.iter().flat_map(|listed| &listed.elements).chain(wait) {
            if elements.len() > 1 {
                elements.push(',');
            }
            elements.push_str(element);
        }
        elements.push(']');
        for listed in &listed {
            ttl = ttl.min(listed.ttl);
        }
        Joined { elements, ttl }
    }

    async fn list_of(
        self: &Arc<Self>,
        kind: ListKind,
        service: &Arc<Service>,
        share: usize,
    ) -> Result<Listed, String> {
        // A session that the member has forgotten is opened anew, once: a list can be asked for again.
        let lease = self.line(service).await.map_err(why_closed)?;
        let era = lease.line.era;
        match self.pages(kind, lease, share).await? {
            Some(listed) => Ok(listed),
            None => {
                if era == Era::Modern {
                    self.members().learn(service, |eras| eras.modern = None);
                }
                let lease = self.line(service).await.map_err(why_closed)?;
                self.pages(kind, lease, share).await?.ok_or_else(|| "it knows no session of ours".to_owned())
            }
        }
    }

    /// All pages; none when the member does not know how it is spoken to any more.
    async fn pages(
        self: &Arc<Self>,
        kind: ListKind,
        lease: Lease,
        share: usize,
    ) -> Result<Option<Listed>, String> {
        let mut listed = Listed { ttl: u64::MAX, ..Listed::default() };
        let mut seen = HashSet::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let answered = match self.ask(&lease.service, &lease.line, self.page(kind, &lease, cursor)).await
            {
                Ok(answered) if !answered.knows_no_session() || is_without(&answered) => answered,
                Err(Unanswered::Told(told)) if !super::client::is_no_session(told.status()) => {
                    lease.done();
                    return Err(format!("the gateway answered {}", said(&told)));
                }
                Ok(_) | Err(Unanswered::Told(_)) => {
                    lease.lost();
                    return Ok(None);
                }
                Err(Unanswered::Useless(why)) => return Err(why),
            };
            if is_without(&answered) {
                lease.done();
                return Ok(Some(listed));
            }
            let result = answered.result()?;
            listed.add(kind, &lease.service, result, &mut seen);
            if listed.bytes > share {
                return Err(format!(
                    "its list is larger than its share of gateway.body_limit, {share} bytes"
                ));
            }
            let next = result.get("nextCursor").filter(|next| next.kind() == Kind::String);
            cursor = next.map(|next| next.text().to_owned());
            if cursor.is_none() {
                lease.done();
                return Ok(Some(listed));
            }
        }
        tracing::warn!("`{}` has more than {PAGES_MAX} pages; what follows is not listed", lease.service);
        lease.done();
        Ok(Some(listed))
    }

    /// The request for one page.
    fn page(&self, kind: ListKind, lease: &Lease, cursor: Option<String>) -> String {
        let about = match lease.line.era {
            Era::Modern => format!(r#""_meta":{{{}}}"#, self.about),
            Era::Legacy => String::new(),
        };
        let cursor = cursor.map(|cursor| format!(r#""cursor":{cursor}"#)).unwrap_or_default();
        let comma = if about.is_empty() || cursor.is_empty() { "" } else { "," };
        format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"{}","params":{{{about}{comma}{cursor}}}}}"#,
            self.new_id(),
            method(kind)
        )
    }
}

impl Listed {
    /// Adds a page. Of two elements with one name the first stands: lists with both cannot be used.
    fn add(&mut self, kind: ListKind, service: &ServiceName, result: Raw<'_>, seen: &mut HashSet<String>) {
        self.ttl = self.ttl.min(result.get("ttlMs").and_then(Raw::as_u64).unwrap_or(0));
        for element in result.get(kind.result_member()).into_iter().flat_map(Raw::elements) {
            let own = element.get(kind.element_name()).and_then(Raw::as_str);
            if kind == Tools && own.as_deref() == Some(WAIT_TOOL) {
                // The member's own tool of that name was cut before; this is ours.
                self.wait = Some(element.text().to_owned());
            } else if let Some((own, text)) = listed(kind, service, element)
                && seen.insert(own.into_owned())
            {
                self.bytes += text.len() + 1;
                self.elements.push(text);
            }
        }
    }
}

/// Whether a member says that it has no such lists.
fn is_without(answered: &Answered) -> bool {
    let error = answered.message.as_ref().and_then(|message| message.root().get("error"));
    error.and_then(|error| error.get("code")).is_some_and(|code| code.text() == "-32601")
}

/// What our own answer says, in few words.
fn said(told: &http::Response<bytes::Bytes>) -> String {
    let limits = wire::Limits::of_bytes(told.body().len());
    let root = wire::json::read(told.body(), &limits).ok();
    let code = root.and_then(|root| root.get("error")?.get("code")).map(|code| code.text().to_owned());
    code.unwrap_or_else(|| told.status().as_u16().to_string())
}

fn why_closed(closed: Closed) -> String {
    match closed {
        Closed::Told(told) => format!("the gateway answered {}", said(&told)),
        Closed::Shut(why) | Closed::Unspoken(why) => why,
    }
}

fn method(kind: ListKind) -> &'static str {
    match kind {
        Prompts => "prompts/list",
        Tools => "tools/list",
        ListKind::Resources => "resources/list",
        ListKind::ResourceTemplates => "resources/templates/list",
    }
}
