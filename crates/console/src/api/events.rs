//! `GET /api/events`: news as server-sent events. A client that comes back with `Last-Event-ID` is told what it
//! missed.

use std::{sync::Arc, time::Duration};

use admin::{AdminError, Blame};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use pipeline::flow::{Broken, Flow};
use serde_json::json;
use tokio::{
    sync::{broadcast, watch},
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    Desk,
    asked::Asked,
    news::{Seat, Told},
    problem::Problem,
    who::Who,
};

/// How often health is looked at, and whether whoever listens still may: what is withdrawn ends within a second.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Every so many of those looks the line is kept warm.
const LOOKS_PER_BEAT: u32 = 15;

/// Somebody who listens.
struct Watcher {
    desk: Arc<Desk>,
    who: Who,
    feed: broadcast::Receiver<Arc<Told>>,
    /// The last event that was told.
    last: i64,
    /// What is to be sent first.
    first: Option<String>,
    health: String,
    tick: Interval,
    looks: u32,
    stopping: watch::Receiver<bool>,
    _seat: Seat,
}

pub(crate) async fn open(asked: Asked) -> Result<Response<Flow>, Problem> {
    let (desk, who) = (Arc::clone(&asked.desk), asked.who()?.clone());
    let seat = desk.news.seat(who.operator.email())?;
    // First listen, then look: what comes in between is told twice, and the second time left out.
    let feed = desk.news.listen();
    let newest = desk.admin.newest_event().await?;
    let last = asked.header("last-event-id").and_then(|id| id.parse::<i64>().ok());
    let last = last.filter(|last| (0..=newest).contains(last));
    let mut first = String::from("retry: 1000\n\n");
    if let Some(last) = last {
        push(&mut first, &desk.told(last, newest).await?);
    }
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher {
        stopping: desk.stopping.clone(),
        desk,
        who,
        feed,
        last: newest,
        first: Some(first),
        health: String::new(),
        tick,
        looks: 0,
        _seat: seat,
    };
    let frames = stream::unfold(watcher, |mut watcher| async move {
        let text = watcher.next().await?;
        Some((Ok::<_, Broken>(Frame::data(Bytes::from(text))), watcher))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies that gather answers would tell late.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

impl Watcher {
    /// What is told next; `None`: it is over, and who still may comes back.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let told = tokio::select! {
                told = self.feed.recv() => Some(told),
                _ = self.tick.tick() => None,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            };
            let text = match told {
                Some(told) => self.told(told).await?,
                None => self.look().await?,
            };
            if !text.is_empty() {
                return Some(text);
            }
        }
    }

    async fn told(&mut self, told: Result<Arc<Told>, broadcast::error::RecvError>) -> Option<String> {
        let mut text = String::new();
        // A change may have ended this very login, which then is told no more.
        if !told.as_ref().is_ok_and(|told| told.is_of_calls_only()) {
            self.still_may().await.ok()?;
        }
        match told {
            Ok(told) if told.to <= self.last => {}
            Ok(told) if told.after == self.last => {
                push(&mut text, &told);
                self.last = told.to;
            }
            // Some of it was told, or some was missed: the trail knows.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {
                let newest = self.desk.admin.newest_event().await.ok()?;
                let told = self.desk.told(self.last, newest).await.ok()?;
                push(&mut text, &told);
                self.last = told.to;
            }
            Err(broadcast::error::RecvError::Closed) => return None,
        }
        Some(text)
    }

    async fn look(&mut self) -> Option<String> {
        let mut text = String::new();
        // A store that does not answer ends nobody's login. It tells nothing either: all that follows is its health.
        match self.still_may().await {
            Err(error) if error.blame() != Blame::Us => return None,
            Ok(()) | Err(_) => {}
        }
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_BEAT) {
            text.push_str(": still here\n\n");
        }
        let world = self.desk.freshness.current();
        let seen = self.desk.health().await;
        let health = json!({
            "trail": self.desk.recorder.is_healthy(),
            "store": seen.store.is_some(),
            "vault": seen.vault.is_some(),
            "kill": world.kill.is_some(),
            "policy_hash": world.policy.hash().to_string(),
        });
        let health = health.to_string();
        if health != self.health {
            text.push_str(&format!("event: health\ndata: {health}\n\n"));
            self.health = health;
        }
        Some(text)
    }

    /// Listening does not count as using a session: a console that nobody looks at logs out.
    async fn still_may(&self) -> Result<(), AdminError> {
        let (admin, now) = (&self.desk.admin, self.desk.clock.now().wall);
        match (self.who.session, self.who.token) {
            (Some(session), _) => admin.still_holds(now, &self.desk.sessions, session).await.map(drop),
            (None, Some(token)) => admin.still_holds_token(now, token).await.map(drop),
            (None, None) => Err(AdminError::SessionEnded),
        }
    }
}

/// What was told, or that there is more than can be told.
fn push(text: &mut String, told: &Told) {
    match &told.text {
        Some(lines) => text.push_str(lines),
        None => text.push_str(&format!("id: {}\nevent: reset\ndata: {{}}\n\n", told.to)),
    }
}
