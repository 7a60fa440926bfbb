//! What one event costs the writer: µs of wall time and of CPU for groups of 1, 8, 32 and 128, both sync modes.
//! Run with `cargo bench -p store --bench append`; it only prints, it judges nothing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement reads the clock, prints, and may fail loudly"
)]

use std::{
    fs,
    time::{Duration, Instant},
};

use domain::{
    audit::{Decision, Effect, Event, Kind, ResultWord},
    key::KeyId,
    names::{AgentName, CallId, RoleName},
    stop::Gate,
};
use store::{Birth, Entry, Store, StoreOptions, Sync};

/// Events of one round; fewer where each commit waits for the disk.
const EVENTS: u32 = 65_536;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("sync   group  events/s   wall µs   cpu µs  (per event)");
    for (sync, share) in [(Sync::Os, 4), (Sync::Flush, 32)] {
        for group in [1, 8, 32, 128] {
            let events = EVENTS / if group == 1 { share * 4 } else { share };
            runtime.block_on(round(sync, group, events));
        }
    }
}

async fn round(sync: Sync, group: usize, events: u32) {
    let folder = tempfile::tempdir().unwrap();
    let birth = Birth { install: [0; 16], now: "2026-11-23T14:00:00Z".parse().unwrap() };
    let options = StoreOptions { place: folder.path().join("toolgate.db").into(), sync, create: Some(birth) };
    let store = Store::open(&options).await.unwrap();
    let entries: Vec<Entry> = (0..events).map(|number| event(number).into()).collect();
    let (started, cpu) = (Instant::now(), cpu_time());
    for group in entries.chunks(group) {
        store.append(group).await.unwrap();
    }
    let (wall, cpu, events) = (started.elapsed(), cpu_time() - cpu, f64::from(events));
    let per = |time: Duration| time.as_secs_f64() * 1e6 / events;
    println!(
        "{:<6} {group:>5} {:>9.0} {:>9.2} {:>8.2}",
        format!("{sync:?}"),
        events / wall.as_secs_f64(),
        per(wall),
        per(cpu)
    );
    store.close().await;
}

/// An intent and an outcome in turn, as a call of a tool makes them.
fn event(number: u32) -> Event {
    let intent = number.is_multiple_of(2);
    let at =
        "2026-11-23T14:00:00Z".parse::<jiff::Timestamp>().unwrap() + Duration::from_micros(u64::from(number));
    let mut event = Event::new(at, if intent { Kind::Intent } else { Kind::Outcome });
    event.call_id = Some(CallId::new(1_000 + u64::from(number / 2_000), number / 2));
    event.agent = Some(AgentName::parse("laptop").unwrap());
    event.key_id = KeyId::parse("7kq2m9xd");
    event.role = Some(RoleName::parse("user").unwrap());
    event.service = Some("files".into());
    event.method = Some("tools/call".into());
    event.action = Some("read_text_file".into());
    if intent {
        let reason = "allowed by a rule".into();
        event.decision = Some(Decision {
            gate: Gate::Record,
            effect: Effect::Allow,
            rule: None,
            reason,
            risk: None,
            policy: None,
        });
        event.args = Some(r#"{"path":"/srv/data/projects/notes/2026-11-23.md","head":20}"#.into());
        event.digest = Some([7; 32]);
    } else {
        event.result = Some(ResultWord::Forwarded);
        event.status = Some(200);
        event.bytes = Some(412);
        event.latency_us = Some(3_100);
    }
    event
}

/// User and system time of this process, with SQLite's thread in it.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let own: u64 = stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let all: u64 = tasks
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(all.max(own))
}
