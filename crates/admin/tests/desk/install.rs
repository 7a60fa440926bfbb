//! What every test begins with: a store in a folder of its own, a vault, a moment, a person.

use std::{sync::Arc, time::Duration};

use admin::open_vault;
use domain::operator::Email;
use jiff::Timestamp;
use store::{Birth, Store, StoreOptions, Sync};
use vault::{RootKey, Vault};

pub const PASSWORD: &str = "correct horse battery";

/// A new store; it goes with its folder.
pub async fn store() -> (Arc<Store>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let birth = Birth { install: [7; 16], now: now() };
    let path = folder.path().join("toolgate.db");
    let options = StoreOptions { place: path.into(), sync: Sync::Os, create: Some(birth) };
    (Arc::new(Store::open(&options).await.unwrap()), folder)
}

/// Its vault.
pub async fn vault(store: &Store) -> Vault {
    open_vault(store, &RootKey::from_bytes([1; 32]), now()).await.unwrap()
}

/// When every test begins.
pub fn now() -> Timestamp {
    at(0)
}

/// So many seconds later.
pub fn at(seconds: u64) -> Timestamp {
    "2026-11-23T14:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(seconds)
}

pub fn email(name: &str) -> Email {
    Email::parse(&format!("{name}@example.com")).unwrap()
}
