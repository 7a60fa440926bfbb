//! What came through lately.

use admin::{Layer, Range};
use http::Response;
use jiff::Timestamp;
use pipeline::flow::Flow;
use schemars::JsonSchema;
use serde::Serialize;

use super::{RANGE, Time, page::Wanted};
use crate::{answer, asked::Asked, problem::Problem};

/// What came through.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OverviewView {
    /// `hour`, `day` or `week`.
    range: &'static str,
    calls: Counts,
    /// Calls that wait for people.
    waiting: u64,
    /// How long half of the answers took at most, and 99 of 100 (ms), with the upstream.
    times_ms: Option<Times>,
    bars: Vec<BarView>,
    agents: Vec<Ranked>,
    services: Vec<Ranked>,
    /// Rules, or reasons, that refused most.
    rules: Vec<Ranked>,
    failing: Vec<Ranked>,
    health: HealthView,
    /// Events of the trail.
    events: u64,
    /// Those that are not counted yet.
    behind: u64,
}

/// What the gateway stands on, as it was within the last seconds.
#[derive(Serialize, JsonSchema)]
pub(crate) struct HealthView {
    /// The store can be read and written.
    store: bool,
    /// Who is new finds room in the counters of the limits.
    counters: bool,
    /// The vault opens what is sealed.
    vault: bool,
    /// The trail can be written; else calls are refused.
    trail: bool,
}

/// Calls by how they ended.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Counts {
    forwarded: u64,
    approved: u64,
    held: u64,
    refused: u64,
    limited: u64,
    failed: u64,
}

/// How long answers took (ms).
#[derive(Serialize, JsonSchema)]
pub(crate) struct Times {
    p50: f64,
    p99: f64,
}

/// Calls of a span of time.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BarView {
    start: Time,
    calls: Counts,
}

/// A name and how often it was there.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Ranked {
    name: String,
    calls: u64,
}

pub(crate) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let wanted = Wanted::of(&asked)?.text(RANGE).unwrap_or_else(|| "hour".to_owned());
    let (word, range) =
        Range::WORDS.into_iter().find(|(word, _)| *word == wanted).unwrap_or(("hour", Range::Hour));
    let admin = &asked.desk.admin;
    let found = asked.desk.overview(range).await?;
    let seen = asked.desk.health().await;
    let ranked = |all: &[(String, u64)]| {
        all.iter().map(|(name, calls)| Ranked { name: name.clone(), calls: *calls }).collect()
    };
    answer::ok(&OverviewView {
        range: word,
        calls: counts(found.calls),
        waiting: admin.count_waiting().await?,
        times_ms: found.times.map(|(p50, p99)| Times { p50, p99 }),
        bars: found
            .bars
            .iter()
            .map(|bar| BarView {
                start: Time(Timestamp::from_second(bar.start).unwrap_or(Timestamp::MIN)),
                calls: counts(bar.calls),
            })
            .collect(),
        agents: ranked(&found.agents),
        services: ranked(&found.services),
        rules: ranked(&found.rules),
        failing: ranked(&found.failing),
        health: HealthView {
            store: seen.store.is_some(),
            counters: seen.counters.buckets < seen.counters.capacity,
            vault: seen.vault.is_some(),
            trail: asked.desk.recorder.is_healthy(),
        },
        events: found.events,
        behind: found.behind,
    })
}

/// In the order of [`Layer::ALL`].
fn counts([forwarded, approved, held, refused, limited, failed]: [u64; 6]) -> Counts {
    const { assert!(Layer::ALL.len() == 6) };
    Counts { forwarded, approved, held, refused, limited, failed }
}
