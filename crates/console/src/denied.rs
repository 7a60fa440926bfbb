//! Requests that were denied because of who sent them are recorded in the trail: who, from where, what, and why
//! (decision 0039).

use std::borrow::Cow;

use domain::audit::{CONSOLE, Event, Kind, ResultWord};
use http::{Method, StatusCode, header};
use pipeline::recorder::Recorder;
use serde_json::json;

use crate::{asked::Asked, cookies, problem::Problem};

/// Queues the event, where the problem is a denial. Floods are counted by the writer, as those of calls are. When even the
/// queue is full, only the log has it: a denial forwards nothing that would have to wait for its record.
pub(crate) fn record(asked: &Asked, problem: &Problem) {
    let Some(why) = problem.denied.as_deref() else { return };
    if leads_to_login(asked, problem) {
        return;
    }
    // The route, not the path: what a stranger asks for must not choose what the trail says.
    let route = asked.route.map_or("–", |route| route.path);
    let mut event = Event::new(asked.now.wall, Kind::Refusal);
    event.result = Some(ResultWord::Refused);
    event.method = Some(CONSOLE.into());
    event.action = Some(format!("{} {route}", asked.route.map_or("–", |route| route.method.as_str())).into());
    event.operator = asked.who.as_ref().map(|who| who.operator.email().as_str().into());
    event.status = Some(problem.status.as_u16());
    event.error = Some((Cow::Borrowed(problem.code), why.to_owned()));
    event.args = Some(json!({ "from": asked.source.to_string() }).to_string().into());
    match Recorder::reserve(&asked.desk.recorder) {
        Ok(slot) => slot.send(event),
        Err(_) => tracing::error!("a denied request to the console could not be recorded, the queue is full"),
    }
}

/// Whether somebody who brings nothing at all wants to read a page: they are led to the login, and no more has happened.
fn leads_to_login(asked: &Asked, problem: &Problem) -> bool {
    let reads = matches!(*asked.method(), Method::GET | Method::HEAD);
    let brings = asked.head.headers.contains_key(header::AUTHORIZATION) || cookies::any(asked);
    problem.status == StatusCode::UNAUTHORIZED && reads && !brings && !asked.is_api()
}
