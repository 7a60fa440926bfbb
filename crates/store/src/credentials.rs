//! Credentials, read: ciphertext by service.

use domain::{
    credential::{SealedCredential, SealedCredentials},
    names::{CredentialName, ServiceName},
};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use crate::{StoreError, row::time};

/// All credentials that have a value.
pub async fn all(connection: &mut SqliteConnection) -> Result<SealedCredentials, StoreError> {
    let select = "SELECT service, name, version, sealed, set_at FROM credentials WHERE sealed IS NOT NULL \
                  ORDER BY service, name";
    let mut credentials = SealedCredentials::new();
    for row in sqlx::query(select).fetch_all(connection).await? {
        let (service, credential) = read(&row)?;
        credentials.entry(service).or_default().push(credential);
    }
    Ok(credentials)
}

fn read(row: &SqliteRow) -> Result<(ServiceName, SealedCredential), StoreError> {
    let (service, name): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    let damaged = || StoreError::damaged(format!("credential `{}`", name.escape_debug()));
    let version: i64 = row.try_get(2)?;
    let sealed: &[u8] = row.try_get(3)?;
    let credential = SealedCredential {
        name: CredentialName::parse(name).map_err(|_| damaged())?,
        version: u64::try_from(version).map_err(|_| damaged())?,
        sealed: sealed.into(),
        set_at: time(row.try_get(4)?).ok_or_else(damaged)?,
    };
    Ok((ServiceName::parse(service).map_err(|_| damaged())?, credential))
}
