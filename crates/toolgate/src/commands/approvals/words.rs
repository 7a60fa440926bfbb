//! What is said of a held call in few words: how far it is, how long it has, how it ended. Pure functions.

use domain::{
    approval::{Approval, Outcome, Status},
    operator::Email,
};
use jiff::Timestamp;

use crate::output::{age, escape_foreign};

/// A length of time up to `now`, whole seconds: `9 s`, `2 min`, `23 h 58 min`.
pub fn since(at: Timestamp, now: Timestamp) -> String {
    whole(now.duration_since(at).try_into().unwrap_or_default())
}

/// A length of time from `now` on.
pub fn left(until: Timestamp, now: Timestamp) -> String {
    whole(until.duration_since(now).try_into().unwrap_or_default())
}

fn whole(length: std::time::Duration) -> String {
    match length.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => age(length),
    }
}

/// `1 of 2`, where more than one operator must approve.
pub fn progress(approval: &Approval) -> Option<String> {
    let quorum = approval.held.quorum.get();
    let approved = approval.decisions.iter().filter(|decided| decided.approve).count();
    (quorum > 1).then(|| format!("{approved} of {quorum}"))
}

/// `big refunds, 1 of 2, by you`.
pub fn rule(approval: &Approval, reader: Option<&Email>) -> String {
    let mut text = escape_foreign(approval.held.rule.as_str()).into_owned();
    if let Some(progress) = progress(approval) {
        text.push_str(&format!(", {progress}"));
    }
    if approval.decisions.iter().any(|decided| decided.approve && Some(&decided.operator) == reader) {
        text.push_str(", by you");
    }
    text
}

/// `0.30`; nothing where the risk was not assessed.
pub fn risk(approval: &Approval) -> String {
    approval.held.risk.as_ref().map(|risk| risk.score.to_string()).unwrap_or_default()
}

/// `pending · 0 of 2 · 23 h 58 min left`.
pub fn standing(approval: &Approval, now: Timestamp) -> String {
    let time = match (approval.status, approval.expires_at()) {
        (Status::Pending, Some(until)) if now < until => Some(format!("{} left", left(until, now))),
        (Status::Approved, Some(until)) if now < until => {
            Some(format!("{} left to execute it", left(until, now)))
        }
        (Status::Pending | Status::Approved, _) => Some("its time has passed".to_owned()),
        _ => None,
    };
    let parts = [Some(approval.status.to_string()), progress(approval), time];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// How it ended, or what happens next; nothing while people decide.
pub fn ending(approval: &Approval) -> Option<String> {
    if let Some(resolved) = &approval.resolved {
        let what = if approval.status == Status::Executed { Outcome::Executed } else { Outcome::Failed };
        let said = Some(resolved.reason.as_str()).filter(|reason| !reason.is_empty());
        let said = said.map(|reason| format!(": \"{}\"", escape_foreign(reason))).unwrap_or_default();
        return Some(format!("resolved as {} by {}{said}", outcome(what), resolved.operator));
    }
    Some(match approval.status {
        Status::Pending => return None,
        Status::Approved => "not executed yet: a running gateway does that".to_owned(),
        Status::Executing => "it is being sent".to_owned(),
        Status::Executed => executed(approval),
        Status::Failed if approval.is_void() => {
            "not sent: key, scope, policy or credential have changed since it was held".to_owned()
        }
        Status::Failed => executed(approval),
        Status::Denied => "nothing was sent".to_owned(),
        Status::Expired if approval.execute_by.is_some() => {
            "nobody executed it in time; nothing was sent".to_owned()
        }
        Status::Expired => "nobody decided in time; nothing was sent".to_owned(),
        Status::Cancelled if approval.is_withdrawn() => {
            "withdrawn, its agent could not be told that it is held; nothing was sent".to_owned()
        }
        Status::Cancelled => "taken back by its agent; nothing was sent".to_owned(),
        Status::Unknown => "it was sent and its answer was lost: it may have happened".to_owned(),
    })
}

/// The word for what an operator found out.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Executed => "executed",
        Outcome::Failed => "failed",
    }
}

/// `executed once: 200 in 118 ms, c_2h5tbn80ry6k`, `failed: 502 upstream-unreachable in 41 ms, c_…`.
fn executed(approval: &Approval) -> String {
    let verb = if approval.status == Status::Executed { "executed once" } else { "failed" };
    let took = approval
        .claimed_at
        .zip(approval.ended_at)
        .map(|(from, to)| format!("in {}", age(to.duration_since(from).try_into().unwrap_or_default())));
    let facts = [answer(approval), took].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let call = approval.executed_call.map(|call| format!(", {call}")).unwrap_or_default();
    format!("{verb}: {facts}{call}")
}

/// `200`, `502 upstream-unreachable`.
fn answer(approval: &Approval) -> Option<String> {
    let status = approval.http_status.map(|status| status.to_string());
    let code = approval.ended_with.as_deref().map(|code| escape_foreign(code).into_owned());
    let parts: Vec<String> = [status, code].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// `decided 9 s ago by grace@example.com: denied, "wrong folder"`: for a call that waits no more.
pub fn what_became(approval: &Approval, now: Timestamp) -> String {
    let ago = |at: Option<Timestamp>| at.map(|at| format!(" {} ago", since(at, now))).unwrap_or_default();
    match (approval.status, approval.decisions.last()) {
        (Status::Expired, _) => format!("expired{}: {}", ago(approval.ended_at), end(approval)),
        (Status::Cancelled, _) => format!("ended{}: {}", ago(approval.ended_at), end(approval)),
        (Status::Denied, Some(last)) => {
            let reason = last.reason.as_deref().map(|reason| format!(", \"{}\"", escape_foreign(reason)));
            let reason = reason.unwrap_or_default();
            format!("decided{} by {}: denied{reason}", ago(Some(last.at)), last.operator)
        }
        (_, Some(last)) => {
            format!("decided{} by {}: approved, {}", ago(Some(last.at)), last.operator, end(approval))
        }
        (status, None) => status.to_string(),
    }
}

fn end(approval: &Approval) -> String {
    ending(approval).unwrap_or_default()
}

/// A reason in quotes behind a colon; nothing where there is none.
pub fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": \"{}\"", escape_foreign(reason))).unwrap_or_default()
}
