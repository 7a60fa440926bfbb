//! What a person sees of a held call: the whole of it, exactly as it will be sent, made safe to look at. Terminal and
//! console lay the same page out. A call that cannot be shown is an error: nobody decides on what they cannot see.

use domain::{
    approval::{Approval, HeldCall, HeldExchange, Status},
    foreign::{escape_foreign, escape_foreign_bytes},
    names::CredentialName,
    operator::OperatorRole,
    service::{Service, Upstream},
};
use jiff::Timestamp;
use store::Before;
use vault::{Label, Vault};

use super::body::ShownBody;
use crate::{Admin, AdminError};

/// How much of a call somebody may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// All of it: who decides, and who owns the home.
    Whole,
    /// What the trail keeps of its arguments: viewers.
    Redacted,
}

impl Sees {
    /// What an operator in this role sees.
    #[must_use]
    pub fn of(role: OperatorRole) -> Self {
        if role.may_decide() { Self::Whole } else { Self::Redacted }
    }
}

/// Finds out what has changed since a call was held: sentences that are safe to look at.
pub type SecondLook<'l> = &'l (dyn Fn(&Approval, HeldCall) -> Vec<String> + Sync);

/// The page of a held call. Every text in it but `approval` is escaped: it cannot move a cursor, change the direction
/// of reading, or hide a character. For HTML it must be escaped once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalPage {
    /// The call as it was held and how far it is; its texts are raw.
    pub approval: Approval,
    /// What its agent did before with the same action, in 30 days.
    pub before: Before,
    /// What it acts on: `POST /v1/refunds`, a tool's name.
    pub action: String,
    /// What will be sent.
    pub call: ShownCall,
    /// The credentials that are added.
    pub adds: Vec<AddedCredential>,
    /// The rule that wants people.
    pub rule: String,
    /// Where that rule stands: `policy.yaml:14`.
    pub rule_place: Option<String>,
    /// The part of its condition that decided, with the values; not for viewers.
    pub because: Option<String>,
    /// What the risk is made of.
    pub risk_parts: Option<String>,
    /// What the tool's server says of it, and what people should know of that.
    pub tool: Option<ShownTool>,
    /// What has changed since it was held and would keep a yes from being followed, a sentence each without its stop; only
    /// while it can be decided.
    pub changes: Vec<String>,
    /// The agent's own words.
    pub agent_says: Option<String>,
    /// The approval digest: 64 hexadecimal digits.
    pub digest: String,
}

/// What is shown of the tool that is called, as it is defined now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownTool {
    /// Its description.
    pub description: Option<String>,
    /// What has changed since it was pinned, and what should be looked at, a line each.
    pub notes: Vec<String>,
}

/// What is shown of the call itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShownCall {
    /// All that will be sent.
    Whole(WholeCall),
    /// The arguments as the trail keeps them, because the reader may see no more.
    Redacted(Option<ShownBody>),
    /// The same, because the call itself is not kept any more.
    Forgotten(Option<ShownBody>),
}

/// A call as it will be sent, but for what is added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeCall {
    /// The protocol's word: `POST`, `tools/call`.
    pub method: String,
    /// Where it goes: the full URL; of a service that is a child, its command. `None`: the service is gone.
    pub to: Option<String>,
    /// The headers that travel, in their order.
    pub headers: Vec<(String, String)>,
    /// The length of what is sent (bytes); of an MCP message, the whole message.
    pub bytes: u64,
    /// The body of a request; the parameters of an MCP message.
    pub body: ShownBody,
}

/// A credential that is added to the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedCredential {
    /// Its name.
    pub name: CredentialName,
    /// Its kind, where the service still declares it: `bearer`.
    pub kind: Option<&'static str>,
    /// The version that the decision is about.
    pub version: u64,
}

impl Admin {
    /// The page of the held call whose id starts with `start`, with or without `ap_`.
    ///
    /// # Errors
    /// [`AdminError::NoSuchApproval`], [`AdminError::SeveralApprovals`]; [`AdminError::CallUnseen`] when its sealed
    /// call is gone while it can still be decided, or does not open.
    pub async fn approval_page(
        &self,
        now: Timestamp,
        start: &str,
        vault: &Vault,
        sees: Sees,
        look: SecondLook<'_>,
    ) -> Result<ApprovalPage, AdminError> {
        let view = self.show_approval(now, start).await?;
        let (approval, before) = (view.approval, view.before);
        let services = self.store.load_services().await?;
        let service = services
            .iter()
            .map(|stored| &stored.service)
            .find(|service| service.name == approval.held.service);
        let sealed = self.store.held_call(&approval.held.id).await?;
        let mut page = ApprovalPage::of(approval, before, service, (vault, sees), sealed.as_deref())?;
        page.look_again(now, vault, sealed.as_deref(), look);
        page.tool = self.shown_tool(&page.approval).await?;
        Ok(page)
    }

    /// The tool that a held call is about, where anything is known of it.
    async fn shown_tool(&self, approval: &Approval) -> Result<Option<ShownTool>, AdminError> {
        let held = &approval.held;
        if held.method != "tools/call" {
            return Ok(None);
        }
        let view = match self.tools(held.service.as_str()).await {
            Ok(view) => view,
            Err(AdminError::NoSuchService { .. } | AdminError::NoTools(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(tool) = view.tools.iter().find(|tool| tool.tool.name == held.action) else {
            return Ok(None);
        };
        let mut notes = Vec::new();
        if let Some(why) = tool.held_back {
            notes.push(format!("{}: it is not sent", why.reason()));
        }
        for one in &tool.differences {
            let text = |text: &Option<String>| {
                text.as_deref().map_or("–".to_owned(), |text| format!("\"{}\"", escape_foreign(text)))
            };
            notes.push(format!("{}: {} → {}", escape_foreign(&one.path), text(&one.from), text(&one.to)));
        }
        notes.extend(tool.flags.iter().map(|flag| escape_foreign(&flag.to_string()).into_owned()));
        let description = tool.says("description").map(|text| escape_foreign(&text).into_owned());
        Ok(Some(ShownTool { description, notes }))
    }
}

impl ApprovalPage {
    /// Lays out what is known of a held call; `sealed` is the call itself, where it is still kept.
    ///
    /// # Errors
    /// [`AdminError::CallUnseen`].
    pub(super) fn of(
        approval: Approval,
        before: Before,
        service: Option<&Service>,
        (vault, sees): (&Vault, Sees),
        sealed: Option<&[u8]>,
    ) -> Result<Self, AdminError> {
        let held = &approval.held;
        let kept = || held.args.as_deref().map(|args| ShownBody::of(args.as_bytes(), true));
        let call = match (sees, sealed) {
            (Sees::Redacted, _) => ShownCall::Redacted(kept()),
            (Sees::Whole, Some(sealed)) => {
                let call = opened(&approval, vault, sealed).ok_or(AdminError::CallUnseen(held.id))?;
                ShownCall::Whole(whole(&call, &held.method, service))
            }
            (Sees::Whole, None) if approval.status.is_final() => ShownCall::Forgotten(kept()),
            (Sees::Whole, None) => return Err(AdminError::CallUnseen(held.id)),
        };
        let slots = service.map(|service| service.credentials.as_slice()).unwrap_or_default();
        let adds = held.credentials.iter().map(|(name, version)| AddedCredential {
            kind: slots.iter().find(|slot| slot.name == *name).map(|slot| slot.kind.word()),
            name: name.clone(),
            version: *version,
        });
        let safe = |text: &Option<String>| text.as_deref().map(|text| escape_foreign(text).into_owned());
        let mut digest = String::with_capacity(64);
        domain::audit::push_hex(&mut digest, &held.approval_digest);
        Ok(Self {
            action: escape_foreign(&held.action).into_owned(),
            call,
            adds: adds.collect(),
            rule: escape_foreign(held.rule.as_str()).into_owned(),
            rule_place: safe(&held.rule_place),
            because: safe(&held.because).filter(|_| sees == Sees::Whole),
            risk_parts: held.risk.as_ref().map(|risk| escape_foreign(&risk.parts).into_owned()),
            tool: None,
            changes: Vec::new(),
            agent_says: safe(&held.intent),
            digest,
            approval,
            before,
        })
    }

    /// Says what has changed, where somebody can still decide on it and its sealed call opens.
    pub(super) fn look_again(
        &mut self,
        now: Timestamp,
        vault: &Vault,
        sealed: Option<&[u8]>,
        look: SecondLook<'_>,
    ) {
        let sealed = sealed.filter(|_| self.decidable(now).is_ok());
        let call = sealed.and_then(|sealed| opened(&self.approval, vault, sealed));
        self.changes = call.map(|call| look(&self.approval, call)).unwrap_or_default();
    }

    /// Whether somebody can still decide on it at `now`.
    ///
    /// # Errors
    /// [`AdminError::NotDecidable`]: who ended it, how and when.
    pub fn decidable(&self, now: Timestamp) -> Result<(), AdminError> {
        super::decidable(&self.approval, now)
    }

    /// Whether an operator must say what became of it.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.approval.status == Status::Unknown
    }
}

/// The sealed call of this approval; `None` where it does not open.
fn opened(approval: &Approval, vault: &Vault, sealed: &[u8]) -> Option<HeldCall> {
    let held = &approval.held;
    let opened = vault.open_sealed(&Label::of_held_call(&held.agent, &held.id), sealed).ok()?;
    HeldCall::from_bytes(opened.reveal())
}

fn whole(call: &HeldCall, method: &str, service: Option<&Service>) -> WholeCall {
    let headers = call
        .headers
        .iter()
        .map(|(name, value)| (escape_foreign(name).into_owned(), escape_foreign_bytes(value)));
    let base = service.map(|service| match &service.upstream {
        Upstream::Http(http) => http.url.uri().to_string(),
        Upstream::Api(api) => api.http.url.uri().to_string().trim_end_matches('/').to_owned(),
        Upstream::Stdio(child) => child.command.join(" "),
    });
    let (method, to, body) = match &call.exchange {
        HeldExchange::Request { method, target, body } => {
            let json = |(name, value): &(String, Vec<u8>)| {
                name.eq_ignore_ascii_case("content-type")
                    && value.to_ascii_lowercase().windows(4).any(|part| part == b"json")
            };
            let body = ShownBody::of(body, call.headers.iter().any(json));
            (method.as_str(), base.map(|base| base + target), body)
        }
        HeldExchange::Message { body, .. } => (method, base, ShownBody::of_message(body)),
    };
    WholeCall {
        method: escape_foreign(method).into_owned(),
        to: to.map(|to| escape_foreign(&to).into_owned()),
        headers: headers.collect(),
        bytes: call.body().len() as u64,
        body,
    }
}
