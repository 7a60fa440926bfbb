//! The trail as people read it: one row a call, its events inside, page by page. It changes nothing.

use std::collections::{HashMap, HashSet};

use domain::audit::{CONSOLE, Kind, write_json_string};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use store::{EventRow, OfCall, Order, Query, Verification};

use crate::{Admin, AdminError};

/// How many events one page looks at. What is further back takes another page: no question takes longer because the
/// trail is long.
const LOOK_MAX: i64 = 40_000;
/// The same for events that need not be read for it.
const LIST_MAX: i64 = 50_000;
/// The same for a text, which every event has to be read for.
const READ_MAX: i64 = 14_000;
/// The same for calls whose end no column tells: each has to be read whole.
const WHOLE_MAX: i64 = 6_000;
/// How many events are read at once.
const READ: u32 = 256;
/// How many events one question to the store looks at. While it is asked, a log of writes cannot begin anew and grows.
const STRIDE: i64 = 4_000;
/// Events of one moment may stand in another order than their times.
const DISORDER: i64 = 2_000;
/// An intent without an outcome is under way for so long at most; after that its outcome is lost.
const UNDER_WAY_MAX: SignedDuration = SignedDuration::from_secs(120);

/// How a call stands, or what else an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallEnd {
    /// The upstream answered.
    Forwarded,
    /// People approved it, and the upstream answered.
    Approved,
    /// It waits for people.
    Held,
    /// People denied it, or nobody came in time, or its agent took it back.
    Denied,
    /// We said no.
    Refused,
    /// There were too many.
    Limited,
    /// Its answer was given again.
    Replayed,
    /// The upstream failed.
    UpstreamError,
    /// We failed.
    Fault,
    /// It is being sent.
    UnderWay,
    /// It was sent, and its outcome was lost.
    Unknown,
    /// No call: an operator changed something.
    Changed,
    /// No call: the gateway about itself.
    System,
}

impl CallEnd {
    /// All that can be asked for, with the word of the filter.
    pub const WORDS: [(&'static str, Self); 13] = [
        ("forwarded", Self::Forwarded),
        ("executed-approved", Self::Approved),
        ("held", Self::Held),
        ("denied", Self::Denied),
        ("refused", Self::Refused),
        ("rate-limited", Self::Limited),
        ("replayed", Self::Replayed),
        ("upstream-error", Self::UpstreamError),
        ("fault", Self::Fault),
        ("under-way", Self::UnderWay),
        ("unknown", Self::Unknown),
        ("changed", Self::Changed),
        ("system", Self::System),
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, end)| *end == self).map_or("", |(word, _)| word)
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, end)| end)
    }

    /// What the trail's own columns can tell of it beforehand: kind and result.
    fn columns(self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Self::Forwarded => (None, Some("forwarded")),
            Self::Approved => (None, Some("executed-approved")),
            // Approved by some of several, it still waits; but it was held first.
            Self::Held => (Some("held"), None),
            Self::Denied => (Some("decision"), None),
            Self::Refused | Self::Limited => (None, Some("refused")),
            Self::Replayed => (None, Some("replayed")),
            Self::UpstreamError => (None, Some("upstream-error")),
            Self::Fault => (None, Some("fault")),
            Self::UnderWay | Self::Unknown => (Some("intent"), None),
            Self::Changed => (Some("operator"), None),
            Self::System => (Some("system"), None),
        }
    }
}

/// What is looked for. What is left out filters nothing.
#[derive(Debug, Clone, Default)]
pub struct CallFilter {
    /// Of this agent.
    pub agent: Option<String>,
    /// At this service.
    pub service: Option<String>,
    /// With this action, exactly.
    pub action: Option<String>,
    /// That stand so.
    pub end: Option<CallEnd>,
    /// With this in one of their records; letters of either case.
    pub text: Option<String>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

impl CallFilter {
    /// Whether all of a call must be known to tell whether one of its events fits.
    #[must_use]
    pub fn is_of_whole_calls(&self) -> bool {
        self.end.is_some() || self.text.is_some()
    }

    /// What the trail's own columns can tell of every event that fits.
    #[must_use]
    pub fn columns(&self) -> Query {
        Query {
            agent: self.agent.clone(),
            service: self.service.clone(),
            action: self.action.clone(),
            since: self.since,
            until: self.until,
            ..Query::default()
        }
    }
}

/// One call, or one change.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRow {
    /// Its place in the trail: its newest event that fits.
    pub seq: i64,
    /// When its newest event happened.
    pub at: Timestamp,
    /// The call; a change has none.
    pub call_id: Option<String>,
    /// How it stands.
    pub end: CallEnd,
    /// Who called; of a change, who made it; of a request that the console denied, who or from where. Raw, as all texts here.
    pub who: Option<String>,
    /// Which service.
    pub service: Option<String>,
    /// What was called, or changed.
    pub action: Option<String>,
    /// The rule that decided, or the reason, in few words.
    pub why: Option<String>,
    /// The HTTP status that was answered.
    pub status: Option<u16>,
    /// From arrival to the end of the answer (ms).
    pub latency_ms: Option<f64>,
    /// How many equal refusals it stands for.
    pub count: u64,
}

/// Some calls, the newest first, and where to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct CallsPage {
    /// The calls.
    pub rows: Vec<CallRow>,
    /// Going on begins before this event; `None`: there is nothing further back.
    pub next: Option<i64>,
    /// How many events were looked at, where the page ended for that and not because it was full.
    pub gave_up: Option<u64>,
}

/// Some events of an export, the oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The events; there may be none here and more further on.
    pub events: Vec<EventRow>,
    /// Going on begins behind this event; `None`: that was all.
    pub next: Option<i64>,
}

/// The parts of a record that people are shown.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Record {
    /// The chain.
    #[serde(default)]
    pub writer: String,
    /// The hash of the event before, in hexadecimal digits.
    #[serde(default)]
    pub prev: String,
    /// The key's public part.
    pub key_id: Option<String>,
    /// The agent's role.
    pub role: Option<String>,
    /// The protocol's word.
    pub method: Option<String>,
    /// What was decided.
    pub decision: Option<RecordedDecision>,
    /// The arguments, redacted.
    pub args: Option<Box<serde_json::value::RawValue>>,
    /// The digest.
    pub digest: Option<String>,
    /// The approval.
    pub approval_id: Option<String>,
    /// The operator.
    pub operator: Option<String>,
    /// How it ended.
    pub result: Option<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<RecordedError>,
    /// Bytes of the answer.
    pub bytes: Option<u64>,
    /// From arrival to the end of the answer (ms).
    pub latency_ms: Option<f64>,
    /// How many equal refusals it stands for.
    pub count: Option<u64>,
}

/// What a record says of a decision.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RecordedDecision {
    /// The gate's number.
    pub gate: u16,
    /// `allow`, `hold`, `deny`.
    pub effect: String,
    /// The rule.
    pub rule: Option<String>,
    /// Why.
    pub reason: String,
    /// The risk.
    pub risk: Option<f64>,
    /// The policy.
    pub policy_hash: Option<String>,
}

/// What a record says of a fault.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RecordedError {
    /// The code.
    pub code: String,
    /// Words for operators.
    pub message: String,
}

impl Record {
    /// Reads the parts of an event's record; a damaged record has none.
    #[must_use]
    pub fn of(event: &EventRow) -> Self {
        serde_json::from_str(&event.rec).unwrap_or_default()
    }

    /// The rule that decided, or the reason, in few words.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        // A rule may have allowed what then failed.
        let has_failed = self.result.as_deref() == Some("fault");
        let (decision, error) = (&self.decision, &self.error);
        let decision = match (decision, error) {
            (Some(decision), error) if !has_failed || error.is_none() => decision,
            (_, error) => return error.as_ref().map(|error| error.code.clone()),
        };
        Some(match &decision.rule {
            // `roles.user.allow[0]` of the row's own agent needs no more than its end.
            Some(rule) if rule.starts_with("roles.") => rule.rsplit('.').next().unwrap_or(rule).to_owned(),
            Some(rule) => rule.clone(),
            None if decision.reason.starts_with("silence") => "silence".to_owned(),
            None => decision.reason.clone(),
        })
    }

    /// Whether the event is a denied request to the console, which is no call. Methods of calls are their callers' choice, and
    /// a call has an id.
    #[must_use]
    pub fn is_denial_at_console(&self, event: &EventRow) -> bool {
        event.call_id.is_none() && self.method.as_deref() == Some(CONSOLE)
    }

    /// The address that a denied request to the console came from.
    fn came_from(&self) -> Option<String> {
        let args: serde_json::Value = serde_json::from_str(self.args.as_ref()?.get()).ok()?;
        Some(args.get("from")?.as_str()?.to_owned())
    }

    /// How a call stands whose newest event this is.
    #[must_use]
    pub fn end(&self, event: &EventRow, now: Timestamp) -> CallEnd {
        let effect = self.decision.as_ref().map(|decision| decision.effect.as_str());
        match (Kind::parse(&event.kind), event.result.as_deref()) {
            (_, Some("forwarded")) => CallEnd::Forwarded,
            (_, Some("executed-approved")) => CallEnd::Approved,
            (_, Some("replayed")) => CallEnd::Replayed,
            (_, Some("upstream-error")) => CallEnd::UpstreamError,
            // An approved call whose answer was lost has an event that says so.
            (_, Some("fault"))
                if self.error.as_ref().is_some_and(|error| error.code == "outcome-unknown") =>
            {
                CallEnd::Unknown
            }
            (_, Some("fault")) => CallEnd::Fault,
            (_, Some("refused")) if self.status == Some(429) => CallEnd::Limited,
            (_, Some("refused")) => CallEnd::Refused,
            (Some(Kind::Held), _) | (_, Some("held")) => CallEnd::Held,
            (Some(Kind::Decision), _) if effect == Some("deny") => CallEnd::Denied,
            (Some(Kind::Decision), _) => CallEnd::Held,
            (Some(Kind::Intent), _) if now.duration_since(event.at) < UNDER_WAY_MAX => CallEnd::UnderWay,
            (Some(Kind::Operator), _) => CallEnd::Changed,
            (Some(Kind::System), _) => CallEnd::System,
            _ => CallEnd::Unknown,
        }
    }
}

impl Admin {
    /// Calls that fit, the newest first, at most `limit`; `before` is the `next` of the page before.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn calls(
        &self,
        now: Timestamp,
        filter: &CallFilter,
        before: Option<i64>,
        limit: usize,
    ) -> Result<CallsPage, AdminError> {
        let mut end = self.store.newest_seq().await?.saturating_add(1).min(before.unwrap_or(i64::MAX));
        if let Some(until) = filter.until {
            end = end.min(self.store.seq_at(until).await?.saturating_add(DISORDER));
        }
        // What is older is not under way any more.
        let young = (filter.end == Some(CallEnd::UnderWay)).then(|| now.checked_sub(UNDER_WAY_MAX).ok());
        let oldest = match filter.since.max(young.flatten()) {
            Some(since) => self.store.seq_at(since).await?.saturating_sub(DISORDER).max(1),
            None => 1,
        };
        let looks = match filter.end {
            Some(CallEnd::Unknown) => WHOLE_MAX,
            _ if filter.text.is_some() => READ_MAX,
            _ => LOOK_MAX,
        };
        let bottom = end.saturating_sub(looks).max(oldest);
        let text = filter.text.as_deref().map(as_recorded);
        let mut page = CallsPage { rows: Vec::new(), next: None, gave_up: None };
        let mut cursor = end;
        while cursor > bottom {
            let stop = cursor.saturating_sub(STRIDE).max(bottom);
            let events = self.store.events(&query(filter, stop, cursor)).await?;
            let full = events.len() == READ as usize;
            let last = events.last().map(|event| event.seq);
            let fitting: Vec<EventRow> =
                events.into_iter().filter(|event| has(event, text.as_deref())).collect();
            let kind = filter.end.and_then(|end| end.columns().0);
            let wholes = self.wholes_of(&fitting, kind, text.as_deref()).await?;
            for event in fitting {
                let whole = event.call_id.as_ref().and_then(|id| wholes.get(id));
                // Of a call only its newest event of that kind that has the text makes a row.
                if whole.is_some_and(|whole| whole.fits != event.seq) {
                    continue;
                }
                let Some(row) = row(&event, whole, filter, now) else { continue };
                if page.rows.len() == limit {
                    page.next = page.rows.last().map(|row| row.seq);
                    return Ok(page);
                }
                page.rows.push(row);
            }
            cursor = last.filter(|_| full).unwrap_or(stop);
        }
        if bottom > oldest {
            (page.next, page.gave_up) = (Some(bottom), u64::try_from(looks).ok());
        }
        Ok(page)
    }

    /// The next events of an export: those between `after` and `end` that fit, and whose call stands so and has the
    /// text in one of its records, where that is asked for. It looks at few events, so that whoever writes them down
    /// sets the pace.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn export(
        &self,
        now: Timestamp,
        filter: &CallFilter,
        after: i64,
        end: i64,
    ) -> Result<Exported, AdminError> {
        let query = Query {
            after: Some(after),
            before: Some(end.saturating_add(1)),
            limit: Some(READ),
            order: Order::OldestFirst,
            ..filter.columns()
        };
        let mut events = self.store.events(&query).await?;
        let next = events.last().filter(|_| events.len() == READ as usize).map(|last| last.seq);
        self.retain_fitting(now, filter, &mut events).await?;
        Ok(Exported { events, next })
    }

    /// Leaves those events whose call stands so and has the text in one of its records, where that is asked for.
    async fn retain_fitting(
        &self,
        now: Timestamp,
        filter: &CallFilter,
        events: &mut Vec<EventRow>,
    ) -> Result<(), AdminError> {
        if !filter.is_of_whole_calls() {
            return Ok(());
        }
        let text = filter.text.as_deref().map(as_recorded);
        let wholes = self.wholes_of(events, None, text.as_deref()).await?;
        events.retain(|event| {
            let whole = event.call_id.as_ref().and_then(|id| wholes.get(id));
            let newest = whole.and_then(|whole| whole.events.last()).unwrap_or(event);
            let has_text = whole.map_or_else(|| has(event, text.as_deref()), |whole| whole.fits > 0);
            has_text && filter.end.is_none_or(|end| Record::of(newest).end(newest, now) == end)
        });
        Ok(())
    }

    /// All that is known of these events' calls.
    async fn wholes_of(
        &self,
        events: &[EventRow],
        kind: Option<&str>,
        text: Option<&str>,
    ) -> Result<HashMap<String, Whole>, AdminError> {
        let ids: HashSet<String> = events.iter().filter_map(|event| event.call_id.clone()).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let mut wholes: HashMap<String, Whole> = HashMap::new();
        for event in self.store.events_of_calls(&ids).await? {
            let Some(id) = event.call_id.clone() else { continue };
            let whole = wholes.entry(id).or_default();
            if kind.is_none_or(|kind| kind == event.kind) && has(&event, text) {
                whole.fits = event.seq;
            }
            whole.events.push(event);
        }
        Ok(wholes)
    }

    /// The events of the call whose id starts with `start`.
    ///
    /// # Errors
    /// [`AdminError::NoSuchCall`].
    pub async fn call(&self, start: &str) -> Result<Vec<EventRow>, AdminError> {
        match self.store.events_of_call(start).await? {
            OfCall::One(events) => Ok(events),
            OfCall::None | OfCall::Several(_) => {
                Err(AdminError::NoSuchCall(start.chars().take(16).flat_map(char::escape_default).collect()))
            }
        }
    }

    /// Events that fit, the newest first, at most `limit`, and before which one to go on; `None`: nothing is further back.
    /// They are those of an [`export`](Self::export) with the same filter. A page looks at 50,000 events at most, at 14,000
    /// where it asks about whole calls.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn events(
        &self,
        now: Timestamp,
        filter: &CallFilter,
        before: Option<i64>,
        limit: usize,
    ) -> Result<(Vec<EventRow>, Option<i64>), AdminError> {
        let (looks, read) = match filter.is_of_whole_calls() {
            true => (READ_MAX, READ),
            false => (LIST_MAX, READ.min(u32::try_from(limit).unwrap_or(READ))),
        };
        let mut cursor = self.store.newest_seq().await?.saturating_add(1).min(before.unwrap_or(i64::MAX));
        let bottom = cursor.saturating_sub(looks).max(1);
        let mut found = Vec::new();
        while cursor > bottom {
            let stop = cursor.saturating_sub(STRIDE).max(bottom);
            let query = Query {
                after: Some(stop.saturating_sub(1)),
                before: Some(cursor),
                limit: Some(read),
                order: Order::NewestFirst,
                ..filter.columns()
            };
            let mut events = self.store.events(&query).await?;
            let last = events.last().filter(|_| events.len() == read as usize).map(|last| last.seq);
            self.retain_fitting(now, filter, &mut events).await?;
            events.truncate(limit - found.len());
            found.append(&mut events);
            if found.len() >= limit {
                let next = found.last().map(|event| event.seq);
                return Ok((found, next.filter(|next| *next > 1)));
            }
            cursor = last.unwrap_or(stop);
        }
        Ok((found, Some(bottom).filter(|next| *next > 1)))
    }

    /// Events behind this one that fit, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn events_after(
        &self,
        filter: &Query,
        after: i64,
        limit: u32,
    ) -> Result<Vec<EventRow>, AdminError> {
        let query =
            Query { after: Some(after), limit: Some(limit), order: Order::OldestFirst, ..filter.clone() };
        Ok(self.store.events(&query).await?)
    }

    /// The number of the newest event; 0 where there is none.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn newest_event(&self) -> Result<i64, AdminError> {
        Ok(self.store.newest_seq().await?)
    }

    /// Checks every hash and link of the trail. Takes seconds where there are millions of events.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn verify_trail(&self) -> Result<Verification, AdminError> {
        Ok(self.store.verify(|_, _| ()).await?)
    }
}

/// The events of a call, in their order.
#[derive(Default)]
struct Whole {
    /// The newest of them that is of the kind and has the text that is looked for.
    fits: i64,
    events: Vec<EventRow>,
}

impl Whole {
    fn first<T>(&self, pick: impl Fn(&EventRow) -> Option<T>) -> Option<T> {
        self.events.iter().find_map(pick)
    }
}

fn query(filter: &CallFilter, bottom: i64, cursor: i64) -> Query {
    let (kind, result) = filter.end.map(CallEnd::columns).unwrap_or_default();
    Query {
        kind: kind.map(str::to_owned),
        result: result.map(str::to_owned),
        after: Some(bottom.saturating_sub(1)),
        before: Some(cursor),
        limit: Some(READ),
        order: Order::NewestFirst,
        ..filter.columns()
    }
}

fn row(event: &EventRow, whole: Option<&Whole>, filter: &CallFilter, now: Timestamp) -> Option<CallRow> {
    let newest = whole.and_then(|whole| whole.events.last()).unwrap_or(event);
    let record = Record::of(newest);
    let end = record.end(newest, now);
    let wanted = match filter.end {
        Some(wanted) => end == wanted,
        // What is no call stands among the calls only for who asks for it. So does what strangers sent to the console.
        None => !matches!(end, CallEnd::Changed | CallEnd::System) && !record.is_denial_at_console(newest),
    };
    if !wanted {
        return None;
    }
    // Only the first event of a call knows why it was let through.
    let denied = record.is_denial_at_console(newest).then_some(record.error.as_ref()).flatten();
    let known = |pick: fn(&EventRow) -> Option<String>| {
        pick(newest).or_else(|| whole.and_then(|whole| whole.first(pick)))
    };
    Some(CallRow {
        seq: event.seq,
        at: newest.at,
        call_id: newest.call_id.clone(),
        end,
        who: match end {
            CallEnd::Changed => record.operator.clone(),
            // Who was denied something at the console, or from where.
            _ if denied.is_some() => record.operator.clone().or_else(|| record.came_from()),
            _ => known(|event| event.agent.clone()),
        },
        service: known(|event| event.service.clone()),
        action: known(|event| event.action.clone()).or_else(|| record.method.clone()),
        why: denied
            .map(|error| error.message.clone())
            .or_else(|| record.why())
            .or_else(|| whole.and_then(|whole| whole.first(|event| Record::of(event).why()))),
        status: record.status,
        latency_ms: record.latency_ms,
        count: record.count.unwrap_or(1),
    })
}

/// A text as it stands in a record, in small letters.
fn as_recorded(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 2);
    write_json_string(&mut escaped, text);
    let inner = escaped.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(&escaped).to_lowercase()
}

/// Whether the text stands in the record; letters of either case.
fn has(event: &EventRow, text: Option<&str>) -> bool {
    text.is_none_or(|text| event.rec.to_lowercase().contains(text))
}
