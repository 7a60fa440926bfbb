//! `store backup`: the store in a file, while the gateway runs.

use std::path::Path;

use anyhow::bail;
use serde_json::json;
use store::{Place, StoreError};

use super::super::{Context, Verdict, progress::Progress};
use crate::output::{Mark, age, count, size};

pub async fn backup(context: &Context, file: &Path) -> anyhow::Result<Verdict> {
    let settings = context.settings()?;
    let path = match &settings.store {
        Place::File(path) => path,
        Place::Server(url) => bail!(
            "this store is on a server ({url}); save it with `pg_dump --format=custom --schema=toolgate --file=FILE`"
        ),
    };
    let started = context.now().monotonic;
    let progress = Progress::new(context, "writing", "KiB");
    let made = store::backup(path, file, |done, all| progress.at(done / 1024, all / 1024)).await;
    progress.clear();
    let made = made.map_err(|error| match error {
        StoreError::Missing { .. } => context.no_home(),
        other => other.into(),
    })?;
    let verdict = if made.trail.ok { Verdict::Done } else { Verdict::No };
    if context.output.json {
        let more = json!({ "file": file, "bytes": made.bytes, "schema": made.schema });
        context.output.json(&super::with_trail(&made.trail, more))?;
        return Ok(verdict);
    }
    let shown = context.invocation.path(file);
    match &made.trail.first_broken {
        None => {
            let took = age(context.now().monotonic.saturating_sub(started));
            let trail = super::trail_words(&made.trail);
            let line = format!("{shown}   {}, whole: {trail} ({took})", size(made.bytes));
            context.output.answer_marked(Mark::Done, line)?;
        }
        Some(broken) => {
            let seq = count(u64::try_from(broken.seq).unwrap_or_default());
            let line = format!(
                "{shown} is written, and its trail breaks at event {seq} as the store's does: toolgate audit verify"
            );
            context.output.answer_marked(Mark::Failed, line)?;
        }
    }
    context.output.talk(format!(
        "  not in it: {}, without which no credential in it opens, and the settings and the policy; keep a copy of the \
         key elsewhere, never beside this file",
        settings.root_key.shown()
    ));
    Ok(verdict)
}
