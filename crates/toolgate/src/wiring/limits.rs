//! From the settings `counters` to what counts the limits.

use std::{sync::Arc, time::Duration};

use anyhow::anyhow;
use counters::{BadServer, Counters, Memory, Shared, SharedOptions};

use crate::settings;

/// How many buckets this process may remember.
const BUCKETS_MAX: usize = 1 << 20;

/// How long a server that counts may take to answer one call.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);

/// What counts, not connected yet.
///
/// # Errors
/// One sentence when the URL cannot be used.
pub fn counters(settings: &settings::Counters, install: [u8; 16]) -> anyhow::Result<Counters> {
    let Some(server) = server(settings, install)? else {
        return Ok(Counters::Memory(Memory::new(BUCKETS_MAX)));
    };
    Ok(Counters::Shared { keys: server, sources: Memory::new(BUCKETS_MAX) })
}

/// The server that counts, where there is one.
///
/// # Errors
/// One sentence when its URL cannot be used.
pub fn server(settings: &settings::Counters, install: [u8; 16]) -> anyhow::Result<Option<Arc<Shared>>> {
    let Some(url) = &settings.url else { return Ok(None) };
    let options = SharedOptions {
        url: url.reveal().to_owned(),
        install,
        on_loss: settings.on_loss,
        capacity: BUCKETS_MAX,
        answer_within: ANSWER_WITHIN,
    };
    let unusable = |bad: BadServer| {
        anyhow!(
            "limits cannot be counted at `{url}`: {bad} (counters.url); write it like `redis://127.0.0.1:6379/0`"
        )
    };
    Shared::new(&options).map(Some).map_err(unusable)
}
