//! The key ring changes as a whole or not at all, and every sealed value can be found and replaced.

use domain::keyring::RingKey;
use store::{Change, SealedRow, Store};

use crate::world::{World, moment};

fn term(term: u32, active: bool, byte: u8) -> RingKey {
    RingKey { term, active, wrapped: vec![byte; 61] }
}

fn set(from: &[RingKey], to: &[RingKey]) -> Change {
    Change::SetKeyring { from: from.to_vec(), to: to.to_vec(), salt: None, at: moment(5) }
}

async fn ring(store: &Store) -> Vec<RingKey> {
    store.keyring().await.unwrap().into_iter().map(|term| term.key).collect()
}

fn sealed(term: u32, byte: u8) -> Vec<u8> {
    [&[1][..], &term.to_be_bytes(), &[byte; 30]].concat()
}

#[tokio::test]
async fn the_first_ring_stays_and_takes_a_resealed_value_along() {
    let world = World::new().await;
    assert!(ring(&world.store).await.is_empty());
    world.store.sealed_put_if_absent("pepper", b"old").await.unwrap();
    let (one, two) = (term(1, true, 1), term(1, true, 2));
    world.store.keyring_begin(&one, Some(("pepper", b"new")), moment(1)).await.unwrap();
    world.second().await.keyring_begin(&two, Some(("pepper", b"newer")), moment(2)).await.unwrap();
    assert_eq!(ring(&world.store).await, [one]);
    assert_eq!(world.store.keyring().await.unwrap()[0].created_at, moment(1));
    assert_eq!(world.store.sealed_get("pepper").await.unwrap().unwrap(), b"new");
}

#[tokio::test]
async fn a_ring_changes_only_from_what_it_is_and_gateways_notice() {
    let world = World::new().await;
    let (one, two) = (term(1, true, 1), term(2, true, 2));
    world.store.keyring_begin(&one, None, moment(1)).await.unwrap();
    let before = world.store.revision().await.unwrap();
    let wrong = [term(1, true, 9)];
    for from in [&[][..], &wrong, &[one.clone(), two.clone()], &[RingKey { active: false, ..one.clone() }]] {
        assert!(!world.change(set(from, std::slice::from_ref(&two))).await);
    }
    assert_eq!((ring(&world.store).await, world.count().await), (vec![one.clone()], 0));
    assert_eq!(world.store.revision().await.unwrap(), before);

    assert!(world.change(set(std::slice::from_ref(&one), std::slice::from_ref(&two))).await);
    let snapshot = world.second().await.snapshot().await.unwrap();
    assert_eq!(snapshot.keyring, [one.clone(), two.clone()]);
    assert!(snapshot.revision > before);
    let retired = RingKey { active: false, ..one.clone() };
    assert!(world.change(set(&[one, two.clone()], std::slice::from_ref(&retired))).await);
    assert_eq!((ring(&world.store).await, world.count().await), (vec![retired, two], 2));
}

#[tokio::test]
async fn the_salt_is_made_once_and_replaced_with_the_ring() {
    let world = World::new().await;
    assert_eq!(world.store.vault_salt(None).await.unwrap(), None);
    assert_eq!(world.store.vault_salt(Some([1; 16])).await.unwrap(), Some([1; 16]));
    assert_eq!(world.second().await.vault_salt(Some([2; 16])).await.unwrap(), Some([1; 16]));
    let one = term(1, true, 1);
    world.store.keyring_begin(&one, None, moment(1)).await.unwrap();
    let other = |from| Change::SetKeyring {
        from: vec![from],
        to: vec![term(1, true, 2)],
        salt: Some([3; 16]),
        at: moment(2),
    };
    assert!(!world.change(other(term(1, true, 7))).await);
    assert_eq!(world.store.vault_salt(None).await.unwrap(), Some([1; 16]));
    assert!(world.change(other(one)).await);
    assert_eq!(world.store.vault_salt(None).await.unwrap(), Some([3; 16]));
    world.execute("UPDATE meta SET value = 'x' WHERE name = 'vault_salt'").await;
    assert!(world.store.vault_salt(None).await.is_err());
}

/// All sealed values, read in pages of two.
async fn pages(store: &Store, below: Option<u32>) -> Vec<SealedRow> {
    let mut found: Vec<SealedRow> = Vec::new();
    for table in store.sealed_tables() {
        let mut after = None;
        loop {
            let page = store.sealed_page(table, after.as_ref(), below, 2).await.unwrap();
            assert!(page.len() <= 2);
            let Some(last) = page.last() else { break };
            after = Some(last.place.clone());
            found.extend(page);
        }
    }
    found
}

#[tokio::test]
async fn a_page_of_large_values_is_short() {
    let world = World::new().await;
    let size = [5, 2, 2, 9, 1].map(|mib: usize| mib << 20);
    for (number, size) in size.into_iter().enumerate() {
        world.store.sealed_put_if_absent(&format!("purpose/{number}"), &vec![1; size]).await.unwrap();
    }
    let (table, mut after, mut pages) = (&world.store.sealed_tables()[0], None, Vec::new());
    for _ in 0..size.len() {
        let page = world.store.sealed_page(table, after.as_ref(), None, 100).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.place.clone());
        pages.push(page.iter().map(|row| row.name.clone()).collect::<String>());
    }
    assert_eq!(pages, ["01", "2", "3", "4"], "at most 8 MiB, and never none");
}

#[tokio::test]
async fn every_sealed_value_is_found_once_and_replaced_only_while_it_is_what_it_was() {
    let world = World::new().await;
    for number in 0..7u8 {
        let value = sealed(u32::from(number) % 2 + 1, number);
        world.store.sealed_put_if_absent(&format!("pur pose/{number}"), &value).await.unwrap();
    }
    assert_eq!(world.store.sealed_counts().await.unwrap(), [(1, 4), (2, 3)]);
    let all = pages(&world.store, None).await;
    let names: Vec<_> = all.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6"]);
    assert!(all.iter().all(|row| row.purpose == "pur pose" && row.version == 0));
    let old = pages(&world.store, Some(2)).await;
    assert_eq!(old.len(), 4);
    let replacements: Vec<_> =
        old.into_iter().map(|row| (row.place, row.value.clone(), sealed(2, row.value[5]))).collect();
    world.execute("UPDATE sealed SET value = x'0100000001ff' WHERE name = 'pur pose/4'").await;
    assert_eq!(world.store.sealed_replace(&replacements).await.unwrap(), 3);
    assert_eq!(world.store.sealed_replace(&replacements).await.unwrap(), 0);
    assert_eq!(world.store.sealed_counts().await.unwrap(), [(1, 1), (2, 6)]);
    assert_eq!(world.store.sealed_get("pur pose/6").await.unwrap().unwrap(), sealed(2, 6));
}
