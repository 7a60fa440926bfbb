//! A store at one moment, read in one transaction, for whatever needs all of it while gateways go on working. Nothing
//! is changed, not even an older schema.

use crate::{
    Place, StoreError,
    append::Head,
    open, schema,
    sql::{self, Connection, Pool},
    sqlite,
    verify::{Verification, verify},
};

/// A store at one moment.
pub struct Moment {
    pool: Pool,
    /// The transaction.
    pub connection: Connection<'static>,
    /// The schema's number.
    pub schema: i64,
    /// The name of its chain.
    writer: String,
}

impl Moment {
    /// The store as it is now. Its schema is one that this program knows, or may go on with.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::NotAStore`], [`StoreError::Newer`], or the database's own words.
    pub async fn of(place: &Place) -> Result<Self, StoreError> {
        if let Place::File(path) = place {
            sqlite::prepare_file(path, false)?;
        }
        let pool = open::peoples_readers(place);
        let read = async {
            let mut connection = pool.begin().await?;
            if let Connection::Postgres(_) = connection {
                // Who reads all of it may take longer than a call would wait.
                for setting in ["statement_timeout", "idle_in_transaction_session_timeout"] {
                    sql::assembled(format!("SET LOCAL {setting} = 0")).execute(&mut connection).await?;
                }
            }
            let schema = schema::number(&mut connection).await?;
            if schema == 0 {
                return Err(nothing_of_ours(place));
            }
            schema::gate(&mut connection).await?;
            let writer = schema::meta(&mut connection, "writer").await?;
            let writer = writer.ok_or_else(|| nothing_of_ours(place))?;
            Ok((connection, schema, writer))
        };
        match read.await {
            Ok((connection, schema, writer)) => Ok(Self { pool, connection, schema, writer }),
            Err(error) => {
                pool.close().await;
                Err(match (place, error) {
                    (Place::File(path), StoreError::Database(error)) => sqlite::not_a_store(path, error),
                    (_, other) => other,
                })
            }
        }
    }

    /// Lets go of the store, and returns when that is done: a connection that is merely dropped closes in its own time.
    pub async fn close(self) {
        drop(self.connection);
        self.pool.close().await;
    }

    /// Checks its whole trail, as [`crate::Store::verify`] does.
    ///
    /// # Errors
    /// [`StoreError`] when the trail cannot be read at all.
    pub async fn verify(&mut self, progress: impl FnMut(u64, u64)) -> Result<Verification, StoreError> {
        verify(&mut self.connection, &self.writer, progress).await
    }

    /// The last event of its trail.
    pub async fn head(&mut self) -> Result<Head, StoreError> {
        crate::append::read_head(&mut self.connection).await
    }

    /// The name of its chain.
    pub fn writer(&self) -> &str {
        &self.writer
    }
}

fn nothing_of_ours(place: &Place) -> StoreError {
    match place {
        Place::File(path) => StoreError::NotAStore { path: path.clone() },
        Place::Server(_) => StoreError::Missing { place: place.clone() },
    }
}
