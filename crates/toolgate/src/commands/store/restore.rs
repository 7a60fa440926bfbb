//! `store restore`: a backup takes the place of the store.

use std::path::{Path, PathBuf};

use anyhow::bail;
use jiff::Timestamp;
use serde_json::json;
use store::{Place, Staged, StoreError};

use super::super::{Context, Verdict, progress::Progress};
use crate::output::{Mark, count};

pub async fn restore(context: &Context, file: &Path) -> anyhow::Result<Verdict> {
    let settings = context.settings()?;
    let path = match &settings.store {
        Place::File(path) => path,
        Place::Server(url) => bail!(
            "this store is on a server ({url}); bring it back with `pg_restore`, into an empty database"
        ),
    };
    context.check_writable()?;
    let progress = Progress::new(context, "reading", "KiB");
    let staged =
        Staged::new(file, path, context.now().wall, |done, all| progress.at(done / 1024, all / 1024)).await;
    progress.clear();
    let staged = staged.map_err(|error| match error {
        StoreError::Served { path } => anyhow::anyhow!(
            "a gateway runs on this store ({}); stop it, then repeat this",
            context.invocation.path(&path)
        ),
        other => other.into(),
    })?;
    let now = context.now().wall;
    admin::record_restore(&staged, &context.actor(), now).await?;
    let (trail, replaced, in_doubt) = (staged.trail.clone(), staged.replaced.clone(), staged.in_doubt);
    let kept = kept_name(path, now);
    let kept = staged.take_its_place(&kept).await?.then_some(kept);
    if context.output.json {
        let replaced = replaced.map(|newest| newest.seq);
        let more =
            json!({ "file": file, "store": path, "kept": kept, "replaced": replaced, "in_doubt": in_doubt });
        context.output.json(&super::with_trail(&trail, more))?;
        return Ok(Verdict::Done);
    }
    let output = &context.output;
    let (from, to) = (context.invocation.path(file), context.invocation.path(path));
    output.answer_marked(Mark::Done, format!("{to} is {from} now: {}", super::trail_words(&trail)))?;
    if let Some(kept) = &kept {
        let ends = replaced.map_or(String::new(), |newest| {
            format!(", which ends at event {}", count(u64::try_from(newest.seq).unwrap_or_default()))
        });
        output.answer(format!("  the store until now is kept: {}{ends}", context.invocation.path(kept)))?;
    }
    output.warn(
        "keys, tokens and operators that were stopped since the backup are good again, and credentials have their values \
         from then: stop and set them again before the gateway starts",
    );
    output.warn(
        "calls that wait for people may have been sent since the backup: look before you decide on them",
    );
    if in_doubt > 0 {
        output.warn(super::in_doubt(in_doubt));
    }
    output.talk(format!(
        "  Next: {}; then {}",
        context.invocation.command("doctor"),
        context.invocation.command("serve")
    ));
    Ok(Verdict::Done)
}

/// `toolgate.db.until-2026-11-23T140231Z`.
fn kept_name(path: &Path, now: Timestamp) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(now.strftime(".until-%Y-%m-%dT%H%M%SZ").to_string());
    name.into()
}
