//! The pepper's life: made once for an install, sealed in the store, opened when keys are checked or made.

use store::Store;
use vault::{Pepper, Vault};

use crate::AdminError;

const NAME: &str = "pepper";

/// Opens the install's pepper, making it first where there is none. Several processes may do so at once: the
/// store keeps the first one, and all of them use that.
///
/// # Errors
/// [`AdminError::WrongVaultKey`] when the stored pepper was sealed under another root key.
pub async fn open_pepper(store: &Store, vault: &Vault) -> Result<Pepper, AdminError> {
    let aad: [&[u8]; 3] = [store.install(), b"pepper", b"agent keys"];
    let sealed = match store.sealed_get(NAME).await? {
        Some(sealed) => sealed,
        None => store.sealed_put_if_absent(NAME, &vault.seal(&aad, Pepper::generate().reveal())).await?,
    };
    let secret = vault.open(&aad, &sealed)?;
    Pepper::new(&secret).ok_or(AdminError::WrongVaultKey)
}
