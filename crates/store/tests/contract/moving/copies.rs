//! A store is copied into an empty place of either database, whole or not at all.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use domain::approval::Status;
use store::{CopyStep, Place, Store, StoreError, Sync};

use super::{Elsewhere, assert_same, contents, copied, existing, full, restored, saved, verified};
use crate::{
    approvals,
    world::{World, all_done, call, moment, raw_of},
};

#[tokio::test]
async fn a_copy_has_everything_that_the_store_has() {
    let world = full().await;
    let before = contents(&mut world.raw().await).await;
    for (table, rows) in &before {
        assert!(!rows.is_empty(), "nothing is in `{table}`: give it a row in ROWS");
    }
    let file = Elsewhere::file();
    let first = copied(&world.place, &file.place).await.unwrap();
    assert_eq!(first.rows, before.values().map(|rows| rows.len() as u64).sum::<u64>());
    assert_eq!((first.trail.ok, first.trail.events, first.missed), (true, 1_200, 0));
    assert!(!first.source_is_served);
    assert_same(&contents(&mut file.raw().await).await, &before);
    // And back, where there is a server.
    if let Some(back) = Elsewhere::server().await {
        let second = copied(&file.place, &back.place).await.unwrap();
        assert_eq!(second, first);
        assert_same(&contents(&mut back.raw().await).await, &before);
        assert_eq!(verified(&back.place).await, first.trail);
        back.gone().await;
    }
    assert_eq!(verified(&file.place).await, world.store.verify(|_, _| {}).await.unwrap());
    let Place::File(path) = &file.place else { panic!("a file") };
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_copy_is_the_same_install_and_what_was_under_way_is_nobodys() {
    let world = full().await;
    let to = Elsewhere::file();
    copied(&world.place, &to.place).await.unwrap();
    let store = Store::open(&existing(&to.place)).await.unwrap();
    assert_eq!((store.install(), store.writer_name()), (world.store.install(), world.store.writer_name()));
    assert_eq!(store.sealed_get("pepper").await.unwrap(), world.store.sealed_get("pepper").await.unwrap());
    assert_eq!(store.lose_claims().await.unwrap(), 1, "the gateway of number 7 is not here");
    all_done(&store.append(&[call(7)[0].clone().into()]).await.unwrap());
    assert_eq!(store.verify(|_, _| {}).await.unwrap().events, 1_201);
    assert_eq!(world.count().await, 1_200, "the source is as it was");
}

#[tokio::test]
async fn a_copy_goes_into_an_empty_place_only() {
    let (world, other) = (World::new().await, World::new().await);
    let to = Elsewhere::file();
    let Place::File(path) = &to.place else { panic!("a file") };
    fs::write(path, "mine").unwrap();
    let fault = copied(&world.place, &to.place).await.unwrap_err();
    assert!(matches!(fault, StoreError::Exists { .. }), "{fault}");
    assert_eq!(fs::read(path).unwrap(), b"mine");
    let fault = copied(&world.place, &other.place).await.unwrap_err();
    assert!(matches!(fault, StoreError::Exists { .. } | StoreError::NotEmpty { .. }), "{fault}");
    let fault = copied(&world.place, &world.place).await.unwrap_err();
    assert!(matches!(fault, StoreError::Exists { .. } | StoreError::NotEmpty { .. }), "{fault}");
    assert!(other.store.revision().await.is_ok());
}

/// There is no store. A server may still be busy with what was given up a moment ago, and says so.
async fn nothing_is_at(place: &Place) {
    for _ in 0..200 {
        match Store::open(&existing(place)).await {
            Ok(_) => panic!("there is a store"),
            Err(StoreError::Missing { .. } | StoreError::NotAStore { .. }) => return,
            Err(_) => {}
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it is never free again");
}

#[tokio::test]
async fn a_copy_that_is_given_up_leaves_nothing() {
    let world = full().await;
    let mut places = vec![Elsewhere::file()];
    places.extend(Elsewhere::server().await);
    for to in places {
        // At the first rows, in the middle, and when nothing is missing but the commit.
        for (step, part) in [(CopyStep::Rows, 0), (CopyStep::Rows, 2), (CopyStep::Trail, 1)] {
            let (from, into) = (world.place.clone(), to.place.clone());
            // Ends right there: once a server has been told to commit, it may.
            let copying = tokio::spawn(async move {
                let give_up = |at, done, all| {
                    if at == step && done * 3 >= all * part {
                        std::panic::resume_unwind(Box::new("given up"));
                    }
                };
                store::copy(&from, &into, Sync::Os, moment(60), give_up).await
            });
            assert!(copying.await.is_err_and(|ended| ended.is_panic()), "{step:?} {part}");
            nothing_is_at(&to.place).await;
            assert_eq!(to.files(), [] as [PathBuf; 0]);
        }
        // A server that is busy notices in its own time that somebody is gone, and who begins anew waits for it.
        let mut whole = copied(&world.place, &to.place).await;
        for _ in 0..60 {
            if !matches!(whole, Err(StoreError::Database(_))) {
                break;
            }
            whole = copied(&world.place, &to.place).await;
        }
        whole.unwrap();
        to.gone().await;
    }
}

#[tokio::test]
async fn what_comes_while_a_copy_is_made_is_counted_and_not_in_it() {
    let world = World::new().await;
    world.fill(600).await;
    world.store.serve().await.unwrap();
    let to = Elsewhere::file();
    let mut first = true;
    let place = world.place.clone();
    let copied = store::copy(&world.place, &to.place, Sync::Os, moment(60), |_, _, _| {
        if std::mem::take(&mut first) {
            // Somebody else, at that moment.
            let place = place.clone();
            let writing = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let store = Store::open(&existing(&place)).await.unwrap();
                    all_done(
                        &store.append(&[call(1)[0].clone().into(), call(2)[0].clone().into()]).await.unwrap(),
                    );
                    store.close().await;
                });
            });
            writing.join().unwrap();
        }
    });
    let copied = copied.await.unwrap();
    assert_eq!((copied.trail.events, copied.missed, copied.source_is_served), (1_200, 2, true));
    assert_eq!(verified(&to.place).await.events, 1_200);
    assert_eq!(world.count().await, 1_202);
}

#[tokio::test]
async fn what_was_approved_is_sent_by_one_of_both_at_most() {
    let world = approvals::world().await;
    assert!(world.change(approvals::hold(approvals::held(1, "laptop", 1))).await);
    approvals::bring_to(&world, 1, Status::Approved).await;
    // Nobody serves the source: the copy takes its place, and sends it.
    let at_rest = Elsewhere::file();
    assert_eq!(copied(&world.place, &at_rest.place).await.unwrap().in_doubt, 0);
    // Somebody does, and may send it at any moment.
    world.store.serve().await.unwrap();
    let rehearsed = Elsewhere::file();
    assert_eq!(copied(&world.place, &rehearsed.place).await.unwrap().in_doubt, 1);
    for (to, claimable, lost) in [(at_rest, 1, 0), (rehearsed, 0, 1)] {
        let store = Store::open(&existing(&to.place)).await.unwrap();
        assert_eq!(store.claimable(moment(61), 9).await.unwrap().len(), claimable);
        assert_eq!(store.lost_executions(9).await.unwrap().len(), lost);
        store.close().await;
    }
    assert_eq!(world.store.claimable(moment(61), 9).await.unwrap().len(), 1, "the source is as it was");
}

#[tokio::test]
async fn what_was_approved_or_logged_in_at_a_backup_does_not_come_back_to_life() {
    let world = World::on_file().await;
    approvals::operators(&world, &["ada", "grace"]).await;
    let login =
        "INSERT INTO sessions SELECT 's1', email, 1, 2, 9, NULL, '127.0.0.1', '' FROM operators LIMIT 1";
    world.execute(login).await;
    assert!(world.change(approvals::hold(approvals::held(1, "laptop", 1))).await);
    approvals::bring_to(&world, 1, Status::Approved).await;
    let (path, folder) = (world.path(), tempfile::tempdir().unwrap());
    let backup = folder.path().join("a.db");
    saved(&world, &backup).await.unwrap();
    assert!(world.change(approvals::claim(1, 20)).await, "it is sent");
    let World { store, place, keep: _keep } = world;
    store.close().await;
    restored(&backup, &path).await.unwrap();
    let store = Store::open(&existing(&place)).await.unwrap();
    assert!(store.claimable(moment(61), 9).await.unwrap().is_empty());
    let lost = store.lost_executions(9).await.unwrap();
    assert_eq!(lost.iter().map(|one| one.held.id).collect::<Vec<_>>(), [approvals::id(1)]);
    store.close().await;
    let mut raw = raw_of(&place, None).await;
    assert_eq!(
        raw.execute("DELETE FROM sessions WHERE ended_at IS NOT NULL").await.unwrap(),
        1,
        "it is over"
    );
}

#[tokio::test]
async fn a_broken_trail_is_copied_as_it_is_and_told() {
    let world = World::new().await;
    world.fill(10).await;
    world.execute("UPDATE audit SET agent = 'somebody' WHERE seq = 5").await;
    let to = Elsewhere::file();
    let copied = copied(&world.place, &to.place).await.unwrap();
    assert_eq!(copied.trail, world.store.verify(|_, _| {}).await.unwrap());
    assert_eq!(copied.trail.first_broken.as_ref().map(|broken| broken.seq), Some(5));
    assert_eq!(verified(&to.place).await, copied.trail);
}

#[tokio::test]
async fn a_store_of_another_schema_is_neither_copied_nor_changed() {
    for (by, what) in [(-1, "copy with the toolgate that runs on it"), (1, "this home needs toolgate")] {
        let world = World::new().await;
        world.set_schema(world.schema().await + by).await;
        let to = Elsewhere::file();
        let fault = copied(&world.place, &to.place).await.unwrap_err();
        assert!(fault.to_string().contains(what), "{fault}");
        assert_eq!(to.files(), [] as [PathBuf; 0]);
    }
}
