//! Translates between the two eras of the protocol: what a request or an answer needs in the other one. Whatever is
//! not named here stays byte for byte.

use bytes::Bytes;
use domain::{
    call::Call,
    stop::{Fault, Unreadable},
};
use wire::{
    Limits, Message, Raw, Shape, json,
    mcp::{Era, extension, meta},
};

use super::{client::Client, names::quoted};
use crate::answer;

/// The members of `_meta` that requests have in the newest protocol only.
const OF_THE_NEWEST: [&str; 4] =
    [meta::PROTOCOL_VERSION, meta::CLIENT_CAPABILITIES, meta::CLIENT_INFO, meta::LOG_LEVEL];

/// A client's request, as a member of this era takes it.
pub(super) fn message_for(message: &Message, client: &Client, era: Era) -> Result<Message, Unreadable> {
    let body = match (client.era(), era) {
        (Era::Legacy, Era::Legacy) => None,
        (Era::Modern, Era::Modern) => without_tasks(message),
        (Era::Modern, Era::Legacy) => message.without_meta(|key| OF_THE_NEWEST.contains(&key)),
        (Era::Legacy, Era::Modern) => Some(stated(message, &client.about)?),
    };
    match body {
        Some(body) => {
            let limits = Limits::of_bytes(body.len());
            Message::read(body, &limits).map_err(Unreadable::Body)
        }
        None => Ok(message.clone()),
    }
}

/// The message with what a client of the newest protocol says of itself.
fn stated(message: &Message, about: &str) -> Result<Bytes, Unreadable> {
    let cut = message.without_meta(|key| OF_THE_NEWEST.contains(&key));
    let cut = match cut {
        Some(body) => {
            let limits = Limits::of_bytes(body.len());
            Some(Message::read(body, &limits).map_err(Unreadable::Body)?)
        }
        None => None,
    };
    let message = cut.as_ref().unwrap_or(message);
    let params = message.params();
    let said = match params.and_then(|params| params.get("_meta")).filter(|meta| meta.is_object()) {
        Some(said) => with_first(message, said, about),
        None => params.and_then(|params| with_first(message, params, &format!("\"_meta\":{{{about}}}"))),
    };
    Ok(said.unwrap_or_else(|| message.body().clone()))
}

/// The message with more members at the beginning of one of its objects.
fn with_first(message: &Message, object: Raw<'_>, members: &str) -> Option<Bytes> {
    let inside = message.span(object)?.start + 1;
    let comma = if object.members().next().is_some() { "," } else { "" };
    Some(message.replace(inside..inside, &format!("{members}{comma}")))
}

/// The message of a client that takes no tasks for an answer, because nobody here knows whose task a member's would be
/// when it is asked for; none where it takes none anyway. Held calls are told as tasks all the same: those are ours.
fn without_tasks(message: &Message) -> Option<Bytes> {
    let extensions = message.meta(meta::CLIENT_CAPABILITIES)?.get("extensions")?;
    extensions.get(extension::TASKS)?;
    let others = extensions.members().filter(|(key, _)| *key != *extension::TASKS);
    let others: Vec<String> =
        others.map(|(key, value)| format!("{}:{}", quoted(&key.decoded()), value.text())).collect();
    Some(message.replace(message.span(extensions)?, &format!("{{{}}}", others.join(","))))
}

/// From a member of one era to a client of another, or of the same.
pub(super) struct Turn {
    pub(super) from: Era,
    pub(super) to: Era,
    /// What is answered.
    pub(super) call: Call,
    /// The JSON-RPC id of the request, as it was written.
    pub(super) id: String,
}

impl Turn {
    /// Whether a notification of a member is nothing that this client could be told.
    pub(super) fn drops(&self, method: &str) -> bool {
        (self.from, self.to) == (Era::Legacy, Era::Modern) && method != "notifications/progress"
    }

    /// Whether this answers the request that was made. All members share the client's ids, and clients tell answers
    /// apart by them: what a member says under another id would be another's answer.
    pub(super) fn is_own(&self, message: &Message) -> bool {
        let Shape::Response { id, .. } = message.shape() else { return false };
        // An error may not know what it answers.
        let Some(id) = id else { return true };
        let own = json::read(self.id.as_bytes(), &Limits::of_bytes(self.id.len())).ok().and_then(Raw::as_str);
        id.text() == self.id || (own.is_some() && id.as_str() == own)
    }

    /// A response in the words of the client's era; none where it may stay as it is.
    pub(super) fn response(&self, message: &Message) -> Option<Bytes> {
        if !matches!(message.shape(), Shape::Response { .. }) {
            return None;
        }
        let result = message.root().get("result").filter(|result| result.is_object())?;
        let kind = result.get("resultType");
        match (self.from, self.to) {
            (Era::Legacy, Era::Modern) if kind.is_none() => {
                with_first(message, result, r#""resultType":"complete""#)
            }
            // It was told that nobody can be asked.
            (Era::Modern, Era::Legacy)
                if kind.is_some_and(|kind| kind.as_str().as_deref() != Some("complete")) =>
            {
                let fault = Fault::UpstreamBroken("it wants an input that this client cannot give".into());
                Some(answer::fault_message(&fault, &self.call, &self.id).into())
            }
            _ => None,
        }
    }
}

pub(super) fn read(bytes: &Bytes) -> Option<Message> {
    let limits = Limits::of_bytes(bytes.len());
    Message::read(bytes.clone(), &limits).ok()
}
