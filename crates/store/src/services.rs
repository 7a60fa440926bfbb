//! Services and their documentation.

use domain::{
    credential::{CredentialKind, CredentialSlot, carries_over},
    names::{CredentialName, ServiceName},
    service::Service,
};

use crate::sql::{self, Connection, Row};
use crate::{Store, StoreError};

/// A service and the revision of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredService {
    /// The service.
    pub service: Service,
    /// Moves with every change of this service; see [`crate::Change::PutService`].
    pub revision: i64,
}

impl Store {
    /// All services by name.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn load_services(&self) -> Result<Vec<StoredService>, StoreError> {
        services(&mut self.readers.acquire().await?).await
    }

    /// What agents may read about a service; `None` when it has no documentation, or there is no such service.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn documentation(&self, service: &ServiceName) -> Result<Option<String>, StoreError> {
        let select = "SELECT body FROM documentation WHERE service = $1";
        Ok(sql::query_scalar(select).bind(service.as_str()).fetch_optional(&self.readers).await?)
    }
}

/// Stores a service's documentation, or takes it away.
pub async fn put_documentation(
    connection: &mut Connection<'_>,
    service: &ServiceName,
    text: Option<&str>,
) -> Result<(), StoreError> {
    let statement = match text {
        Some(_) => {
            "INSERT INTO documentation (service, body) VALUES ($1, $2) \
             ON CONFLICT (service) DO UPDATE SET body = $2"
        }
        None => "DELETE FROM documentation WHERE service = $1",
    };
    let query = sql::query(statement).bind(service.as_str());
    match text {
        Some(text) => query.bind(text).execute(connection).await?,
        None => query.execute(connection).await?,
    };
    Ok(())
}

/// Whether a value for this credential may be stored: the service is there, at that origin, and declares the name with
/// a kind that sends such a value to the same place in the same way.
pub async fn takes_credential(
    connection: &mut Connection<'_>,
    name: &ServiceName,
    origin: &str,
    (credential, kind): (&CredentialName, &CredentialKind),
) -> Result<bool, StoreError> {
    let select = "SELECT name, definition, revision FROM services WHERE name = $1";
    let row = sql::query(select).bind(name.as_str()).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(false) };
    let service = self::service(&row)?.service;
    let fits = |slot: &CredentialSlot| slot.name == *credential && carries_over(kind, &slot.kind);
    Ok(service.upstream.origin() == origin && service.credentials.iter().any(fits))
}

pub async fn services(connection: &mut Connection<'_>) -> Result<Vec<StoredService>, StoreError> {
    let select = "SELECT name, definition, revision FROM services ORDER BY name";
    sql::query(select).fetch_all(connection).await?.iter().map(service).collect()
}

fn service(row: &Row) -> Result<StoredService, StoreError> {
    let name: &str = row.try_get(0)?;
    match serde_json::from_str::<Service>(row.try_get(1)?) {
        Ok(service) if service.name.as_str() == name => {
            Ok(StoredService { service, revision: row.try_get(2)? })
        }
        _ => Err(StoreError::damaged(format!("service `{}`", name.escape_debug()))),
    }
}
