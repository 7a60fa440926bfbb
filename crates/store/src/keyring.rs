//! The vault's key ring as rows. It changes as a whole, and every change names the state it was worked out from.

use domain::keyring::RingKey;
use jiff::Timestamp;

use crate::sql::{self, Connection};
use crate::{
    Store, StoreError,
    row::{micros, time},
    schema,
};

/// The salt of the passphrase, in `meta`.
const SALT: &str = "vault_salt";

/// A term as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTerm {
    /// The row.
    pub key: RingKey,
    /// When the term was made.
    pub created_at: Timestamp,
}

impl Store {
    /// The terms of the key ring, oldest first; none before the vault was first opened.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn keyring(&self) -> Result<Vec<StoredTerm>, StoreError> {
        terms(&mut self.readers.acquire().await?).await
    }

    /// Stores the first term unless there is a ring already, and with it `resealed`: a named value that is sealed
    /// under it from now on. Whoever comes first wins, so the ring has to be read after this.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn keyring_begin(
        &self,
        first: &RingKey,
        resealed: Option<(&str, &[u8])>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        if terms(&mut transaction).await?.is_empty() {
            put(&mut transaction, first, now).await?;
            if let Some((name, value)) = resealed {
                let update = "UPDATE sealed SET value = $2 WHERE name = $1";
                sql::query(update).bind(name).bind(value).execute(&mut transaction).await?;
            }
        }
        Ok(transaction.commit().await?)
    }

    /// The salt that the vault's passphrase is hashed with. `fresh` becomes it when there is none yet; without
    /// `fresh` there may be none.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or the salt is damaged.
    pub async fn vault_salt(&self, fresh: Option<[u8; 16]>) -> Result<Option<[u8; 16]>, StoreError> {
        let mut writer = self.writer.lock().await;
        if let Some(fresh) = fresh {
            let insert = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
            sql::query(insert).bind(SALT).bind(hex(&fresh)).execute(&mut writer.connection().await?).await?;
        }
        let salt = schema::meta(&mut writer.connection().await?, SALT).await?;
        salt.map(|salt| crate::row::hex(&salt).ok_or_else(|| StoreError::damaged("a salt"))).transpose()
    }
}

/// All terms, oldest first.
pub async fn terms(connection: &mut Connection<'_>) -> Result<Vec<StoredTerm>, StoreError> {
    let select = "SELECT term, state, wrapped, created_at FROM keyring ORDER BY term";
    let rows = sql::query(select).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let term = u32::try_from(row.try_get::<i64>(0)?).map_err(|_| StoreError::damaged("a term"))?;
            let key = RingKey { term, active: row.try_get::<&str>(1)? == "active", wrapped: row.try_get(2)? };
            let created_at = time(row.try_get(3)?).ok_or_else(|| StoreError::damaged("a term"))?;
            Ok(StoredTerm { key, created_at })
        })
        .collect()
}

/// Makes the ring `to`, if it still is `from`; says whether it was.
pub async fn set(
    connection: &mut Connection<'_>,
    from: &[RingKey],
    to: &[RingKey],
    salt: Option<&[u8; 16]>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let stored: Vec<RingKey> = terms(connection).await?.into_iter().map(|term| term.key).collect();
    if stored != from {
        return Ok(false);
    }
    for key in to {
        put(connection, key, now).await?;
    }
    if let Some(salt) = salt {
        schema::set_meta(connection, SALT, &hex(salt)).await?;
    }
    Ok(true)
}

async fn put(connection: &mut Connection<'_>, key: &RingKey, now: Timestamp) -> Result<(), StoreError> {
    let insert = "INSERT INTO keyring (term, state, wrapped, created_at) VALUES ($1, $2, $3, $4) \
                  ON CONFLICT (term) DO UPDATE SET state = $2, wrapped = $3";
    let state = if key.active { "active" } else { "decrypt_only" };
    let query = sql::query(insert).bind(key.term).bind(state).bind(key.wrapped.as_slice());
    query.bind(micros(now)).execute(connection).await?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    domain::audit::push_hex(&mut text, bytes);
    text
}
