//! From the settings to an open vault: where the root key comes from, and what it means when it is not there.
//! A key that is missing leaves the vault sealed; a wrong one is an error.

use std::path::Path;

use admin::{AdminError, open_vault};
use anyhow::anyhow;
use jiff::Timestamp;
use store::Store;
use vault::{KeyFileFault, RootKey, Vault};
use zeroize::Zeroizing;

use crate::settings::RootKeySource;

/// A vault that was tried to be opened.
pub enum Unlocked {
    /// It is open.
    Open(Vault),
    /// There is no root key: what is missing, and what to do.
    Sealed(String),
}

/// The shortest passphrase that a new root key is made of, in characters.
pub const PASSPHRASE_CHARACTERS_MIN: usize = 16;

/// Opens the vault of a store with the root key that the settings name. A key file whose replacement a crash cut
/// off is put in order.
///
/// A variable stays in this process's environment: it cannot be taken out of there without `unsafe`. The process
/// is hardened, so only root can look; a key file leaves no such trace.
///
/// # Errors
/// One sentence when the key is there and cannot be used, or does not open the key ring.
pub async fn unlock(source: &RootKeySource, store: &Store, now: Timestamp) -> anyhow::Result<Unlocked> {
    // Not fatal: a kernel without these switches still runs, and the rest of the protection holds.
    if let Err(error) = vault::harden_process() {
        tracing::warn!("core dumps could not be switched off: {error}");
    }
    let root = match source {
        RootKeySource::File(path) => {
            let unlocked = unlock_with_file(path, store, now).await;
            return unlocked.map_err(|error| match error.downcast::<AdminError>() {
                Ok(error) => unopened(error, source, store),
                Err(error) => error,
            });
        }
        RootKeySource::Variable(name) => match variable(name) {
            Some(text) => RootKey::from_text(&text)
                .map_err(|fault| anyhow!("the vault key cannot be read (${name}): {fault}"))?,
            None => return Ok(sealed_without(name, "vault.key_env")),
        },
        RootKeySource::Passphrase(name) => match variable(name) {
            Some(text) => {
                // A store that has no salt yet gets one with its key ring.
                let fresh = store.keyring().await?.is_empty().then(vault::random::bytes);
                let salt = store.vault_salt(fresh).await?.ok_or_else(|| {
                    anyhow!(
                        "this home's vault key is not made of a passphrase (vault.passphrase_env); \
                         use the key that it was made with"
                    )
                })?;
                RootKey::from_passphrase(&text, &salt)?
            }
            None => return Ok(sealed_without(name, "vault.passphrase_env")),
        },
    };
    Ok(Unlocked::Open(open_vault(store, &root, now).await.map_err(|error| unopened(error, source, store))?))
}

/// Where gateways share a store, a key that does not fit is most likely the one of before.
fn unopened(error: AdminError, source: &RootKeySource, store: &Store) -> anyhow::Error {
    match error {
        AdminError::WrongVaultKey if store.is_shared() => anyhow!(
            "the vault does not open ({}), the key is not the one of the store's key ring; if `vault rekey` ran at another \
             gateway, bring its new key here, else the right copy",
            source.shown()
        ),
        AdminError::WrongVaultKey => anyhow!(
            "the vault does not open ({}), the key is not the one this home was made with, or its key ring was altered; \
             bring back the right copy",
            source.shown()
        ),
        error => error.into(),
    }
}

async fn unlock_with_file(path: &Path, store: &Store, now: Timestamp) -> anyhow::Result<Unlocked> {
    let key = match RootKey::load(path) {
        Err(fault @ KeyFileFault::Missing { .. }) => return Ok(Unlocked::Sealed(fault.to_string())),
        other => other?,
    };
    match open_vault(store, &key, now).await {
        Err(AdminError::WrongVaultKey) => {}
        other => return Ok(Unlocked::Open(other?.with_key_file(path))),
    }
    // A crash between the ring's change and the file's leaves the right key beside the wrong one. And while another
    // process replaces the key, the right one may have got its place just now.
    if let Ok(next) = RootKey::load_next(path)
        && let Ok(vault) = open_vault(store, &next, now).await
    {
        next.finish_replacing(path)?;
        return Ok(Unlocked::Open(vault.with_key_file(path)));
    }
    let vault = open_vault(store, &RootKey::load(path)?, now).await?;
    Ok(Unlocked::Open(vault.with_key_file(path)))
}

/// A variable that holds a secret; empty counts as unset.
pub fn variable(name: &str) -> Option<Zeroizing<String>> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(Zeroizing::new)
}

fn sealed_without(name: &str, setting: &str) -> Unlocked {
    Unlocked::Sealed(format!(
        "there is no vault key (${name} is not set, {setting}); set it, and start again"
    ))
}
