//! Writes what was learned to the store, at once, but not as often as a server may change its mind. Each write is one
//! event.

use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::{
    audit::{Event, Kind, redact},
    clock::Clock,
    names::ServiceName,
    tools::{News, ServiceTools},
};
use jiff::Timestamp;
use store::{Applied, Change, Entry, PutTool, PutTools, Store, StoreError};

use super::{Tools, unsaved::Waiting};

/// The pause after something was kept of a service; it doubles while there is always more.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// How long a store that does not answer is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How often somebody else may be quicker.
const TRIES_MAX: usize = 8;

/// When a service was last kept, and how long its next turn waits.
struct Pace {
    kept_at: Duration,
    pause: Duration,
}

impl Tools {
    /// Keeps what is learned, for ever. Run it as a task of its own.
    pub async fn run(self: Arc<Self>, store: Arc<Store>, clock: Arc<dyn Clock>) {
        let unsaved = self.freshness.unsaved();
        let mut paces: HashMap<ServiceName, Pace> = HashMap::new();
        loop {
            let now = clock.now();
            let mut next: Option<Duration> = None;
            for name in unsaved.names() {
                let due = paces.get(&name).map_or(Duration::ZERO, |pace| pace.kept_at + pace.pause);
                if due > now.monotonic {
                    next = Some(next.map_or(due, |next| next.min(due)));
                    continue;
                }
                match self.keep(&name, &store, now.wall).await {
                    Ok(()) => {
                        let before = paces.get(&name).filter(|pace| now.monotonic < pace.kept_at + PAUSE_MAX);
                        let pause = before.map_or(PAUSE, |pace| (pace.pause * 2).min(PAUSE_MAX));
                        paces.insert(name, Pace { kept_at: now.monotonic, pause });
                    }
                    Err(error) => {
                        tracing::warn!(
                            "what is known of tools could not be kept (service `{name}`): {error}"
                        );
                        let retry = now.monotonic + RETRY_AFTER;
                        next = Some(next.map_or(retry, |next| next.min(retry)));
                        paces.insert(name, Pace { kept_at: now.monotonic, pause: RETRY_AFTER });
                    }
                }
            }
            let pause = next.map(|next| next.saturating_sub(clock.now().monotonic));
            tokio::select! {
                () = unsaved.changed.notified() => {}
                () = tokio::time::sleep(pause.unwrap_or(PAUSE_MAX)) => {}
            }
        }
    }

    /// Keeps everything that waits.
    ///
    /// # Errors
    /// [`StoreError`]; what was not kept waits on.
    pub async fn save(&self, store: &Store, at: Timestamp) -> Result<(), StoreError> {
        for name in self.freshness.unsaved().names() {
            self.keep(&name, store, at).await?;
        }
        Ok(())
    }

    async fn keep(&self, name: &ServiceName, store: &Store, at: Timestamp) -> Result<(), StoreError> {
        let unsaved = self.freshness.unsaved();
        let Some(waiting) = unsaved.of(name) else { return Ok(()) };
        let mut is_kept = false;
        for _ in 0..TRIES_MAX {
            if !self.freshness.is_at(name, waiting.place) {
                // Nobody's any more.
                is_kept = true;
                break;
            }
            let stored = store.tools(name).await?;
            let Some((put, news)) = step(name, &waiting, stored, at) else {
                is_kept = true;
                break;
            };
            let entry =
                Entry { change: Some(Change::PutTools(Box::new(put))), event: event(name, &news, at) };
            match store.append(&[entry]).await?.pop() {
                Some(Applied::Failed(error)) => return Err(error),
                Some(Applied::Done) => {
                    is_kept = true;
                    break;
                }
                // Another node was quicker, or the service is gone by now.
                Some(Applied::ConditionFailed) | None => {
                    self.freshness.refresh().await?;
                }
            }
        }
        // Known from the store before it is forgotten here, so that nobody forgets it in between.
        self.freshness.refresh().await?;
        if is_kept {
            unsaved.settle(name, &waiting);
        }
        Ok(())
    }
}

/// From what the store has to what it is to have; `None`: it has it.
fn step(
    name: &ServiceName,
    waiting: &Waiting,
    stored: Option<ServiceTools>,
    at: Timestamp,
) -> Option<(PutTools, News)> {
    let replaces = stored.as_ref().map(|stored| stored.revision);
    let names = |tools: &ServiceTools| tools.tools.keys().cloned().collect();
    let (before, mut gone): (ServiceTools, Vec<String>) = match stored {
        Some(stored) if stored.place == waiting.place => (stored, Vec::new()),
        // Another upstream's tools: none of them counts, not even one of the same name.
        other => (ServiceTools::unseen(waiting.place), other.as_ref().map(names).unwrap_or_default()),
    };
    let after = before.joined(&waiting.learned, waiting.pins);
    let news = after.news_since(&before, waiting.pins);
    gone.extend(news.gone.iter().cloned());
    if after == before && gone.is_empty() {
        return None;
    }
    let other = after.tools.iter().filter(|(name, tool)| before.tools.get(*name) != Some(*tool));
    let put = other.map(|(name, tool)| PutTool {
        name: name.clone(),
        hash: tool.hash,
        hint: tool.hint,
        definition: waiting.learned.tools.get(name).and_then(|(_, text)| text.clone()),
        pinned: tool.pinned.is_some_and(|pinned| pinned.hash == tool.hash),
    });
    let put = PutTools {
        service: name.clone(),
        place: waiting.place,
        replaces,
        listed: after.listed,
        put: put.collect(),
        gone,
        at,
    };
    Some((put, news))
}

/// What became of which tools. Names are the upstream's own words, and bounded as arguments are.
fn event(service: &ServiceName, news: &News, at: Timestamp) -> Event {
    let mut event = Event::new(at, Kind::System);
    event.action = Some("tools.seen".into());
    event.service = Some(service.as_str().into());
    let lists =
        [("pinned", &news.pinned), ("new", &news.new), ("changed", &news.changed), ("back", &news.back)];
    let members = lists.into_iter().filter(|(_, names)| !names.is_empty()).map(|(word, names)| {
        let mut text = Vec::from(format!("\"{word}\":["));
        for (place, name) in names.iter().enumerate() {
            if place > 0 {
                text.push(b',');
            }
            wire::canonical::write_string(name, &mut text);
        }
        text.push(b']');
        String::from_utf8_lossy(&text).into_owned()
    });
    let text = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    let raw = wire::json::read(text.as_bytes(), &wire::Limits::of_bytes(text.len()));
    event.args = raw.ok().map(|raw| redact::redact(raw, &redact::Limits::TRAIL).into());
    event
}
