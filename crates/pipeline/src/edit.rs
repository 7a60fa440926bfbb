//! What the gateway changes in messages from MCP servers on their way to a client, and what it tells listeners of its
//! own accord. Messages that need no change keep their bytes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use domain::{
    call::{Action, Call},
    service::Service,
};
use futures_util::Stream;
use wire::{
    Limits, Malformed, Message, Raw, Shape, graft, json,
    mcp::{self, ListChange},
};

use crate::{
    arrival::{Caller, Exchange},
    gateway::Gateway,
    listing::{Catalog, edited},
};

/// What is to be done with the messages of one answer.
pub(crate) struct Edit {
    catalog: Catalog,
    part: Part,
    news: Option<Pin<Box<dyn Stream<Item = ListChange> + Send>>>,
}

enum Part {
    /// Lists are cut down to what the agent may use.
    Lists,
    /// The answer to `initialize` says which news its session may expect.
    Greeting,
    /// The answer to `server/discover` says what works through the gateway.
    Discovery,
    /// A stream that `subscriptions/listen` opened, by its id; `wanted` are the list changes that the client asked for.
    Listening { id: String, wanted: Vec<ListChange>, acknowledged: bool },
}

impl Edit {
    /// What is to be done with the answer to an exchange; `None` where it passes as it is.
    pub(crate) fn of(
        gateway: &Gateway,
        caller: &Caller,
        service: &Arc<Service>,
        call: &Call,
        exchange: &Exchange,
        modern: bool,
    ) -> Option<Self> {
        let catalog = || Catalog::new(gateway, caller, service, exchange);
        let plain = |part| Some(Self { catalog: catalog(), part, news: None });
        match (exchange, &*call.method) {
            // A resumed stream replays answers of any kind, lists among them.
            (Exchange::Listen, _) => {
                let news = catalog().changes(gateway.lists.told_by(service));
                Some(Self { catalog: catalog(), part: Part::Lists, news: Some(Box::pin(news)) })
            }
            (Exchange::Post(_), "initialize") => plain(Part::Greeting),
            (Exchange::Post(_), "server/discover") if modern => plain(Part::Discovery),
            (Exchange::Post(message), "subscriptions/listen") if modern => {
                let (Shape::Request { id, .. }, wanted) = (message.shape(), wanted(message)) else {
                    return None;
                };
                let news = catalog().changes(wanted.clone());
                let part = Part::Listening { id: id.text().to_owned(), wanted, acknowledged: false };
                Some(Self { catalog: catalog(), part, news: Some(Box::pin(news)) })
            }
            _ if matches!(call.action, Action::List(_)) => plain(Part::Lists),
            _ => None,
        }
    }

    /// Whether a message that cannot be read must not be handed out.
    pub(crate) const fn is_strict(&self) -> bool {
        matches!(self.part, Part::Lists)
    }

    /// The message as the client gets it; `None` when it stays as it is.
    ///
    /// # Errors
    /// When it cannot be read and [must be](Edit::is_strict).
    pub(crate) fn apply(&mut self, message: &[u8]) -> Result<Option<Bytes>, Malformed> {
        if let Part::Lists = self.part {
            return self.catalog.cut(message);
        }
        let Ok(root) = json::read(message, &Limits::of_bytes(message.len())) else { return Ok(None) };
        Ok(match &mut self.part {
            Part::Lists => None,
            Part::Greeting => {
                if let Some(capabilities) = root.get("result").and_then(|result| result.get("capabilities")) {
                    self.catalog.greeted(capabilities);
                }
                None
            }
            Part::Discovery => self.catalog.with_tasks(root),
            Part::Listening { id, wanted, acknowledged } => {
                self.catalog.hear(root);
                let is_ours = is_acknowledgement(root, id);
                *acknowledged |= is_ours;
                if is_ours { promising(root, wanted)? } else { None }
            }
        }
        .map(Bytes::from))
    }

    /// The next thing to tell the listener, as a message. Before a stream was acknowledged nothing is.
    pub(crate) fn poll_news(&mut self, context: &mut Context<'_>) -> Poll<String> {
        let subscription = match &self.part {
            Part::Listening { acknowledged: false, .. } => return Poll::Pending,
            Part::Listening { id, .. } => Some(id.as_str()),
            _ => None,
        };
        let Some(news) = &mut self.news else { return Poll::Pending };
        match news.as_mut().poll_next(context) {
            Poll::Ready(Some(change)) => Poll::Ready(change.notification(subscription)),
            Poll::Ready(None) => {
                self.news = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The list changes that a listener asks for.
fn wanted(message: &Message) -> Vec<ListChange> {
    let wishes = message.params().and_then(|params| params.get("notifications"));
    let is_wanted = |change: &ListChange| {
        wishes.and_then(|wishes| wishes.get(change.wish())).and_then(Raw::as_bool) == Some(true)
    };
    ListChange::ALL.into_iter().filter(is_wanted).collect()
}

/// Whether a message acknowledges the subscription with this id, however that is written.
fn is_acknowledgement(root: Raw<'_>, id: &str) -> bool {
    let text =
        |raw: Raw<'_>| raw.as_str().map_or_else(|| raw.text().to_owned(), |text| format!("\"{text}\""));
    let own = json::read(id.as_bytes(), &Limits::of_bytes(id.len())).ok();
    let named = root.get("params").and_then(|params| params.get("_meta")?.get(mcp::meta::SUBSCRIPTION_ID));
    root.get("method").and_then(Raw::as_str).as_deref() == Some("notifications/subscriptions/acknowledged")
        && named.zip(own).is_some_and(|(named, own)| text(named) == text(own))
}

/// The acknowledgement with what we tell of ourselves, whatever the upstream tells of.
fn promising(root: Raw<'_>, wanted: &[ListChange]) -> Result<Option<Vec<u8>>, Malformed> {
    wanted.iter().try_fold(None, |promised, change| {
        let path = ["params", "notifications", change.wish()];
        edited(root, promised, |root| graft::set(root, &path, "true"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Raw<'_> {
        json::read(text.as_bytes(), &Limits::of_bytes(10_000)).unwrap()
    }

    fn acknowledgement(id: &str, notifications: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"notifications":{notifications}}}}}"#
        )
    }

    #[test]
    fn an_acknowledgement_is_known_by_its_id_however_that_is_written() {
        for (named, id, is_ours) in [
            ("7", "7", true),
            (r#""a""#, r#""\u0061""#, true),
            (r#""7""#, "7", false),
            ("8", "7", false),
            ("null", "7", false),
            ("[7]", "7", false),
        ] {
            let message = acknowledgement(named, "{}");
            assert_eq!(is_acknowledgement(read(&message), id), is_ours, "{named} {id}");
        }
        let other = acknowledgement("7", "{}").replace("acknowledged", "ended");
        assert!(!is_acknowledgement(read(&other), "7"));
    }

    #[test]
    fn what_we_tell_is_promised_and_nothing_else_changes() {
        let wanted = [ListChange::Tools, ListChange::Resources];
        for (before, after) in [
            ("{}", Some(r#"{"resourcesListChanged":true,"toolsListChanged":true}"#)),
            (
                r#"{"toolsListChanged":false, "x":1.0}"#,
                Some(r#"{"resourcesListChanged":true,"toolsListChanged":true, "x":1.0}"#),
            ),
            (r#"{"toolsListChanged":true,"resourcesListChanged":true}"#, None),
            ("[]", None),
        ] {
            let message = acknowledgement("7", before);
            let promised = promising(read(&message), &wanted).unwrap();
            let promised = promised.map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(promised, after.map(|after| acknowledgement("7", after)), "{before}");
        }
    }
}
