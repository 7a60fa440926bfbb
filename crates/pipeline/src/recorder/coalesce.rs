//! Refusals that repeat: the first ones of each cause are written one by one, the rest as one event with a
//! count, so that a flood of refused calls can neither fill the disk nor hide in silence.

use std::{collections::HashMap, time::Duration};

use domain::audit::Event;

/// How many refusals of one cause are written one by one within a window.
const SINGLE_MAX: u64 = 20;
/// How long a window lasts.
const WINDOW: Duration = Duration::from_secs(10);
/// How many causes are counted apart; beyond, everything is written one by one.
const CAUSES_MAX: usize = 4_096;

/// Counts refusals by cause.
#[derive(Default)]
pub(super) struct Coalescer {
    causes: HashMap<Cause, Window>,
}

/// What makes two refusals the same: who, what, and why.
#[derive(PartialEq, Eq, Hash)]
struct Cause {
    agent: Option<String>,
    service: Option<String>,
    action: Option<String>,
    status: Option<u16>,
    reason: Option<String>,
}

struct Window {
    opened_at: Duration,
    seen: u64,
    /// The latest refusal that was only counted.
    last: Option<Event>,
}

impl Coalescer {
    /// The event to write now, or none when it was counted.
    pub(super) fn admit(&mut self, event: Event, now: Duration) -> Option<Event> {
        if event.count.is_some() {
            return Some(event);
        }
        let cause = Cause {
            agent: event.agent.as_ref().map(|name| name.as_str().to_owned()),
            // What a stranger asks for is his choice: all his refusals are one cause.
            service: event.agent.as_ref().and(event.service.as_deref()).map(str::to_owned),
            action: event.agent.as_ref().and(event.action.as_deref()).map(str::to_owned),
            status: event.status,
            reason: event.error.as_ref().map(|(_, reason)| reason.clone()),
        };
        if self.causes.len() >= CAUSES_MAX && !self.causes.contains_key(&cause) {
            return Some(event);
        }
        let window = self.causes.entry(cause).or_insert(Window { opened_at: now, seen: 0, last: None });
        window.seen += 1;
        if window.seen <= SINGLE_MAX {
            return Some(event);
        }
        window.last = Some(event);
        None
    }

    /// The counts of windows that have ended (all of them when `closing`).
    pub(super) fn due(&mut self, now: Duration, closing: bool) -> Vec<Event> {
        let mut events = Vec::new();
        self.causes.retain(|_, window| {
            if !closing && now.saturating_sub(window.opened_at) < WINDOW {
                return true;
            }
            if let Some(mut event) = window.last.take() {
                event.count = Some(window.seen - SINGLE_MAX);
                events.push(event);
            }
            false
        });
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::audit::Kind;

    fn refusal(reason: &str) -> Event {
        let mut event = Event::new(jiff::Timestamp::UNIX_EPOCH, Kind::Refusal);
        event.status = Some(403);
        event.error = Some(("forbidden".into(), reason.into()));
        event
    }

    #[test]
    fn every_refusal_is_written_or_counted() {
        let mut coalescer = Coalescer::default();
        let start = Duration::from_secs(5);
        let written = (0..1_000).filter_map(|_| coalescer.admit(refusal("a"), start)).count() as u64;
        assert_eq!(written, SINGLE_MAX);
        assert!(coalescer.admit(refusal("b"), start).is_some(), "another cause is written");
        assert!(coalescer.due(start, false).is_empty(), "the window is still open");
        let counted: Vec<_> = coalescer.due(start + WINDOW, false);
        assert_eq!(counted.len(), 1);
        assert_eq!(written + counted[0].count.unwrap(), 1_000);
        assert!(coalescer.admit(refusal("a"), start + WINDOW).is_some(), "a new window starts");
    }

    #[test]
    fn closing_loses_no_count() {
        let mut coalescer = Coalescer::default();
        for _ in 0..30 {
            let _ = coalescer.admit(refusal("a"), Duration::ZERO);
        }
        assert_eq!(coalescer.due(Duration::ZERO, true)[0].count, Some(10));
    }
}
