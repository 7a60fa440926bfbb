//! Requests that were denied for who sent them are in the trail: who, from where, what, and why.

use std::borrow::Cow;

use domain::audit::{Event, Kind, ResultWord};
use pipeline::recorder::Recorder;
use serde_json::json;

use crate::{asked::Asked, problem::Problem};

/// What stands in the place of a method, and tells these refusals from those of calls.
pub(crate) const METHOD: &str = "console";

/// Queues the event. Floods are counted by the writer, as those of calls are. When even the queue is full, only the
/// log has it: a denial forwards nothing that would have to wait for its record.
pub(crate) fn record(asked: &Asked, problem: &Problem) {
    // The route, not the path: what a stranger asks for must not choose what the trail says.
    let route = asked.route.map_or("–", |route| route.path);
    let mut event = Event::new(asked.now.wall, Kind::Refusal);
    event.result = Some(ResultWord::Refused);
    event.method = Some(METHOD.into());
    event.action = Some(format!("{} {route}", asked.route.map_or("–", |route| route.method.as_str())).into());
    event.operator = asked.who.as_ref().map(|who| who.operator.email().as_str().into());
    event.status = Some(problem.status.as_u16());
    event.error = Some((Cow::Borrowed(problem.code), problem.detail.clone().into_owned()));
    event.args = Some(json!({ "from": asked.source.to_string() }).to_string().into());
    match Recorder::reserve(&asked.desk.recorder) {
        Ok(slot) => slot.send(event),
        Err(_) => tracing::error!("a denied request to the console could not be recorded, the queue is full"),
    }
}
