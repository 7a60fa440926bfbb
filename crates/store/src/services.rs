//! Services, read.

use domain::{names::ServiceName, service::Service};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

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
        services(&mut *self.readers.acquire().await?).await
    }
}

impl Store {
    /// What agents may read about a service, if there is anything.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn documentation(&self, service: &ServiceName) -> Result<Option<String>, StoreError> {
        let select = "SELECT body FROM documentation WHERE service = $1";
        Ok(sqlx::query_scalar(select).bind(service.as_str()).fetch_optional(&self.readers).await?)
    }
}

pub async fn services(connection: &mut SqliteConnection) -> Result<Vec<StoredService>, StoreError> {
    let select = "SELECT name, definition, revision FROM services ORDER BY name";
    sqlx::query(select).fetch_all(connection).await?.iter().map(service).collect()
}

fn service(row: &SqliteRow) -> Result<StoredService, StoreError> {
    let name: &str = row.try_get(0)?;
    match serde_json::from_str::<Service>(row.try_get(1)?) {
        Ok(service) if service.name.as_str() == name => {
            Ok(StoredService { service, revision: row.try_get(2)? })
        }
        _ => Err(StoreError::damaged(format!("service `{}`", name.escape_debug()))),
    }
}
