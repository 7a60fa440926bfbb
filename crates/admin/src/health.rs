//! Whether the store and the vault work: each has to do what calls need of it.

use domain::clock::Clock;
use vault::Vault;

use crate::{Admin, AdminError, open_pepper};

impl Admin {
    /// Whether the store can be read and written, with the number of its schema and the time that a commit took.
    ///
    /// # Errors
    /// [`AdminError::Store`] when it cannot.
    pub async fn check_store(&self, clock: &dyn Clock) -> Result<store::Check, AdminError> {
        Ok(self.store.check(clock).await?)
    }

    /// Whether the vault opens what was sealed: reads a value that every install has, and opens it. Gives the term that
    /// new values are sealed under.
    ///
    /// # Errors
    /// [`AdminError::WrongVaultKey`] when it does not open, [`AdminError::Store`].
    pub async fn check_vault(&self, vault: &Vault) -> Result<u32, AdminError> {
        open_pepper(&self.store, vault).await?;
        Ok(vault.active_term())
    }
}
