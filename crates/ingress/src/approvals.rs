//! The approvals door: `/v1/approvals/{id}`, where an agent asks about a held call of its own, fetches its result, or
//! takes it back. Nothing is decided here, and nothing is sent.

use std::time::Duration;

use domain::{
    approval::Approval,
    names::ApprovalId,
    stop::{Refusal, Stop, Unreadable},
};
use http::{HeaderMap, HeaderValue, Method, Response, header};
use pipeline::{arrival::Caller, flow::Flow};
use serde_json::json;

use crate::{Knock, inquiry::Inquiry, repeatable::preferred_wait};

const PATH: &str = "/v1/approvals/";
/// The longest that a question waits for the end of a held call.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(crate) fn takes(path: &str) -> bool {
    parts(path).is_some()
}

/// The id as it was written, and whether the result is asked for.
fn parts(path: &str) -> Option<(&str, bool)> {
    let rest = path.strip_prefix(PATH)?;
    let (id, result) = rest.strip_suffix("/result").map_or((rest, false), |id| (id, true));
    (!id.is_empty() && !id.contains('/')).then_some((id, result))
}

pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    let inquiry = match Inquiry::of(&knock, "approvals") {
        Ok(inquiry) => inquiry,
        Err(response) => return *response,
    };
    let request = &knock.request;
    let (id, asks_for_result) = parts(request.uri().path()).unwrap_or_default();
    let wait = wait(request.uri().query(), request.headers());
    match (request.method(), asks_for_result) {
        (&Method::GET, false) => state(inquiry, id, wait).await,
        (&Method::GET, true) => result(inquiry, id, wait).await,
        (&Method::DELETE, false) => take_back(inquiry, id).await,
        (_, false) => inquiry.not_allowed("GET, DELETE"),
        (_, true) => inquiry.not_allowed("GET"),
    }
}

/// How far it is. Asking delivers nothing.
async fn state(mut inquiry: Inquiry, id: &str, wait: Result<Duration, Unreadable>) -> Response<Flow> {
    match awaited(&mut inquiry, id, wait.clone()).await {
        Ok(approval) => {
            let mut response = inquiry.told(&described(&approval));
            if approval.status.is_under_way() {
                // Whoever waits here need not wait elsewhere.
                let pause = if wait.is_ok_and(|wait| wait.is_zero()) { 20 } else { 1 };
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(pause));
            }
            response
        }
        Err(stop) => inquiry.stopped(&stop).await,
    }
}

/// The upstream's answer, or why there is none.
async fn result(mut inquiry: Inquiry, id: &str, wait: Result<Duration, Unreadable>) -> Response<Flow> {
    let stop = match awaited(&mut inquiry, id, wait).await {
        Ok(approval) if approval.status.is_under_way() => {
            inquiry.front.gateway.approvals.undecided(&approval).into()
        }
        Ok(approval) => inquiry.front.gateway.approvals.answer(&approval).await,
        Err(stop) => stop,
    };
    inquiry.stopped(&stop).await
}

async fn take_back(mut inquiry: Inquiry, id: &str) -> Response<Flow> {
    match cancelled(&mut inquiry, id).await {
        Ok(approval) => inquiry.told(&described(&approval)),
        Err(stop) => inquiry.stopped(&stop).await,
    }
}

async fn cancelled(inquiry: &mut Inquiry, id: &str) -> Result<Approval, Stop> {
    let (caller, id) = known(inquiry, id).await?;
    inquiry.front.gateway.approvals.cancel(&caller, &id).await
}

async fn awaited(
    inquiry: &mut Inquiry,
    id: &str,
    wait: Result<Duration, Unreadable>,
) -> Result<Approval, Stop> {
    let (caller, id) = known(inquiry, id).await?;
    let gateway = &inquiry.front.gateway;
    gateway.approvals.wait(&caller.agent.name, &id, wait?, gateway.stopping.clone()).await
}

/// Whoever may not know of an approval is told the same as of one that was never there.
async fn known(inquiry: &mut Inquiry, id: &str) -> Result<(Caller, ApprovalId), Stop> {
    let (caller, _) = inquiry.caller().await?;
    let id = ApprovalId::parse(id).ok_or(Refusal::NoSuchApproval)?;
    Ok((caller, id))
}

/// An approval in the words of the contract; the arguments stay where they are.
fn described(approval: &Approval) -> serde_json::Value {
    let held = &approval.held;
    let mut json = json!({
        "id": held.id.to_string(),
        "status": approval.status.as_str(),
        "call_id": held.call_id.to_string(),
        "service": held.service.as_str(),
        "action": held.action,
        "rule": held.rule.as_str(),
        "created_at": format!("{:.0}", held.created_at),
        "expires_at": approval.expires_at().map(|at| format!("{at:.0}")),
    });
    let no = approval.decisions.iter().rev().find(|decided| !decided.approve);
    let reason = no.and_then(|decided| decided.reason.as_deref());
    let reason = reason.or(approval.resolved.as_ref().map(|resolved| resolved.reason.as_str()));
    if let (Some(reason), Some(object)) = (reason, json.as_object_mut()) {
        object.insert("reason".into(), reason.into());
    }
    json
}

/// How long to wait: `?wait=20`, else `Prefer: wait=20` (RFC 7240 §4.3), at most a minute.
fn wait(query: Option<&str>, headers: &HeaderMap) -> Result<Duration, Unreadable> {
    let mut stated = query.unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("wait="));
    let wait = match (stated.next(), stated.next()) {
        (None, _) => preferred_wait(headers).unwrap_or_default(),
        (Some(seconds), None)
            if !seconds.is_empty() && seconds.bytes().all(|digit| digit.is_ascii_digit()) =>
        {
            // More digits than a number has are a long wait too.
            seconds.parse().map_or(WAIT_MAX, Duration::from_secs)
        }
        _ => return Err(Unreadable::Target("`wait` is a number of seconds, 0 to 60, once".into())),
    };
    Ok(wait.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_and_its_result_have_paths() {
        assert_eq!(parts("/v1/approvals/ap_7m2kd9q4xw"), Some(("ap_7m2kd9q4xw", false)));
        assert_eq!(parts("/v1/approvals/ap_7m2kd9q4xw/result"), Some(("ap_7m2kd9q4xw", true)));
        for path in ["/v1/approvals", "/v1/approvals/", "/v1/approvals/a/b", "/v1/approvals//result"] {
            assert_eq!(parts(path), None, "{path}");
        }
    }

    #[test]
    fn a_wait_is_a_number_and_bounded() {
        let mut prefers = HeaderMap::new();
        prefers.insert("prefer", "wait=7".parse().unwrap());
        for (query, headers, seconds) in [
            (None, HeaderMap::new(), 0),
            (Some("wait=20"), HeaderMap::new(), 20),
            (Some("a=b&wait=61"), HeaderMap::new(), 60),
            (Some("wait=99999999999999999999999"), HeaderMap::new(), 60),
            (None, prefers.clone(), 7),
            (Some("wait=3"), prefers, 3),
        ] {
            assert_eq!(wait(query, &headers), Ok(Duration::from_secs(seconds)), "{query:?}");
        }
        for query in ["wait=", "wait=-1", "wait=1.5", "wait=+1", "wait=1&wait=2"] {
            assert!(wait(Some(query), &HeaderMap::new()).is_err(), "{query}");
        }
    }
}
