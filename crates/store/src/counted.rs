//! Whether limits of this install were ever counted at a server. The store remembers it, so that a server which has
//! forgotten them is not taken for one that counts for the first time.

use crate::{Store, StoreError, schema};

/// In `meta`.
const COUNTED: &str = "counted";

impl Store {
    /// Whether they were.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn has_counted(&self) -> Result<bool, StoreError> {
        Ok(schema::meta(&mut self.readers.acquire().await?, COUNTED).await?.is_some())
    }

    /// They are from now on.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn set_counted(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let mut connection = writer.hand().connection().await?;
        Ok(schema::set_meta(&mut connection, COUNTED, "yes").await?)
    }
}
