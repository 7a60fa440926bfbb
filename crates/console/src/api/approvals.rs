//! Held calls. A decision names the digest of what was shown; viewers see what the trail keeps of the arguments.

use admin::{Sees, approval_json, page_json};
use domain::{
    approval::{Outcome, Status},
    names::{AgentName, ApprovalId},
};
use http::Response;
use pipeline::flow::Flow;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::ApprovalQuery;

use super::{
    AGENT, Listed, STATUS,
    page::{Wanted, approval_cursor, read_approval_cursor},
};
use crate::{answer, asked::Asked, problem::Problem};

/// A held call (contract §2).
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct ApprovalView(Value);

impl JsonSchema for ApprovalView {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ApprovalView".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A held call. `args` are redacted; `sends`, for who may decide, is all that will be sent, \
                            its texts escaped as people see them.",
            "required": ["id", "status", "agent", "service", "method", "action", "args", "digest", "rule", "risk",
                         "created_at", "expires_at", "quorum", "approved", "call_id"],
            "properties": {
                "id": { "type": "string", "pattern": "^ap_[0-9a-z]{10}$" },
                "status": { "type": "string", "enum": Status::ALL.map(Status::as_str) },
                "agent": { "type": "string" },
                "service": { "type": "string" },
                "method": { "type": "string" },
                "action": { "type": "string" },
                "args": true,
                "digest": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
                "rule": { "type": "string" },
                "rule_place": { "type": ["string", "null"] },
                "risk": { "type": ["number", "null"], "minimum": 0, "maximum": 1 },
                "call_id": { "type": "string" },
                "intent": { "type": ["string", "null"], "description": "The agent's own words." },
                "quorum": { "type": "integer", "minimum": 1 },
                "approved": { "type": "integer", "minimum": 0 },
                "created_at": { "type": "string", "format": "date-time" },
                "expires_at": { "type": "string", "format": "date-time" },
                "decided_by": { "type": "string" },
                "reason": { "type": ["string", "null"] },
                "decisions": { "type": "array", "items": { "type": "object" } },
                "result": { "type": "object" },
                "sends": { "type": "object" },
                "adds": { "type": "array", "items": { "type": "object" } },
                "changes": { "type": "array", "items": { "type": "string" },
                             "description": "What has changed since it was held: an approval would not be followed now." }
            }
        })
    }
}

/// A yes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApproveBody {
    /// The approval digest that was shown: 64 hexadecimal digits.
    digest: Hex32,
    reason: Option<String>,
}

/// A no.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DenyBody {
    /// The approval digest that was shown; without it, it is about the call of that id.
    digest: Option<Hex32>,
    /// Why; the agent is told.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

/// What became of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolveBody {
    outcome: OutcomeWord,
    /// How that is known.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

/// What became of a call.
#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OutcomeWord {
    /// It happened.
    Executed,
    /// It did not.
    Failed,
}

/// 32 bytes as hexadecimal digits.
pub(crate) struct Hex32([u8; 32]);

impl<'de> Deserialize<'de> for Hex32 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        digest(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom("a digest has 64 hexadecimal digits; take it from the approval")
        })
    }
}

impl JsonSchema for Hex32 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

/// Reads 64 hexadecimal digits in lower case.
pub(crate) fn digest(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
        *to = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

pub(crate) async fn list(asked: Asked) -> Result<Response<Flow>, Problem> {
    let wanted = Wanted::of(&asked)?;
    let (limit, before) = (wanted.limit(), wanted.cursor(read_approval_cursor)?);
    let agent = wanted.text(AGENT);
    // No agent has such a name.
    let Some(agent) = agent.as_deref().map(AgentName::parse).transpose().ok() else {
        return answer::ok(&Listed::<ApprovalView>::all(Vec::new()));
    };
    let status = wanted.text(STATUS).as_deref().and_then(Status::parse);
    let query = ApprovalQuery { status, agent, before };
    let mut found = asked.desk.admin.list_approvals(&query, limit + 1).await?;
    let more = u32::try_from(found.len()).is_ok_and(|found| found > limit);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = found.last().filter(|_| more).map(|last| approval_cursor(last.held.created_at, last.held.id));
    let items = found.iter().map(|approval| ApprovalView(approval_json(approval))).collect();
    answer::ok(&Listed { items, next })
}

pub(crate) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let id = asked.part("id").to_owned();
    shown(&asked, &id).await
}

pub(crate) async fn approve(asked: Asked) -> Result<Response<Flow>, Problem> {
    let ApproveBody { digest: Hex32(digest), reason } = asked.json()?;
    let (id, operator) = (id(&asked).await?, &asked.who()?.operator);
    let admin = &asked.desk.admin;
    admin.approve(operator, asked.now.wall, &id, &digest, reason.as_deref()).await?;
    shown(&asked, id.as_str()).await
}

pub(crate) async fn deny(asked: Asked) -> Result<Response<Flow>, Problem> {
    let DenyBody { digest, reason } = asked.json()?;
    let (id, operator) = (id(&asked).await?, &asked.who()?.operator);
    let digest = digest.map(|Hex32(digest)| digest);
    asked.desk.admin.deny(operator, asked.now.wall, &id, digest.as_ref(), &reason).await?;
    shown(&asked, id.as_str()).await
}

pub(crate) async fn resolve(asked: Asked) -> Result<Response<Flow>, Problem> {
    let ResolveBody { outcome, reason } = asked.json()?;
    let (id, operator) = (id(&asked).await?, &asked.who()?.operator);
    let outcome = match outcome {
        OutcomeWord::Executed => Outcome::Executed,
        OutcomeWord::Failed => Outcome::Failed,
    };
    asked.desk.admin.resolve(operator, asked.now.wall, &id, outcome, &reason).await?;
    shown(&asked, id.as_str()).await
}

/// The whole id of the start that stands in the path.
async fn id(asked: &Asked) -> Result<ApprovalId, Problem> {
    let start = asked.part("id");
    match ApprovalId::parse(start) {
        Some(id) => Ok(id),
        None => Ok(asked.desk.admin.show_approval(asked.now.wall, start).await?.approval.held.id),
    }
}

async fn shown(asked: &Asked, id: &str) -> Result<Response<Flow>, Problem> {
    let (desk, sees) = (&asked.desk, Sees::of(asked.who()?.operator.role()));
    let (now, look) = (asked.now.wall, asked.second_look());
    let page = desk.admin.approval_page(now, id, &desk.vault, sees, &look).await?;
    answer::ok(&ApprovalView(page_json(&page)))
}
