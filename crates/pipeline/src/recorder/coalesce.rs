//! Repeated refusals: the first ones of each cause are written one by one, the rest as one event with a count. A flood
//! of refused calls can then neither fill the disk nor go unnoticed.

use std::{collections::HashMap, time::Duration};

use domain::audit::Event;

/// How many refusals of one cause are written one by one within a window, and how long a window lasts.
struct Pace {
    single_max: u64,
    window: Duration,
}

/// Refused calls.
const CALLS: Pace = Pace { single_max: 20, window: Duration::from_secs(10) };
/// Requests that the console denied. Its causes are parted by route, so each may take less.
const DENIALS: Pace = Pace { single_max: 5, window: Duration::from_secs(60) };
/// How many causes are counted apart. Beyond, refusals of agents are written one by one, since limits bound them;
/// strangers are parted by status alone.
const CAUSES_MAX: usize = 4_096;

/// Counts refusals by cause.
#[derive(Default)]
pub(super) struct Coalescer {
    causes: HashMap<Cause, Window>,
}

/// What makes two refusals the same: who, what, and why.
#[derive(PartialEq, Eq, Hash)]
struct Cause {
    at_console: bool,
    agent: Option<String>,
    operator: Option<String>,
    service: Option<String>,
    action: Option<String>,
    status: Option<u16>,
    reason: Option<String>,
}

impl Cause {
    fn of(event: &Event) -> Self {
        let at_console = event.is_denial_at_console();
        let agent = event.agent.as_ref();
        // What a stranger asks for is his choice: all his refusals are one cause. At the console it is one of our routes.
        let told = at_console || agent.is_some();
        Self {
            at_console,
            agent: agent.map(|name| name.as_str().to_owned()),
            operator: event.operator.as_deref().map(str::to_owned),
            service: event.service.as_deref().filter(|_| told).map(str::to_owned),
            action: event.action.as_deref().filter(|_| told).map(str::to_owned),
            status: event.status,
            reason: event.error.as_ref().filter(|_| !at_console).map(|(_, reason)| reason.clone()),
        }
    }

    fn pace(&self) -> &'static Pace {
        if self.at_console { &DENIALS } else { &CALLS }
    }
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
        let mut cause = Cause::of(&event);
        if self.causes.len() >= CAUSES_MAX && !self.causes.contains_key(&cause) {
            if cause.agent.is_some() {
                return Some(event);
            }
            (cause.operator, cause.action, cause.reason) = (None, None, None);
        }
        let single_max = cause.pace().single_max;
        let window = self.causes.entry(cause).or_insert(Window { opened_at: now, seen: 0, last: None });
        window.seen += 1;
        if window.seen <= single_max {
            return Some(event);
        }
        window.last = Some(event);
        None
    }

    /// The counts of windows that have ended (all of them when `closing`).
    pub(super) fn due(&mut self, now: Duration, closing: bool) -> Vec<Event> {
        let mut events = Vec::new();
        self.causes.retain(|cause, window| {
            let pace = cause.pace();
            if !closing && now.saturating_sub(window.opened_at) < pace.window {
                return true;
            }
            if let Some(mut event) = window.last.take() {
                event.count = Some(window.seen - pace.single_max);
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
    use domain::audit::{CONSOLE, Kind};

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
        assert_eq!(written, CALLS.single_max);
        assert!(coalescer.admit(refusal("b"), start).is_some(), "another cause is written");
        assert!(coalescer.due(start, false).is_empty(), "the window is still open");
        let counted: Vec<_> = coalescer.due(start + CALLS.window, false);
        assert_eq!(counted.len(), 1);
        assert_eq!(written + counted[0].count.unwrap(), 1_000);
        assert!(coalescer.admit(refusal("a"), start + CALLS.window).is_some(), "a new window starts");
    }

    #[test]
    fn closing_loses_no_count() {
        let mut coalescer = Coalescer::default();
        for _ in 0..30 {
            let _ = coalescer.admit(refusal("a"), Duration::ZERO);
        }
        assert_eq!(coalescer.due(Duration::ZERO, true)[0].count, Some(10));
    }

    fn denial(operator: Option<&str>, route: &str) -> Event {
        let mut event = refusal("whatever");
        event.method = Some(CONSOLE.into());
        event.operator = operator.map(Into::into);
        event.action = Some(route.to_owned().into());
        event
    }

    #[test]
    fn a_flood_at_the_console_hides_neither_another_person_nor_another_route() {
        let mut coalescer = Coalescer::default();
        let mut flood = |operator, route| {
            (0..1_000).filter_map(|_| coalescer.admit(denial(operator, route), Duration::ZERO)).count() as u64
        };
        for operator in [None, Some("ada@example.com"), Some("eve@example.com")] {
            for route in ["PUT /api/kill", "GET /api/agents"] {
                assert_eq!(flood(operator, route), DENIALS.single_max, "{operator:?} {route}");
            }
        }
        assert!(coalescer.due(CALLS.window, false).is_empty(), "the console's windows are longer");
        let counted = coalescer.due(DENIALS.window, false);
        assert_eq!(counted.len(), 6);
        assert!(counted.iter().all(|event| event.count == Some(1_000 - DENIALS.single_max)));
    }

    #[test]
    fn strangers_cannot_fill_the_trail_with_causes_that_they_choose() {
        let mut coalescer = Coalescer::default();
        let many = |coalescer: &mut Coalescer| {
            let reasons = (0..10 * CAUSES_MAX).map(|number| format!("unreadable at {number}"));
            reasons.filter_map(|reason| coalescer.admit(refusal(&reason), Duration::ZERO)).count()
        };
        assert!(many(&mut coalescer) <= CAUSES_MAX + CALLS.single_max as usize);
        assert_eq!(coalescer.causes.len(), CAUSES_MAX + 1);
    }
}
