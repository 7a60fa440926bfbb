//! A store in a file is saved while it is written, and brought back in place of another.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use domain::audit::{Event, Kind};
use store::{Newest, Place, Staged, Store, StoreError, Sync};

use super::{existing, files_in, restored, saved, verified};
use crate::world::{World, all_done, call, moment, options, raw_of};

#[tokio::test]
async fn a_backup_is_one_moment_of_a_store_that_is_written() {
    let world = World::on_file().await;
    world.fill(50).await;
    let folder = tempfile::tempdir().unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let writing = async {
        let mut number = 100;
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            number += 1;
            let events: Vec<_> = call(number).map(store::Entry::from).into();
            all_done(&world.store.append(&events).await.unwrap());
        }
    };
    let saving = async {
        for round in 0..3 {
            let path = folder.path().join(format!("{round}.db"));
            let made = saved(&world, &path).await.unwrap();
            assert!(made.trail.ok);
            assert_eq!(made.trail.events % 2, 0, "calls are appended with both their events");
            assert_eq!(made.bytes, path.metadata().unwrap().len());
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    tokio::join!(writing, saving);
    assert_eq!(files_in(folder.path()).len(), 3, "{:?}", files_in(folder.path()));
    for path in files_in(folder.path()) {
        assert!(verified(&path.as_path().into()).await.ok);
    }
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_what_fails_leaves_nothing() {
    let world = World::on_file().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    fs::write(&path, "mine").unwrap();
    assert!(matches!(saved(&world, &path).await, Err(StoreError::Exists { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let fault = store::backup(&path, &folder.path().join("b.db"), |_, _| {}).await.unwrap_err();
    assert!(matches!(fault, StoreError::NotAStore { .. }), "{fault}");
    let none = folder.path().join("none.db");
    let fault = store::backup(&none, &folder.path().join("b.db"), |_, _| {}).await.unwrap_err();
    assert!(matches!(fault, StoreError::Missing { .. }), "{fault}");
    assert_eq!(files_in(folder.path()), [path]);
}

#[tokio::test]
async fn a_backup_of_a_broken_trail_is_there_and_says_so() {
    let world = World::on_file().await;
    world.fill(10).await;
    world.execute("DELETE FROM audit WHERE seq = 7").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let made = saved(&world, &path).await.unwrap();
    assert_eq!(made.trail.first_broken.map(|broken| broken.seq), Some(7));
    assert!(path.exists());
}

/// Puts `backup` in the place of the store at `path`; the name that the old one got.
#[tokio::test]
async fn a_restored_store_is_what_it_was_and_the_one_until_now_is_kept() {
    let world = World::on_file().await;
    world.fill(20).await;
    let (path, folder) = (world.path(), tempfile::tempdir().unwrap());
    let backup = folder.path().join("a.db");
    saved(&world, &backup).await.unwrap();
    let saved = fs::read(&backup).unwrap();
    world.fill(5).await;
    let Newest { seq, hash, .. } = world.store.verify(|_, _| {}).await.unwrap().newest.unwrap();
    let World { store, place, keep: _keep } = world;
    store.close().await;

    let staged = Staged::new(&backup, &path, moment(60), |_, _| {}).await.unwrap();
    assert_eq!((staged.trail.events, staged.replaced.as_ref().map(|newest| newest.seq)), (40, Some(50)));
    // What the trail is to tell of it is written before it counts.
    let event = Event { action: Some("store.restore".into()), ..Event::new(moment(1), Kind::Operator) };
    all_done(&staged.store().append(&[event.into()]).await.unwrap());
    let second = Store::open(&existing(&place)).await.unwrap();
    assert!(matches!(second.serve().await, Err(StoreError::Served { .. })), "no gateway starts meanwhile");
    second.close().await;
    let kept = folder.path().join("kept.db");
    assert!(staged.take_its_place(&kept).await.unwrap());

    let store = Store::open(&existing(&place)).await.unwrap();
    assert_eq!(store.verify(|_, _| {}).await.unwrap().events, 41);
    assert_eq!(store.hash_of_event(seq).await.unwrap(), None, "a checkpoint of before shows it");
    store.serve().await.unwrap();
    // Also when the trail is as long again.
    for number in 1..=10 {
        all_done(&store.append(&[call(number)[0].clone().into()]).await.unwrap());
    }
    assert!(store.hash_of_event(seq).await.unwrap().is_some_and(|found| found != hash));
    store.close().await;
    assert_eq!(verified(&kept.as_path().into()).await.events, 50);
    assert_eq!(fs::read(&backup).unwrap(), saved, "the backup is as it was");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = files_in(path.parent().unwrap());
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("restored")), "{names:?}");
}

#[tokio::test]
async fn a_backup_that_is_no_good_changes_nothing() {
    let world = World::on_file().await;
    world.fill(200).await;
    let (path, folder) = (world.path(), tempfile::tempdir().unwrap());
    let good = folder.path().join("good.db");
    saved(&world, &good).await.unwrap();
    let bytes = fs::read(&good).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut bad = vec![
        write("empty.db", b""),
        write("text.db", "no database at all, but long enough to have a header. ".repeat(40).as_bytes()),
        write("cut.db", &bytes[..bytes.len() / 2]),
        folder.path().join("none.db"),
        folder.path().to_owned(),
    ];
    // A page that was overwritten, wherever it is. Only an index can be made anew.
    let mut refused = 0;
    for page in (0..bytes.len() / 4096).step_by(5) {
        let mut torn = bytes.clone();
        torn[page * 4096..(page + 1) * 4096].fill(0x5a);
        match Staged::new(&write("torn.db", &torn), &path, moment(60), |_, _| {}).await {
            Ok(staged) => assert_eq!(staged.trail, world.store.verify(|_, _| {}).await.unwrap(), "{page}"),
            Err(StoreError::NotWhole { .. }) => refused += 1,
            Err(other) => panic!("page {page}: {other:?}"),
        }
    }
    assert!(refused > 5, "{refused}");
    for (name, sql) in [
        ("edited.db", "UPDATE audit SET rec = replace(rec, 'laptop', 'tablet') WHERE seq = 9"),
        ("newer.db", "DELETE FROM meta WHERE name = 'oldest'; PRAGMA user_version = 700"),
        ("foreign.db", "DROP TABLE meta"),
    ] {
        let path = write(name, &bytes);
        for statement in sql.split("; ") {
            raw_of(&path.as_path().into(), None).await.execute(statement).await.unwrap();
        }
        bad.push(path);
    }
    for backup in bad {
        let fault = restored(&backup, &path).await.unwrap_err();
        assert!(
            matches!(fault, StoreError::NotWhole { .. } | StoreError::Newer { .. }),
            "{}: {fault:?}",
            backup.display()
        );
        assert_eq!(world.count().await, 400);
    }
    let names = files_in(path.parent().unwrap());
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("restored")), "{names:?}");
}

#[tokio::test]
async fn a_store_that_is_used_is_not_replaced() {
    let world = World::on_file().await;
    world.fill(3).await;
    let (path, folder) = (world.path(), tempfile::tempdir().unwrap());
    let backup = folder.path().join("a.db");
    saved(&world, &backup).await.unwrap();
    // A command has it open.
    let fault = restored(&backup, &path).await.unwrap_err();
    assert!(matches!(fault, StoreError::InUse { .. }), "{fault}");
    world.store.serve().await.unwrap();
    let fault = restored(&backup, &path).await.unwrap_err();
    assert!(matches!(fault, StoreError::Served { .. }), "{fault}");
    assert_eq!(world.count().await, 6);
}

#[tokio::test]
async fn a_store_that_is_lost_or_damaged_is_replaced_and_its_log_does_not_spoil_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("a.db");
    let world = World::on_file().await;
    world.fill(20).await;
    saved(&world, &backup).await.unwrap();
    world.fill(20).await;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("toolgate.db");
    let log = path.with_file_name("toolgate.db-wal");
    let bad_day = "this disk had a bad day, and nothing of what was here can be read any more. ".repeat(99);
    // A log that SQLite takes for a good one, and one that it does not.
    for good_log in [true, false] {
        fs::write(&path, &bad_day).unwrap();
        match good_log {
            true => drop(fs::copy(world.path().with_file_name("toolgate.db-wal"), &log).unwrap()),
            false => fs::write(&log, &bad_day).unwrap(),
        }
        let kept = restored(&backup, &path).await.unwrap();
        assert_eq!(verified(&path.as_path().into()).await.events, 40, "{good_log}");
        if !good_log {
            assert_eq!(fs::read_to_string(&kept).unwrap(), bad_day);
            assert_eq!(fs::read_to_string(kept.with_file_name("toolgate.db.until-wal")).unwrap(), bad_day);
        }
        fs::remove_file(kept).unwrap();
    }
    // And where there is none.
    fs::remove_file(&path).unwrap();
    let staged = Staged::new(&backup, &path, moment(60), |_, _| {}).await.unwrap();
    assert!(!staged.take_its_place(&home.path().join("none")).await.unwrap());
    assert_eq!(verified(&path.as_path().into()).await.events, 40);
}

#[tokio::test]
async fn backups_under_load_come_back_whole_and_an_earlier_checkpoint_shows_them() {
    let rounds: u32 = std::env::var("TOOLGATE_SOAK_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("toolgate.db");
    let place = Place::File(path.clone());
    Store::open(&options(place.clone(), Sync::Os)).await.unwrap().close().await;
    for round in 0..rounds {
        let store = Store::open(&existing(&place)).await.unwrap();
        store.serve().await.unwrap();
        let backup = folder.path().join(format!("backup{round}"));
        let over = std::sync::atomic::AtomicBool::new(false);
        let writing = async {
            let mut number = round * 1_000;
            // Some more after the backup, so that it is an older moment.
            let mut left = 5;
            while left > 0 {
                number += 1;
                let events: Vec<_> = call(number).map(store::Entry::from).into();
                all_done(&store.append(&events).await.unwrap());
                left -= u32::from(over.load(std::sync::atomic::Ordering::Relaxed));
            }
        };
        let saving = async {
            // At another moment each time.
            tokio::time::sleep(Duration::from_millis(u64::from(round * 7 % 50))).await;
            let made = store::backup(&path, &backup, |_, _| {}).await;
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            made.unwrap()
        };
        let ((), made) = tokio::join!(writing, saving);
        assert!(made.trail.ok);
        let checkpoint = store.verify(|_, _| {}).await.unwrap().newest.unwrap();
        store.close().await;
        let staged = Staged::new(&backup, &path, moment(60), |_, _| {}).await.unwrap();
        assert_eq!(staged.trail, made.trail);
        staged.take_its_place(&folder.path().join(format!("kept{round}"))).await.unwrap();
        let store = Store::open(&existing(&place)).await.unwrap();
        assert_eq!(store.verify(|_, _| {}).await.unwrap(), made.trail);
        assert_eq!(store.hash_of_event(checkpoint.seq).await.unwrap(), None, "rolled back");
        store.close().await;
    }
}
