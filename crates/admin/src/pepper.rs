//! Secrets of which an install has exactly one: made once, sealed in the store, opened when they are needed.

use store::Store;
use vault::{AccessKeys, Label, Pepper, Purpose, Secret, SessionSealer, Vault};

use crate::AdminError;

/// Opens the install's pepper, making it first where there is none. Several processes may do so at once: the
/// store keeps the first one, and all of them use that.
///
/// # Errors
/// [`AdminError::WrongVaultKey`] when the stored pepper does not open with this vault.
pub async fn open_pepper(store: &Store, vault: &Vault) -> Result<Pepper, AdminError> {
    let secret = open_or_make(store, vault, Purpose::Pepper, Pepper::generate).await?;
    Pepper::new(&secret).ok_or(AdminError::WrongVaultKey)
}

/// Opens the key that session ids are sealed with, making it first where there is none.
///
/// # Errors
/// [`AdminError::WrongVaultKey`] when the stored key does not open with this vault.
pub async fn open_session_sealer(store: &Store, vault: &Vault) -> Result<SessionSealer, AdminError> {
    let secret = open_or_make(store, vault, Purpose::SessionKey, SessionSealer::generate).await?;
    SessionSealer::new(&secret).ok_or(AdminError::WrongVaultKey)
}

/// Opens the key that the console's access tokens are signed with, making it first where there is none.
///
/// # Errors
/// [`AdminError::WrongVaultKey`] when the stored key does not open with this vault.
pub async fn open_access_keys(store: &Store, vault: &Vault) -> Result<AccessKeys, AdminError> {
    let secret = open_or_make(store, vault, Purpose::AccessKey, AccessKeys::generate).await?;
    AccessKeys::new(&secret).ok_or(AdminError::WrongVaultKey)
}

async fn open_or_make(
    store: &Store,
    vault: &Vault,
    purpose: Purpose,
    make: fn() -> Secret,
) -> Result<Secret, AdminError> {
    let label = Label::of_install(purpose);
    let sealed = match store.sealed_get(purpose.as_str()).await? {
        Some(sealed) => sealed,
        None => store.sealed_put_if_absent(purpose.as_str(), &vault.seal(&label, make().reveal())).await?,
    };
    Ok(vault.open_sealed(&label, &sealed)?)
}
