//! Values of credentials. The store sees ciphertext only, and gives no version twice.

use std::collections::BTreeSet;

use domain::{
    credential::{SealedCredential, SealedCredentials},
    names::{CredentialName, ServiceName},
};
use jiff::Timestamp;

use crate::sql::{self, Connection, Row};
use crate::{
    Store, StoreError,
    row::{micros, time},
};

/// What may be known about a credential that has or had a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// Its name within the service.
    pub name: CredentialName,
    /// Its newest version.
    pub version: u64,
    /// Since when that version is.
    pub set_at: Timestamp,
    /// Whether it has a value now. One that was dropped keeps its version.
    pub has_value: bool,
}

impl Store {
    /// What a service's credentials are, by name; never their values.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn credentials(&self, service: &ServiceName) -> Result<Vec<StoredCredential>, StoreError> {
        let select = "SELECT name, version, set_at, sealed IS NOT NULL FROM credentials \
                      WHERE service = $1 ORDER BY name";
        let rows = sql::query(select).bind(service.as_str()).fetch_all(&self.readers).await?;
        rows.iter().map(stored).collect()
    }
}

/// All credentials that have a value.
pub async fn all(connection: &mut Connection<'_>) -> Result<SealedCredentials, StoreError> {
    let select = "SELECT name, version, set_at, sealed IS NOT NULL, service, sealed FROM credentials \
                  WHERE sealed IS NOT NULL ORDER BY service, name";
    let mut credentials = SealedCredentials::new();
    for row in sql::query(select).fetch_all(connection).await? {
        let StoredCredential { name, version, set_at, .. } = stored(&row)?;
        let service = ServiceName::parse(row.try_get(4)?).map_err(|_| damaged(name.as_str()))?;
        let sealed: &[u8] = row.try_get(5)?;
        let credential = SealedCredential { name, version, sealed: sealed.into(), set_at };
        credentials.entry(service).or_default().push(credential);
    }
    Ok(credentials)
}

/// Stores a value as its next version; whether the conditions held (see [`crate::Change::PutCredential`]).
pub async fn put(
    connection: &mut Connection<'_>,
    place: (&ServiceName, &CredentialName),
    (version, replaces): (u64, Option<u64>),
    (origin, sealed): (&str, &[u8]),
    at: Timestamp,
) -> Result<bool, StoreError> {
    let Ok(number) = i64::try_from(version) else { return Ok(false) };
    let statement = match replaces {
        Some(_) => {
            "UPDATE credentials SET version = $3, origin = $4, sealed = $5, set_at = $6 \
             WHERE service = $1 AND name = $2 AND sealed IS NOT NULL AND version < $3 AND version = $7"
        }
        None => {
            "INSERT INTO credentials (service, name, version, origin, sealed, set_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (service, name) DO UPDATE \
             SET version = $3, origin = $4, sealed = $5, set_at = $6 \
             WHERE credentials.sealed IS NULL AND credentials.version < $3"
        }
    };
    let (service, name) = place;
    let query = sql::query(statement).bind(service.as_str()).bind(name.as_str()).bind(number);
    let query = query.bind(origin).bind(sealed).bind(micros(at));
    let done = match replaces {
        Some(replaces) => query.bind(i64::try_from(replaces).unwrap_or(i64::MAX)).execute(connection).await?,
        None => query.execute(connection).await?,
    };
    Ok(done > 0)
}

/// Drops the values of a service's credentials, but for those that are named.
pub async fn drop_all_but(
    connection: &mut Connection<'_>,
    service: &ServiceName,
    keeps: &BTreeSet<CredentialName>,
) -> Result<(), StoreError> {
    let select = "SELECT name FROM credentials WHERE service = $1 AND sealed IS NOT NULL";
    let names: Vec<String> =
        sql::query_scalar(select).bind(service.as_str()).fetch_all(&mut *connection).await?;
    for name in names.iter().filter(|name| !keeps.contains(name.as_str())) {
        let update = "UPDATE credentials SET sealed = NULL WHERE service = $1 AND name = $2";
        sql::query(update).bind(service.as_str()).bind(name).execute(&mut *connection).await?;
    }
    Ok(())
}

/// A row that begins with name, version, time, and whether there is a value.
fn stored(row: &Row) -> Result<StoredCredential, StoreError> {
    let name: &str = row.try_get(0)?;
    let version: i64 = row.try_get(1)?;
    Ok(StoredCredential {
        name: CredentialName::parse(name).map_err(|_| damaged(name))?,
        version: u64::try_from(version).map_err(|_| damaged(name))?,
        set_at: time(row.try_get(2)?).ok_or_else(|| damaged(name))?,
        has_value: row.try_get(3)?,
    })
}

fn damaged(name: &str) -> StoreError {
    StoreError::damaged(format!("credential `{}`", name.escape_debug()))
}
