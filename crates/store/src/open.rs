//! Opening a store: what it is born with, its schema, its one writer and its readers.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::{
    Place, Store, StoreError, append::Writer, hand::Hand, postgres, schema, sql::Pool, sqlite, weather,
};

const READERS_MAX: u32 = 4;
/// On a server reads wait for the way there and back; more of them go at once.
const SERVERS_READERS_MAX: u32 = 16;
/// How many connections look for changes.
const LOOKOUTS_MAX: u32 = 2;
/// How many connections read for people ([`Store::for_people`]).
const PEOPLES_READERS_MAX: u32 = 2;

/// What a commit survives (`audit.sync`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Loss of power: the disk is flushed before a commit returns.
    Flush,
    /// The end of this process, not of the machine.
    Os,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Where it is.
    pub place: Place,
    /// What a commit survives.
    pub sync: Sync,
    /// What a store that does not exist yet is born with; `None`: a missing store is an error.
    pub create: Option<Birth>,
}

/// What a new store is born with.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    /// 128 random bits that name the install.
    pub install: [u8; 16],
    /// When.
    pub now: Timestamp,
}

pub async fn open(options: &StoreOptions) -> Result<Store, StoreError> {
    let place = &options.place;
    let mut hand = match place {
        Place::File(path) => {
            sqlite::prepare_file(path, options.create.is_some())?;
            Hand::Sqlite(weather::still(sqlite::Hand::open(path, options.sync)).await?)
        }
        Place::Server(url) => Hand::Postgres(postgres::Hand::open(url, options.sync).await?),
    };
    if options.create.is_none() && schema::number(&mut hand.connection().await?).await? == 0 {
        return Err(match place {
            Place::File(path) => StoreError::NotAStore { path: path.clone() },
            Place::Server(_) => StoreError::Missing { place: place.clone() },
        });
    }
    schema::migrate(&mut hand, place, options.create.as_ref()).await?;
    let mut connection = hand.connection().await?;
    let (install, writer_name) =
        (schema::meta(&mut connection, "install").await?, schema::meta(&mut connection, "writer").await?);
    let (Some(install), Some(writer_name)) = (install, writer_name) else {
        return Err(match place {
            Place::File(path) => StoreError::NotAStore { path: path.clone() },
            Place::Server(_) => StoreError::damaged("no name of its own"),
        });
    };
    let install = crate::row::hex(&install).ok_or_else(|| StoreError::damaged("an install id"))?;
    drop(connection);
    let writer_name: Arc<str> = writer_name.into();
    let number = hand.number();
    let writer = Writer::new(hand, writer_name.clone());
    let (readers, lookout) = match place {
        Place::File(_) => {
            let readers = readers(place, READERS_MAX);
            (readers.clone(), readers)
        }
        Place::Server(_) => (readers(place, SERVERS_READERS_MAX), readers(place, LOOKOUTS_MAX)),
    };
    Ok(Store {
        writer: Arc::new(Mutex::new(writer)),
        number,
        readers,
        lookout,
        place: place.clone(),
        sync: options.sync,
        install,
        writer_name,
    })
}

/// Connections that read for people.
pub fn peoples_readers(place: &Place) -> Pool {
    match place {
        Place::File(path) => Pool::Sqlite(sqlite::peoples_readers(path, PEOPLES_READERS_MAX)),
        Place::Server(url) => Pool::Postgres(postgres::readers(url, PEOPLES_READERS_MAX)),
    }
}

/// Connections that read, so many at most.
fn readers(place: &Place, connections_max: u32) -> Pool {
    match place {
        Place::File(path) => Pool::Sqlite(sqlite::readers(path, weather::connections(connections_max))),
        Place::Server(url) => Pool::Postgres(postgres::readers(url, connections_max)),
    }
}
