//! The trail: listed, shown by call, exported, verified.

use admin::{Admin, CallEnd, CallFilter};
use bytes::Bytes;
use domain::audit::{ResultWord, push_hex};
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use jiff::Timestamp;
use pipeline::flow::{Broken, Flow};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::value::RawValue;
use store::EventRow;

use super::{ACTION, AGENT, DECISION, FORMAT, Listed, SERVICE, SINCE, TEXT, UNTIL, page::Wanted};
use crate::{Desk, answer, asked::Asked, problem::Problem};

/// One event, to the byte as it was hashed, with its hash as the last member (contract §7).
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct EventView(Box<RawValue>);

impl JsonSchema for EventView {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventView".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "One event of the trail. Members that do not apply are left out.",
            "required": ["seq", "writer", "prev", "at", "kind", "hash"],
            "properties": {
                "seq": { "type": "integer" },
                "writer": { "type": "string" },
                "prev": { "type": "string" },
                "at": { "type": "string", "format": "date-time" },
                "kind": { "type": "string", "enum": domain::audit::Kind::ALL.map(domain::audit::Kind::as_str) },
                "result": { "type": "string", "enum": ResultWord::ALL.map(ResultWord::as_str) },
                "call_id": { "type": "string" },
                "agent": { "type": "string" },
                "key_id": { "type": "string" },
                "role": { "type": "string" },
                "service": { "type": "string" },
                "method": { "type": "string" },
                "action": { "type": "string" },
                "decision": { "type": "object" },
                "args": true,
                "digest": { "type": "string" },
                "approval_id": { "type": "string" },
                "operator": { "type": "string" },
                "status": { "type": "integer" },
                "error": { "type": "object" },
                "bytes": { "type": "integer" },
                "latency_ms": { "type": "number" },
                "count": { "type": "integer" },
                "hash": { "type": "string" }
            }
        })
    }
}

/// Whether the trail holds.
#[derive(Serialize, JsonSchema)]
pub(crate) struct VerificationView {
    ok: bool,
    /// How many events hold, up to the first that does not.
    events: u64,
    chains: u64,
    /// The newest event that holds; a copy kept elsewhere shows a cut tail.
    newest: Option<NewestView>,
    first_broken: Option<BrokenView>,
}

/// The end of a chain.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewestView {
    writer: String,
    seq: i64,
    hash: String,
}

/// Where a chain breaks.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BrokenView {
    writer: String,
    seq: i64,
    why: String,
}

pub(crate) async fn list(asked: Asked) -> Result<Response<Flow>, Problem> {
    let wanted = Wanted::of(&asked)?;
    let before =
        wanted.cursor(|text| text.parse::<i64>().ok().filter(|seq| *seq > 0 && seq.to_string() == text))?;
    let (now, limit) = (asked.now.wall, wanted.limit() as usize);
    let filter = filter(&wanted);
    let events = |admin: Admin| async move { admin.events(now, &filter, before, limit).await };
    let (events, next) = asked.desk.searches.ask(events).await?;
    answer::ok(&Listed { items: views(&events)?, next: next.map(|next| next.to_string()) })
}

pub(crate) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let events = asked.desk.admin.call(asked.part("call")).await?;
    answer::ok(&Listed::all(views(&events)?))
}

pub(crate) async fn verify(asked: Asked) -> Result<Response<Flow>, Problem> {
    let Ok(_one) = asked.desk.verifying.try_acquire() else {
        return Err(Problem::unavailable(
            "the trail is being verified for somebody else; repeat in a moment",
        ));
    };
    let verify = |admin: Admin| async move { admin.verify_trail().await };
    let found = asked.desk.searches.ask_aside(verify).await?;
    let newest = found.newest.map(|newest| {
        let mut hash = String::with_capacity(64);
        push_hex(&mut hash, &newest.hash);
        NewestView { writer: newest.writer, seq: newest.seq, hash }
    });
    let first_broken = found.first_broken.map(|broken| BrokenView {
        writer: broken.writer,
        seq: broken.seq,
        why: broken.why,
    });
    answer::ok(&VerificationView {
        ok: found.ok,
        events: found.events,
        chains: found.chains,
        newest,
        first_broken,
    })
}

/// Everything that fits, as it is read: a long trail is never in memory.
pub(crate) async fn export(asked: Asked) -> Result<Response<Flow>, Problem> {
    let wanted = Wanted::of(&asked)?;
    let csv = wanted.text(FORMAT).as_deref() == Some("csv");
    let filter = filter(&wanted);
    let (media, name) = match csv {
        true => ("text/csv; charset=utf-8; header=present", "attachment; filename=\"toolgate-trail.csv\""),
        false => ("application/jsonl; charset=utf-8", "attachment; filename=\"toolgate-trail.jsonl\""),
    };
    // What is appended while it is written is not in it.
    let end = asked.desk.admin.newest_event().await?;
    let begin = Export { after: Some(0), head: csv };
    let (desk, now) = (asked.desk.clone(), asked.now.wall);
    let chunks = stream::try_unfold(begin, move |state| {
        let (desk, filter) = (desk.clone(), filter.clone());
        async move { state.next(&desk, now, &filter, end, csv).await }
    });
    let mut response = Response::new(StreamBody::new(chunks).boxed_unsync());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    Ok(response)
}

/// How far an export is.
struct Export {
    /// Going on begins behind this event; `None`: it is over.
    after: Option<i64>,
    /// Whether the head of the table is still to be written.
    head: bool,
}

impl Export {
    /// The next lines.
    async fn next(
        self,
        desk: &Desk,
        now: Timestamp,
        filter: &CallFilter,
        end: i64,
        csv: bool,
    ) -> Result<Option<(Frame<Bytes>, Self)>, Broken> {
        let Some(mut after) = self.after else { return Ok(None) };
        let mut text = if self.head { admin::csv_head() } else { String::new() };
        loop {
            let filter = filter.clone();
            let piece = |admin: Admin| async move {
                let found = admin.export(now, &filter, after, end).await?;
                Ok((lines(&found.events, csv), found.next))
            };
            let found = desk.searches.ask(piece).await;
            let (lines, next) = found.map_err(|problem| Broken::Upstream(problem.detail.to_string()))?;
            text.push_str(&lines);
            match next {
                // Little was found: an empty piece would tell nobody anything.
                Some(next) if text.is_empty() => after = next,
                next => return Ok(Some((Frame::data(text.into()), Self { after: next, head: false }))),
            }
        }
    }
}

fn lines(events: &[EventRow], csv: bool) -> String {
    let mut lines = String::new();
    for event in events {
        match csv {
            true => lines.push_str(&admin::csv_line(event)),
            false => {
                lines.push_str(&event.json());
                lines.push('\n');
            }
        }
    }
    lines
}

/// The one filter of the trail, for lists and exports.
fn filter(wanted: &Wanted) -> CallFilter {
    CallFilter {
        agent: wanted.text(AGENT),
        service: wanted.text(SERVICE),
        action: wanted.text(ACTION),
        end: wanted.text(DECISION).as_deref().and_then(CallEnd::parse),
        text: wanted.text(TEXT),
        since: wanted.time(SINCE),
        until: wanted.time(UNTIL),
    }
}

fn views(events: &[EventRow]) -> Result<Vec<EventView>, Problem> {
    let view = |event: &EventRow| {
        RawValue::from_string(event.json()).map(EventView).map_err(|_| {
            Problem::internal("an event of the trail cannot be read; look at: toolgate audit verify")
        })
    };
    events.iter().map(view).collect()
}
