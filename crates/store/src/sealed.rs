//! Sealed values by name. The store sees ciphertext only.

use crate::{Store, StoreError};

impl Store {
    /// The sealed value of that name.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn sealed_get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let select = "SELECT value FROM sealed WHERE name = $1";
        Ok(sqlx::query_scalar(select).bind(name).fetch_optional(&self.readers).await?)
    }

    /// Stores a value unless the name has one; returns the one that it has now. Whoever comes first wins.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn sealed_put_if_absent(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut writer = self.writer.lock().await;
        let insert = "INSERT INTO sealed (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        sqlx::query(insert).bind(name).bind(value).execute(writer.connection()).await?;
        let select = "SELECT value FROM sealed WHERE name = $1";
        Ok(sqlx::query_scalar(select).bind(name).fetch_one(writer.connection()).await?)
    }
}
