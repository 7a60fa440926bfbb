//! Live news: one reader of the trail for everybody who watches, so that twenty open consoles cost a gateway no more
//! than one. While nobody watches, nothing is read.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::operator::Email;
use serde_json::{Value, json};
use store::{EventRow, Query};
use tokio::sync::{Notify, broadcast};

use crate::{Desk, problem::Problem};

/// How often the trail is looked at while somebody watches.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many events are told at one look; of more, watchers are told to load their page anew.
const TOLD_MAX: u32 = 500;
/// How many looks a slow watcher may be behind.
const BEHIND_MAX: usize = 64;
/// How many may watch at once.
const WATCHERS_MAX: usize = 200;
/// How many of those one operator may have: pages and scripts of one keep nobody else out.
const WATCHERS_OF_ONE_MAX: usize = 20;

/// The feed that watchers listen to.
pub struct News {
    feed: broadcast::Sender<Arc<Told>>,
    somebody: Notify,
    seats: Arc<Mutex<Vec<Email>>>,
}

/// A place among the watchers, given back when it is dropped.
pub(crate) struct Seat {
    seats: Arc<Mutex<Vec<Email>>>,
    whose: Email,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = taken.iter().position(|whose| *whose == self.whose) {
            taken.swap_remove(at);
        }
    }
}

impl Default for News {
    fn default() -> Self {
        Self { feed: broadcast::Sender::new(BEHIND_MAX), somebody: Notify::new(), seats: Arc::default() }
    }
}

/// What one look at the trail gave.
pub(crate) struct Told {
    /// It begins behind this event.
    pub(crate) after: i64,
    /// It ends with this one.
    pub(crate) to: i64,
    /// The lines of an event stream; `None`: there was more than can be told.
    pub(crate) text: Option<String>,
}

impl Told {
    /// Whether nothing was changed meanwhile: who could listen before still can.
    pub(crate) fn is_of_calls_only(&self) -> bool {
        // Texts of others stand in JSON, which breaks no line. A stolen login is ended by the system.
        let of_others = ["\nevent: change\n", "\nevent: system\n"];
        self.text.as_ref().is_some_and(|text| !of_others.iter().any(|name| text.contains(name)))
    }
}

impl News {
    /// A place among the watchers.
    ///
    /// # Errors
    /// 429 where all that one operator may have are taken, 503 where all are.
    pub(crate) fn seat(&self, whose: &Email) -> Result<Seat, Problem> {
        let mut taken = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.iter().filter(|taken| *taken == whose).count() >= WATCHERS_OF_ONE_MAX {
            return Err(Problem::too_many_watch(WATCHERS_OF_ONE_MAX));
        }
        if taken.len() >= WATCHERS_MAX {
            return Err(Problem::unavailable("too many people watch at once; repeat in a moment"));
        }
        taken.push(whose.clone());
        Ok(Seat { seats: Arc::clone(&self.seats), whose: whose.clone() })
    }

    /// Listens from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Told>> {
        let listening = self.feed.subscribe();
        self.somebody.notify_one();
        listening
    }
}

impl Desk {
    /// Tells watchers the news, for ever. Run it as a task of its own.
    pub async fn tell_news(self: Arc<Self>) {
        let mut last = None;
        let mut failing = false;
        loop {
            if self.news.feed.receiver_count() == 0 {
                last = None;
                self.news.somebody.notified().await;
            }
            match self.look(last).await {
                Ok(now) => (last, failing) = (Some(now), false),
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!("the console cannot tell what happens: {error}");
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Tells what came behind `last`; how far the trail is now.
    async fn look(&self, last: Option<i64>) -> Result<i64, admin::AdminError> {
        let newest = self.admin.newest_event().await?;
        let Some(last) = last.filter(|last| *last < newest) else { return Ok(newest) };
        let told = self.told(last, newest).await?;
        let to = told.to;
        // An error means that nobody listens any more.
        let _ = self.news.feed.send(Arc::new(told));
        Ok(to)
    }

    /// The events behind `after`, as far as they can be told at once.
    pub(crate) async fn told(&self, after: i64, newest: i64) -> Result<Told, admin::AdminError> {
        if newest.saturating_sub(after) > i64::from(TOLD_MAX) {
            return Ok(Told { after, to: newest, text: None });
        }
        let events = self.admin.events_after(&Query::default(), after, TOLD_MAX).await?;
        let to = events.last().map_or(newest, |last| last.seq);
        Ok(Told { after, to, text: Some(events.iter().filter_map(line).collect()) })
    }
}

/// One event of the trail in an event stream (WHATWG HTML, server-sent events). Its id is its place in the trail, so
/// that who comes back is told the rest.
fn line(event: &EventRow) -> Option<String> {
    let record: Value = serde_json::from_str(&event.rec).unwrap_or_default();
    let of_approval = record.get("approval_id").is_some();
    let name = match event.kind.as_str() {
        "held" | "decision" => "approval",
        "intent" | "outcome" | "refusal" if of_approval => "approval",
        "outcome" | "refusal" => "call",
        "operator" => "change",
        "system" => "system",
        // Its outcome follows.
        _ => return None,
    };
    let data = json!({
        "seq": event.seq, "at": event.at.to_string(), "kind": event.kind, "call_id": event.call_id,
        "agent": event.agent, "service": event.service, "action": event.action, "result": event.result,
        "status": record.get("status"), "approval_id": record.get("approval_id"),
        "operator": record.get("operator"),
    });
    Some(format!("id: {}\nevent: {name}\ndata: {data}\n\n", event.seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_operator_keeps_nobody_else_from_watching() {
        let news = News::default();
        let email = |name: &str| Email::parse(&format!("{name}@example.com")).unwrap();
        let status = |name: &str| news.seat(&email(name)).map(drop).map_err(|full| full.status.as_u16());
        let mut seats: Vec<_> =
            (0..WATCHERS_OF_ONE_MAX).map(|_| news.seat(&email("eve")).ok().unwrap()).collect();
        assert_eq!((status("eve"), status("ada")), (Err(429), Ok(())));
        seats.pop();
        assert_eq!(status("eve"), Ok(()), "whoever goes makes room");
        for other in 0..WATCHERS_MAX - seats.len() {
            seats.push(news.seat(&email(&format!("other{other}"))).ok().unwrap());
        }
        assert_eq!(status("ada"), Err(503));
    }
}
