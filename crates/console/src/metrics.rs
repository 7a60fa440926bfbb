//! `/metrics`: what a monitor scrapes, in the text format of Prometheus (version 0.0.4). Names and meanings stand in
//! `METRICS`, and docs/metrics.md is made of it. No label holds what an agent or an upstream can choose.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use domain::audit::{Event, Kind, ResultWord};
use http::{Response, StatusCode, header};
use pipeline::{
    flow::Flow,
    timings::{BOUNDS_US, Histogram},
};
use sha2::{Digest as _, Sha256};

use crate::{Desk, answer, asked::Asked, health::Health, problem::Problem, route::Route, who};

/// One metric: its name, its kind, what it says.
pub struct Metric {
    /// As monitors know it.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// In one sentence.
    pub help: &'static str,
    write: fn(&Desk, &Seen, &str, &mut String),
}

/// What was looked up for one answer.
struct Seen {
    waiting: Option<u64>,
    health: Health,
    now: domain::clock::Now,
}

/// Every metric.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "toolgate_calls_total",
        kind: "counter",
        help: "Calls that ended since the start, by `decision` in the words of X-Proxy-Status.",
        write: |desk, _, name, out| {
            for (word, count) in ResultWord::ALL.iter().zip(&desk.tally.results) {
                let count = count.load(Ordering::Relaxed);
                // Writing to a `String` cannot fail, here and below.
                let _ = writeln!(out, "{name}{{decision=\"{}\"}} {count}", word.as_str());
            }
        },
    },
    Metric {
        name: "toolgate_rate_limited_total",
        kind: "counter",
        help: "Calls that were refused for a limit since the start.",
        write: |desk, _, name, out| line(out, name, desk.tally.limited.load(Ordering::Relaxed)),
    },
    Metric {
        name: "toolgate_console_denied_total",
        kind: "counter",
        help: "Requests to the console that were denied since the start.",
        write: |desk, _, name, out| line(out, name, desk.tally.denied.load(Ordering::Relaxed)),
    },
    Metric {
        name: "toolgate_gate_seconds",
        kind: "histogram",
        help: "From a call's arrival until it is sent: its body, the gates, the durable intent.",
        write: |desk, _, name, out| histogram(out, name, &desk.timings.gates),
    },
    Metric {
        name: "toolgate_upstream_seconds",
        kind: "histogram",
        help: "From sending a call until the head of its answer, or its failure.",
        write: |desk, _, name, out| histogram(out, name, &desk.timings.upstream),
    },
    Metric {
        name: "toolgate_held_calls",
        kind: "gauge",
        help: "Calls that wait for people; absent while the store does not answer.",
        write: |_, seen, name, out| {
            if let Some(waiting) = seen.waiting {
                line(out, name, waiting);
            }
        },
    },
    Metric {
        name: "toolgate_calls_under_way",
        kind: "gauge",
        help: "Calls that are sent and not answered yet.",
        write: |desk, _, name, out| line(out, name, desk.recorder.under_way() as u64),
    },
    Metric {
        name: "toolgate_audit_queue",
        kind: "gauge",
        help: "Events that wait for the trail's writer; calls are refused when 8,192 do.",
        write: |desk, _, name, out| line(out, name, desk.recorder.queued() as u64),
    },
    Metric {
        name: "toolgate_audit_healthy",
        kind: "gauge",
        help: "1 while the trail can be written, else 0: then nothing is forwarded.",
        write: |desk, _, name, out| line(out, name, u64::from(desk.recorder.is_healthy())),
    },
    Metric {
        name: "toolgate_store_healthy",
        kind: "gauge",
        help: "1 when the store could be read and written within the last seconds, else 0.",
        write: |_, seen, name, out| line(out, name, u64::from(seen.health.store.is_some())),
    },
    Metric {
        name: "toolgate_store_commit_seconds",
        kind: "gauge",
        help: "How long one small commit took the store within the last seconds; absent while it does not answer.",
        write: |_, seen, name, out| {
            if let Some(commit) = seen.health.store {
                let _ = writeln!(out, "{name} {}", commit.as_secs_f64());
            }
        },
    },
    Metric {
        name: "toolgate_vault_healthy",
        kind: "gauge",
        help: "1 when the vault opened a sealed value within the last seconds, else 0.",
        write: |_, seen, name, out| line(out, name, u64::from(seen.health.vault.is_some())),
    },
    Metric {
        name: "toolgate_counters_healthy",
        kind: "gauge",
        help: "1 while calls can be counted: in memory while there is room, at a server while it answers.",
        write: |_, seen, name, out| line(out, name, u64::from(seen.health.counters.works())),
    },
    Metric {
        name: "toolgate_limit_buckets",
        kind: "gauge",
        help: "Buckets of rate limits that are remembered, also those that have recovered lately.",
        write: |_, seen, name, out| line(out, name, seen.health.counters.buckets as u64),
    },
    Metric {
        name: "toolgate_limit_buckets_max",
        kind: "gauge",
        help: "How many buckets there may be; then callers who are new are refused until others recover.",
        write: |_, seen, name, out| line(out, name, seen.health.counters.capacity as u64),
    },
    Metric {
        name: "toolgate_snapshot_age_seconds",
        kind: "gauge",
        help: "How long ago the store confirmed keys, agents and services; calls are refused from 1 s on.",
        write: |desk, seen, name, out| {
            let confirmed = desk.freshness.current().confirmed_at;
            let age = seen.now.monotonic.saturating_sub(confirmed);
            let _ = writeln!(out, "{name} {}", age.as_secs_f64());
        },
    },
    Metric {
        name: "toolgate_kill_switch",
        kind: "gauge",
        help: "1 while the kill switch is on.",
        write: |desk, _, name, out| line(out, name, u64::from(desk.freshness.current().kill.is_some())),
    },
    Metric {
        name: "toolgate_agents",
        kind: "gauge",
        help: "Agents that may call.",
        write: |desk, _, name, out| {
            let world = desk.freshness.current();
            let active = |agent: &&std::sync::Arc<domain::agent::Agent>| {
                agent.state == domain::agent::AgentState::Active
            };
            line(out, name, world.agents.values().filter(active).count() as u64);
        },
    },
    Metric {
        name: "toolgate_services",
        kind: "gauge",
        help: "Services that are set up.",
        write: |desk, _, name, out| line(out, name, desk.freshness.current().services.len() as u64),
    },
    Metric {
        name: "toolgate_build_info",
        kind: "gauge",
        help: "1, with the `version` that runs.",
        write: |_, _, name, out| {
            let _ = writeln!(out, "{name}{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        },
    },
];

/// What is counted of the trail as it is written.
#[derive(Default)]
pub struct Tally {
    results: [AtomicU64; ResultWord::ALL.len()],
    limited: AtomicU64,
    denied: AtomicU64,
}

impl Tally {
    /// Counts what was written.
    pub fn count(&self, event: &Event) {
        if !matches!(event.kind, Kind::Outcome | Kind::Refusal | Kind::Held) {
            return;
        }
        let times = event.count.unwrap_or(1);
        if event.is_denial_at_console() {
            self.denied.fetch_add(times, Ordering::Relaxed);
            return;
        }
        let place = ResultWord::ALL.iter().position(|word| Some(*word) == event.result);
        if let Some(result) = place.and_then(|place| self.results.get(place)) {
            result.fetch_add(times, Ordering::Relaxed);
        }
        if event.kind == Kind::Refusal && event.status == Some(429) {
            self.limited.fetch_add(times, Ordering::Relaxed);
        }
    }
}

/// The token that a monitor presents. Only its hash is kept.
pub struct MonitorToken([u8; 32]);

impl MonitorToken {
    /// Of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    fn is(&self, text: &str) -> bool {
        // Hashes are compared: how long that takes tells nothing about the text.
        <[u8; 32]>::from(Sha256::digest(text.as_bytes())) == self.0
    }
}

/// Where the one thing stands that a monitor may read.
const PATH: &str = "/metrics";

/// Whether it is what a monitor may read, and comes with the token of `console.metrics_token_env`.
pub(crate) fn is_for_monitor(asked: &Asked, route: &Route) -> bool {
    let bearer = asked.header(header::AUTHORIZATION).and_then(who::bearer);
    let token = asked.desk.monitor.as_ref().filter(|_| route.path == PATH);
    bearer.zip(token).is_some_and(|(text, token)| token.is(text))
}

/// `GET /metrics`
pub(crate) async fn open(asked: Asked) -> Result<Response<Flow>, Problem> {
    let waiting = asked.desk.admin.count_waiting().await.ok();
    let seen = Seen { waiting, health: asked.desk.health().await, now: asked.now };
    let mut text = String::with_capacity(8_192);
    for metric in METRICS {
        let _ =
            writeln!(text, "# HELP {} {}\n# TYPE {} {}", metric.name, metric.help, metric.name, metric.kind);
        (metric.write)(&asked.desk, &seen, metric.name, &mut text);
    }
    Ok(answer::of(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}

fn line(out: &mut String, name: &str, value: u64) {
    let _ = writeln!(out, "{name} {value}");
}

fn histogram(out: &mut String, name: &str, histogram: &Histogram) {
    let counted = histogram.counted();
    for (bound, count) in BOUNDS_US.iter().zip(counted.up_to) {
        let seconds = std::time::Duration::from_micros(*bound).as_secs_f64();
        let _ = writeln!(out, "{name}_bucket{{le=\"{seconds}\"}} {count}");
    }
    let sum = std::time::Duration::from_micros(counted.sum_us).as_secs_f64();
    let _ = writeln!(
        out,
        "{name}_bucket{{le=\"+Inf\"}} {}\n{name}_sum {sum}\n{name}_count {}",
        counted.count, counted.count
    );
}

/// docs/metrics.md.
#[cfg(test)]
fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n<!-- Made of crates/console/src/metrics.rs; a test keeps it so. -->\n\n\
         `GET /metrics` on the console's listener answers in the text format of Prometheus. It takes the token in the\n\
         environment variable that `console.metrics_token_env` names, as `Authorization: Bearer`, or an operator's token.\n\
         Counters begin at zero when the gateway starts. No label holds what an agent or an upstream can choose.\n\n\
         | metric | kind | says |\n|---|---|---|\n",
    );
    for metric in METRICS {
        let _ = writeln!(text, "| `{}` | {} | {} |", metric.name, metric.kind, metric.help);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_what_is_measured() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            reference(),
            "bring it up to date with UPDATE_DOCS=1"
        );
    }

    #[test]
    fn a_monitors_token_is_one_text_only() {
        let token = MonitorToken::new("correct horse");
        assert!(token.is("correct horse") && !token.is("correct horsf") && !token.is(""));
    }

    #[test]
    fn refusals_are_counted_as_often_as_they_stand_for() {
        let tally = Tally::default();
        let mut event = Event::new(jiff::Timestamp::UNIX_EPOCH, Kind::Refusal);
        event.result = Some(ResultWord::Refused);
        event.status = Some(429);
        tally.count(&event);
        event.count = Some(40);
        tally.count(&event);
        event.method = Some(domain::audit::CONSOLE.into());
        tally.count(&event);
        let refused = ResultWord::ALL.iter().position(|word| *word == ResultWord::Refused).unwrap();
        assert_eq!(tally.results[refused].load(Ordering::Relaxed), 41);
        assert_eq!(tally.limited.load(Ordering::Relaxed), 41);
        assert_eq!(tally.denied.load(Ordering::Relaxed), 40);
        // An agent may call its method whatever it likes.
        event.call_id = Some(domain::names::CallId::new(1, 2));
        tally.count(&event);
        assert_eq!(tally.denied.load(Ordering::Relaxed), 40);
        assert_eq!(tally.results[refused].load(Ordering::Relaxed), 81);
    }
}
