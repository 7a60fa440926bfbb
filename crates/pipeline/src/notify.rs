//! Notifications: webhooks are told about held calls, decisions and the kill switch. The trail is the outbox, so what
//! happened while the gateway was down is reported as well. Nothing here may block a call or make one fail.

mod notice;
mod outlet;
mod sign;
mod sink;
mod slack;

use std::{sync::Arc, time::Duration};

use domain::{
    audit::{Event, Kind},
    clock::Clock,
    names::ApprovalId,
};
use futures_util::future::{join, join_all};
use jiff::SignedDuration;
use store::{EventRow, Store, StoreError};
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    dial::{DialError, Dialler},
    recorder::Recorder,
};
use notice::Notice;
use outlet::Outlet;

pub use sign::{BadSecret, Signer};
pub use sink::{Format, Sink, Topic, shown};

/// How often the trail is looked at: other processes append to it as well.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So many events are taken at once.
const PAGE: u32 = 50;
/// After so many events that are not for it a cursor is moved all the same, so that a start has little to look through.
const STRIDE: i64 = 10_000;
/// How long an event is tried before it is given up, counted from when it happened.
const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How often a gateway that does not tell asks whether it is its turn.
const STANDBY: Duration = Duration::from_secs(1);
/// How long a store that does not answer is left alone.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Why notifications cannot begin.
#[derive(Debug, Error)]
pub enum NotReady {
    /// A sink cannot be spoken to at all.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// How far the sinks were told is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tells every sink what is for it, in the order of the trail, at least once.
pub struct Notifier {
    store: Arc<Store>,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
    random: fn() -> [u8; 8],
    /// How operators reach the console, without a slash at the end: what links begin with.
    console: String,
    /// Each with the last event that is nothing to it any more.
    outlets: Vec<(Outlet, i64)>,
}

impl Notifier {
    /// Gets ready; nothing is sent before [`Notifier::run`]. A sink that is new is told what happens from now on.
    /// `random` makes the retries of many gateways fall apart.
    ///
    /// # Errors
    /// [`NotReady`].
    pub async fn new(
        sinks: Vec<Sink>,
        store: Arc<Store>,
        recorder: Arc<Recorder>,
        clock: Arc<dyn Clock>,
        dialler: &Dialler,
        random: fn() -> [u8; 8],
        console: String,
    ) -> Result<Self, NotReady> {
        let ids: Vec<String> = sinks.iter().map(Sink::id).collect();
        let cursors = store.notify_cursors(&ids).await?;
        let outlet = |(sink, cursor)| Ok((Outlet::new(sink, dialler)?, cursor));
        let outlets = sinks.into_iter().zip(cursors).map(outlet).collect::<Result<_, NotReady>>()?;
        Ok(Self { store, recorder, clock, random, console, outlets })
    }

    /// Tells for ever. Run it as a task of its own; it may be ended at any moment, the next one goes on from there.
    pub async fn run(self) {
        let Some(start) = self.outlets.iter().map(|(_, cursor)| *cursor).max() else { return };
        let (looked, trail) = watch::channel(start);
        // A sink that fails waits alone: each has its own cursor and its own pauses.
        let attended =
            self.outlets.iter().map(|(outlet, cursor)| self.attend(outlet, *cursor, trail.clone()));
        join(self.follow(looked), join_all(attended)).await;
    }

    /// Looks at the trail, and wakes the sinks when there is something to tell.
    async fn follow(&self, looked: watch::Sender<i64>) {
        let mut last = *looked.borrow();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let news = self.insist(|| self.store.news_after(last)).await;
            last = news.newest;
            if news.to_tell || last.saturating_sub(*looked.borrow()) >= STRIDE {
                looked.send_replace(last);
            }
        }
    }

    /// Tells one sink.
    async fn attend(&self, outlet: &Outlet, mut cursor: i64, mut trail: watch::Receiver<i64>) {
        let sink = outlet.sink.id();
        let mut kept = cursor;
        let mut in_turn = true;
        loop {
            // Of all gateways that share a store one tells. Where that one has died, this goes on from where it was.
            if !self.insist(|| self.store.is_notifier()).await {
                in_turn = false;
                tokio::time::sleep(STANDBY).await;
                continue;
            }
            if !std::mem::replace(&mut in_turn, true) {
                cursor = self.insist(|| self.store.notify_cursor(&sink)).await.unwrap_or(cursor);
                kept = cursor;
            }
            let looked = *trail.borrow_and_update();
            let events = self.insist(|| self.store.events_to_tell(cursor, PAGE)).await;
            if events.is_empty() {
                // Everything up to there was seen by the read just made.
                cursor = cursor.max(looked);
            }
            for event in &events {
                let told = outlet.wants(event) && self.tell(outlet, event).await;
                cursor = event.seq;
                if told {
                    self.insist(|| self.store.advance_notify_cursor(&sink, event.seq)).await;
                    kept = cursor;
                }
            }
            if cursor.saturating_sub(kept) >= STRIDE {
                self.insist(|| self.store.advance_notify_cursor(&sink, cursor)).await;
                kept = cursor;
            }
            if events.is_empty() && trail.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells one event until it is taken or given up. False when there is nothing to tell about it.
    async fn tell(&self, outlet: &Outlet, event: &EventRow) -> bool {
        let Some(notice) = self.insist(|| Notice::of(event, &self.store, &self.console)).await else {
            return false;
        };
        let body = outlet.sink.format.body(&notice);
        let mut attempts = 0;
        loop {
            let now = self.clock.now().wall;
            let Err(why) = outlet.post(&notice.id, now, &body).await else {
                if attempts > 0 {
                    tracing::info!("{} takes notifications again", outlet.sink.shown());
                }
                return true;
            };
            if now.duration_since(event.at) >= GIVE_UP_AFTER {
                self.give_up(outlet, event, &why).await;
                return true;
            }
            if attempts == 0 {
                tracing::warn!(
                    "event {} could not be told ({}): {why}; it is tried again for 24 h",
                    event.seq,
                    outlet.sink.shown()
                );
            }
            attempts += 1;
            tokio::time::sleep(pause(attempts, u64::from_le_bytes((self.random)()))).await;
        }
    }

    async fn give_up(&self, outlet: &Outlet, event: &EventRow, why: &str) {
        let sentence = format!("event {} was not told in 24 h ({}): {why}", event.seq, outlet.sink.shown());
        tracing::error!("{sentence}; it is given up");
        let mut failed = Event::new(self.clock.now().wall, Kind::System);
        failed.action = Some("notify.failed".into());
        failed.approval_id = notice::approval_of(event).and_then(|id| ApprovalId::parse(&id));
        failed.error = Some(("notify-failed".into(), sentence));
        if self.recorder.durable(failed).await.is_err() {
            tracing::error!("that a notification was given up could not be recorded");
        }
    }

    /// Asks the store until it answers; what it says is told once.
    async fn insist<T, F>(&self, mut ask: impl FnMut() -> F) -> T
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut told = false;
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) if !told => {
                    told = true;
                    tracing::warn!("notifications wait for the store: {error}");
                }
                Err(_) => {}
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }
}

/// The pause before attempt `attempts + 1`: 1 s, 2 s, 4 s … 5 min, of which chance takes away up to a half.
fn pause(attempts: u32, random: u64) -> Duration {
    let doubled = Duration::from_secs(1 << attempts.saturating_sub(1).min(9)).min(PAUSE_MAX);
    let half = doubled / 2;
    let spread = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    half + Duration::from_millis(random % spread.saturating_add(1))
}

#[cfg(test)]
mod tests;
