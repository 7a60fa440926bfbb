//! From the settings `counters` to what counts the limits.

use std::{sync::Arc, time::Duration};

use anyhow::anyhow;
use counters::{BadServer, Counters, Memory, Shared, SharedOptions, Trouble};
use store::Store;

use crate::settings;

/// How many buckets this process may remember.
const BUCKETS_MAX: usize = 1 << 20;

/// How long a server that counts may take to answer one call.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);
/// The pause before the store is told again that this install counts at a server.
const REMEMBER_AGAIN: Duration = Duration::from_secs(5);

/// What counts, not connected yet. `counted`: [`SharedOptions::counted`].
///
/// # Errors
/// One sentence when the URL cannot be used.
pub fn counters(settings: &settings::Counters, install: [u8; 16], counted: bool) -> anyhow::Result<Counters> {
    let Some(server) = server(settings, install, counted)? else {
        return Ok(Counters::Memory(Memory::new(BUCKETS_MAX)));
    };
    Ok(Counters::Shared { keys: server, sources: Memory::new(BUCKETS_MAX) })
}

/// The server that counts, where there is one.
///
/// # Errors
/// One sentence when its URL cannot be used.
pub fn server(
    settings: &settings::Counters,
    install: [u8; 16],
    counted: bool,
) -> anyhow::Result<Option<Arc<Shared>>> {
    let Some(url) = &settings.url else { return Ok(None) };
    let options = SharedOptions {
        url: url.reveal().to_owned(),
        authority: settings.authority.clone(),
        install,
        counted,
        on_loss: settings.on_loss,
        capacity: BUCKETS_MAX,
        answer_within: ANSWER_WITHIN,
    };
    let unusable = |bad: BadServer| {
        let next = match bad {
            BadServer::Url => "write it like `redis://127.0.0.1:6379/0`",
            BadServer::Insecure => "leave that out, and name its authority in counters.ca_file",
            BadServer::Unasked => "write `rediss://…`, or leave counters.ca_file out",
            BadServer::Authority => "correct counters.ca_file",
        };
        anyhow!("limits cannot be counted at `{url}`: {bad} (counters.url); {next}")
    };
    Shared::new(&options).map(Some).map_err(unusable)
}

/// Connects for the first time. One that is away may come back; until then it is as if it had gone later.
///
/// # Errors
/// One sentence when the server is not who it should be: that does not pass by itself.
pub async fn connect(server: &Shared, settings: &settings::Counters) -> anyhow::Result<()> {
    match (server.connect().await, &settings.url) {
        (Err(Trouble::Untrusted(why)), Some(url)) => Err(anyhow!(
            "the server that counts limits is not trusted (`{url}`, counters.url): {}; {}",
            why.what(),
            why.next("counters")
        )),
        _ => Ok(()),
    }
}

/// Has the store remember that this install counts at a server, once it does. Until the store took it, it is tried again.
pub async fn remember(server: Arc<Shared>, store: Arc<Store>) {
    server.marked().await;
    while let Err(error) = store.set_counted().await {
        tracing::debug!("that limits are counted at a server could not be remembered: {error}");
        tokio::time::sleep(REMEMBER_AGAIN).await;
    }
}
