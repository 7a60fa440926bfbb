//! What a gateway needs of the vault, and the wait for a root key that is not there yet.

use std::{sync::Arc, time::Duration};

use domain::clock::Clock;
use store::Store;
use vault::{AccessKeys, Pepper, SessionSealer, Vault};

use crate::{
    settings::RootKeySource,
    unlock::{Unlocked, unlock},
};

/// How often a missing key file is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The open vault, and what is sealed in it once for an install.
pub struct Secrets {
    pub vault: Arc<Vault>,
    pub pepper: Pepper,
    pub sessions: SessionSealer,
    pub access: AccessKeys,
}

/// Opens the vault; what is missing, and what to do, when there is no root key.
///
/// # Errors
/// One sentence when the key is there and cannot be used.
pub async fn open(
    source: &RootKeySource,
    store: &Store,
    clock: &dyn Clock,
) -> anyhow::Result<Result<Secrets, String>> {
    let vault = match unlock(source, store, clock.now().wall).await? {
        Unlocked::Open(vault) => vault,
        Unlocked::Sealed(why) => return Ok(Err(why)),
    };
    let pepper = admin::open_pepper(store, &vault).await?;
    let sessions = admin::open_session_sealer(store, &vault).await?;
    let access = admin::open_access_keys(store, &vault).await?;
    Ok(Ok(Secrets { vault: Arc::new(vault), pepper, sessions, access }))
}

/// Waits until the root key is there and opens the vault. A key that cannot be used is told and waited out: it may
/// be half copied. Variables do not change while a process runs, so without a key file this waits for ever.
pub async fn wait(source: &RootKeySource, store: &Store, clock: &dyn Clock) -> Secrets {
    if !matches!(source, RootKeySource::File(_)) {
        return std::future::pending().await;
    }
    let mut told = String::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match open(source, store, clock).await {
            Ok(Ok(secrets)) => return secrets,
            Ok(Err(_)) => told.clear(),
            Err(error) => {
                let sentence = error.to_string();
                if sentence != told {
                    tracing::error!("still sealed: {sentence}");
                    told = sentence;
                }
            }
        }
    }
}
