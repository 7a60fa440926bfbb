//! Whatever somebody with the file does to the trail is found, at the event where it begins.

use store::Broken;

use crate::world::World;

/// Fills a trail, does `sql` to it behind the store's back, and says where it breaks.
async fn broken_by(sql: &str) -> Broken {
    let world = World::new().await;
    world.fill(10).await;
    assert!(world.execute(sql).await > 0, "`{sql}` changed nothing");
    let verification = world.store.verify(|_, _| {}).await.unwrap();
    assert!(!verification.ok);
    let broken = verification.first_broken.unwrap();
    let holds =
        if broken.writer == "gw-1" { i64::try_from(verification.events).unwrap() + 1 } else { broken.seq };
    assert_eq!(holds, broken.seq, "all events before the broken one hold");
    broken
}

#[tokio::test]
async fn an_edited_record_is_found() {
    let broken =
        broken_by("UPDATE audit SET rec = replace(rec, 'read_file', 'read_fila') WHERE seq = 8").await;
    assert_eq!((broken.seq, broken.why.as_str()), (8, "its fields do not give its hash"));
    assert_eq!(broken.kind.as_deref(), Some("outcome"));
    assert!(broken.at.is_some());
}

#[tokio::test]
async fn an_edited_column_is_found() {
    let edits = [
        ("UPDATE audit SET at = at + 1 WHERE seq = 5", "`at`"),
        ("UPDATE audit SET kind = 'system' WHERE seq = 5", "`kind`"),
        ("UPDATE audit SET call_id = 'c_000000000000' WHERE seq = 5", "`call_id`"),
        ("UPDATE audit SET agent = 'somebody' WHERE seq = 5", "`agent`"),
        ("UPDATE audit SET agent = NULL WHERE seq = 5", "`agent`"),
        ("UPDATE audit SET service = 'billing' WHERE seq = 5", "`service`"),
        ("UPDATE audit SET action = 'harmless' WHERE seq = 5", "`action`"),
        ("UPDATE audit SET result = 'forwarded' WHERE seq = 5", "`result`"),
    ];
    for (sql, column) in edits {
        let broken = broken_by(sql).await;
        assert_eq!(broken.seq, 5, "{sql}");
        assert!(broken.why.contains(column), "{sql}: {}", broken.why);
    }
}

#[tokio::test]
async fn an_edited_hash_is_found() {
    assert_eq!(
        broken_by(&format!("UPDATE audit SET hash = x'{}' WHERE seq = 6", "00".repeat(32))).await.seq,
        6
    );
    assert_eq!(broken_by("UPDATE audit SET hash = x'00' WHERE seq = 6").await.seq, 6);
}

#[tokio::test]
async fn a_deleted_event_is_found() {
    let broken = broken_by("DELETE FROM audit WHERE seq = 7").await;
    assert_eq!((broken.seq, broken.why.as_str()), (7, "it is missing; the next one there is 8"));
    assert_eq!(broken_by("DELETE FROM audit WHERE seq = 1").await.seq, 1);
}

#[tokio::test]
async fn a_cut_middle_is_found_even_when_renumbered() {
    assert_eq!(broken_by("DELETE FROM audit WHERE seq BETWEEN 5 AND 9").await.seq, 5);
    let renumbered =
        "UPDATE audit SET seq = CASE seq WHEN 4 THEN 1004 WHEN 5 THEN 1005 END WHERE seq IN (4, 5)";
    assert_eq!(broken_by(renumbered).await.seq, 4);
}

#[tokio::test]
async fn swapped_events_are_found() {
    let world = World::new().await;
    world.fill(10).await;
    for sql in [
        "UPDATE audit SET seq = 1004 WHERE seq = 4",
        "UPDATE audit SET seq = 4 WHERE seq = 5",
        "UPDATE audit SET seq = 5 WHERE seq = 1004",
    ] {
        world.execute(sql).await;
    }
    let broken = world.store.verify(|_, _| {}).await.unwrap().first_broken.unwrap();
    assert_eq!(broken.seq, 4);
}

#[tokio::test]
async fn an_inserted_event_is_found() {
    let copy = "INSERT INTO audit (seq, at, kind, call_id, agent, service, action, result, rec, hash) \
                SELECT 21, at, kind, call_id, agent, service, action, result, rec, hash FROM audit WHERE seq = 3";
    let broken = broken_by(copy).await;
    assert_eq!((broken.seq, broken.why.as_str()), (21, "it does not follow the event before it"));
    let before = "INSERT INTO audit (seq, at, kind, call_id, agent, service, action, result, rec, hash) \
                  SELECT 0, at, kind, call_id, agent, service, action, result, rec, hash FROM audit WHERE seq = 3";
    let world = World::new().await;
    world.fill(3).await;
    world.execute(before).await;
    assert!(!world.store.verify(|_, _| {}).await.unwrap().ok);
}

#[tokio::test]
async fn a_rewritten_tail_is_found_by_the_link_before_it() {
    // A forger who also recomputes the hash of the edited record still breaks the next link.
    let world = World::new().await;
    world.fill(10).await;
    let events = world.store.events(&store::Query::default()).await.unwrap();
    let forged = events[4].rec.replace("laptop", "tablet");
    let hash = <sha2::Sha256 as sha2::Digest>::digest(forged.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let forged = forged.replace('\'', "''");
    world
        .execute(&format!(
            "UPDATE audit SET rec = '{forged}', hash = x'{hash}', agent = 'tablet' WHERE seq = 5"
        ))
        .await;
    let broken = world.store.verify(|_, _| {}).await.unwrap().first_broken.unwrap();
    assert_eq!((broken.seq, broken.why.as_str()), (6, "it does not follow the event before it"));
}
