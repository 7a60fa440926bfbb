//! `store copy`: all of a store into an empty place.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::json;
use store::{CopyStep, Place, StoreError, Sync};

use super::super::{Context, Verdict, progress::Progress};
use crate::{
    output::{Mark, age, count, count_of},
    settings::{self, Settings},
};

pub async fn copy(context: &Context, from: &str, to: &str) -> anyhow::Result<Verdict> {
    let settings = context.settings()?;
    let (source, target) =
        (place(context, &settings, from, "--from")?, place(context, &settings, to, "--to")?);
    let sync = match settings.audit.sync {
        settings::Sync::Flush => Sync::Flush,
        settings::Sync::Os => Sync::Os,
    };
    let started = context.now().monotonic;
    let rows = Progress::new(context, "copying", "rows");
    let events = Progress::new(context, "verifying", "events");
    let copied = store::copy(&source, &target, sync, context.now().wall, |step, done, all| match step {
        CopyStep::Rows => rows.at(done, all),
        CopyStep::Trail => events.at(done, all),
    });
    let copied = copied.await;
    rows.clear();
    events.clear();
    let copied = copied.map_err(|error| match error {
        StoreError::Missing { place } if place == source => {
            anyhow!("there is no store ({place}, --from); say where it is")
        }
        other => other.into(),
    })?;
    let took = context.now().monotonic.saturating_sub(started);
    let verdict = if copied.trail.ok { Verdict::Done } else { Verdict::No };
    if context.output.json {
        let more = json!({
            "from": source.to_string(),
            "to": target.to_string(),
            "rows": copied.rows,
            "source_is_served": copied.source_is_served,
            "missed": copied.missed,
            "in_doubt": copied.in_doubt,
        });
        context.output.json(&super::with_trail(&copied.trail, more))?;
        return Ok(verdict);
    }
    tell(context, &copied, took)?;
    if copied.source_is_served || copied.missed > 0 {
        context.output.warn(left_behind(&copied));
    }
    if copied.in_doubt > 0 {
        context.output.warn(super::in_doubt(copied.in_doubt));
    }
    context.output.talk(format!("  {}", next(context, &settings, &source, &target)));
    Ok(verdict)
}

fn tell(context: &Context, copied: &store::Copied, took: Duration) -> anyhow::Result<()> {
    let rows = count_of(usize::try_from(copied.rows).unwrap_or(usize::MAX), "row");
    let output = &context.output;
    match &copied.trail.first_broken {
        None => output.answer_marked(
            Mark::Done,
            format!(
                "{rows} copied, every table counted; the trail holds in both: {} ({})",
                super::trail_words(&copied.trail),
                age(took)
            ),
        )?,
        Some(broken) => output.answer_marked(
            Mark::Failed,
            format!(
                "{rows} copied as they are; the trail breaks at event {} in both: toolgate audit verify",
                count(u64::try_from(broken.seq).unwrap_or_default())
            ),
        )?,
    }
    Ok(())
}

/// What is not in a copy of a store that was not at rest.
fn left_behind(copied: &store::Copied) -> String {
    let missed = count_of(usize::try_from(copied.missed).unwrap_or(usize::MAX), "event");
    match (copied.source_is_served, copied.missed) {
        (true, 0) => {
            "a gateway runs on the source: what it does from now on is not in the copy; stop it, then copy again into an \
             empty place"
                .to_owned()
        }
        (true, _) => format!(
            "a gateway runs on the source: {missed} came since the copy began, and none of them is in it; stop it, then \
             copy again into an empty place"
        ),
        (false, _) => format!("{missed} came to the source since the copy began and are not in it; copy again"),
    }
}

fn next(context: &Context, settings: &Settings, source: &Place, target: &Place) -> String {
    let serve = context.invocation.command("serve");
    if *target == settings.store {
        return format!("Next: {serve}");
    }
    let moved = if *source == settings.store { "this home" } else { "its home" };
    let value = match target {
        Place::File(path) => context.invocation.path(path),
        // The password is not shown.
        Place::Server(_) => "that URL".to_owned(),
    };
    match target {
        Place::Server(_) => format!(
            "Next: never run a gateway on the old store again; set store.url to {value} for {moved} (or TOOLGATE_STORE_URL), \
             keep its vault.key, then: {serve}"
        ),
        Place::File(_) => format!(
            "Next: never run a gateway on the old store again; move {value} to the home as toolgate.db, leave store.url out, \
             keep the same vault.key, then: {serve}"
        ),
    }
}

/// The word `sqlite` is the home's own file, as in `store.url`. The URL that is in the settings has its password and its authority from there.
fn place(context: &Context, settings: &Settings, text: &str, option: &str) -> anyhow::Result<Place> {
    if text == "sqlite" {
        return Ok(Place::File(context.home.path().join("toolgate.db")));
    }
    let place = Place::parse(text).map_err(|bad| anyhow!("{bad} ({option}); {}", bad.instead()))?;
    match &place {
        Place::File(path) if path.as_os_str().is_empty() => {
            Err(anyhow!("there is no file's name ({option}); write sqlite:FILE"))
        }
        _ if place == settings.store => Ok(settings.store.clone()),
        _ => Ok(place),
    }
}
