//! A store that cannot be trusted is not opened.

use std::{fs, os::unix::fs::PermissionsExt as _};

use store::{Store, StoreError, StoreOptions, Sync};

use crate::world::{World, moment, options};

#[tokio::test]
async fn a_new_store_is_for_its_owner_alone_and_as_durable_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    for (name, sync) in [("a.db", Sync::Flush), ("b.db", Sync::Os)] {
        let path = folder.path().join(name);
        let store = Store::open(&options(path.clone(), sync)).await.unwrap();
        store.append(&[crate::world::call(1)[0].clone().into()]).await.unwrap();
        assert_eq!(store.sync(), sync);
        for file in fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(
                file.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{:?}",
                file.file_name()
            );
        }
        store.close().await;
    }
}

#[tokio::test]
async fn the_install_id_and_the_chain_stay_the_same() {
    let world = World::new().await;
    let mut again = options(world.place.clone(), Sync::Os);
    again.create.as_mut().unwrap().install = [9; 16];
    let second = Store::open(&again).await.unwrap();
    assert_eq!((world.store.install(), second.install()), (&[7; 16], &[7; 16]));
    assert_eq!(second.writer_name(), world.store.writer_name());
}

#[tokio::test]
async fn a_missing_store_is_made_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.db");
    let options = StoreOptions { create: None, ..options(path.clone(), Sync::Os) };
    assert!(matches!(Store::open(&options).await, Err(StoreError::Missing { .. })));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_what_it_needs() {
    let world = World::new().await;
    world.execute("UPDATE meta SET value = '0.3' WHERE name = 'needs'").await;
    world.execute("DELETE FROM meta WHERE name = 'oldest'").await;
    let known = world.schema().await;
    world.set_schema(700).await;
    let fault = Store::open(&options(world.place.clone(), Sync::Os)).await.err().unwrap();
    assert_eq!(
        fault.to_string(),
        format!(
            "this home needs toolgate 0.3 or newer (schema 700, this binary knows {known}); use that, or a backup"
        )
    );
}

#[tokio::test]
async fn another_file_is_not_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("toolgate.db");
    fs::write(&path, "not a database, and longer than a header of SQLite: ".repeat(40)).unwrap();
    assert!(matches!(Store::open(&options(path.clone(), Sync::Os)).await, Err(StoreError::NotAStore { .. })));
}

#[tokio::test]
async fn a_copy_of_the_files_after_a_crash_opens_and_verifies() {
    // What the disk holds at some moment, the log not yet copied into the file: the image after a kill.
    let world = World::on_file().await;
    world.fill(30).await;
    let image = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("toolgate.db{suffix}");
        fs::copy(world.path().with_file_name(&name), image.path().join(&name)).unwrap();
    }
    let path = image.path().join("toolgate.db");
    let copy =
        Store::open(&StoreOptions { create: None, ..options(path.clone(), Sync::Flush) }).await.unwrap();
    let verification = copy.verify(|_, _| {}).await.unwrap();
    assert!(verification.ok);
    assert_eq!(verification.events, 60);
}

#[tokio::test]
async fn a_check_reads_and_commits() {
    struct Ticking(std::sync::atomic::AtomicU32);
    impl domain::clock::Clock for Ticking {
        fn now(&self) -> domain::clock::Now {
            let tick = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            domain::clock::Now {
                wall: moment(0),
                monotonic: std::time::Duration::from_millis(u64::from(tick)),
            }
        }
    }
    let world = World::new().await;
    let check = world.store.check(&Ticking(0.into())).await.unwrap();
    assert_eq!((check.schema, check.flush.as_millis()), (world.schema().await, 1));
    // A socket file needs no TLS, and its tables are ours.
    assert_eq!((check.tls, check.other_owner), (None, None));
    assert_eq!(check.clock.is_some(), world.store.is_shared());
    assert_eq!(world.store.clock(&Ticking(0.into())).await.unwrap().is_some(), world.store.is_shared());
}
