//! The trail read call by call, and the figures that are counted from it: bounded work, however long the trail is.

use sqlx::Row as _;
use store::Tally;

use crate::world::{Raw, World, call_id, moment};

#[tokio::test]
async fn a_moment_is_found_in_the_trail() {
    let world = World::new().await;
    assert_eq!(
        (world.store.newest_seq().await.unwrap(), world.store.seq_at(moment(0)).await.unwrap()),
        (0, 1)
    );
    world.fill(1_000).await;
    // Call n has the events 2n - 1 and 2n, both at second n.
    for (second, seq) in [(0, 1), (1, 1), (2, 3), (500, 999), (1_000, 1_999), (1_001, 2_001), (9_999, 2_001)]
    {
        assert_eq!(world.store.seq_at(moment(second)).await.unwrap(), seq, "{second}");
    }
    assert_eq!(world.store.newest_seq().await.unwrap(), 2_000);
}

#[tokio::test]
async fn the_events_of_some_calls_come_in_their_order() {
    let world = World::new().await;
    world.fill(20).await;
    let ids: Vec<String> = [7, 3].map(|call| call_id(call).to_string()).into();
    let events = world.store.events_of_calls(&ids).await.unwrap();
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [5, 6, 13, 14]);
    assert!(world.store.events_of_calls(&[]).await.unwrap().is_empty());
    assert!(world.store.events_of_calls(&["' OR 1=1 --".to_owned()]).await.unwrap().is_empty());
}

fn tally(what: &'static str, start: i64, name: &str, calls: i64) -> Tally {
    Tally { what, span: 60, start, name: name.to_owned(), calls }
}

#[tokio::test]
async fn every_event_is_counted_once_by_whoever_is_first() {
    let world = World::new().await;
    let (store, other) = (&world.store, world.second().await);
    assert_eq!(store.tallied().await.unwrap(), 0);
    let counted = [tally("agent", 60, "a", 2), tally("agent", 60, "b", 5), tally("agent", 120, "a", 1)];
    assert!(store.add_tallies(0, 8, &counted).await.unwrap());
    assert!(!other.add_tallies(0, 8, &counted).await.unwrap(), "somebody counted them meanwhile");
    assert!(other.add_tallies(8, 9, &[tally("agent", 120, "a", 10)]).await.unwrap());
    assert_eq!(store.tallied().await.unwrap(), 9);
    let all = store.tallies("agent", 60, 0).await.unwrap();
    let named = |start, name: &str, calls| (start, name.to_owned(), calls);
    assert_eq!(all, [named(60, "a", 2), named(60, "b", 5), named(120, "a", 11)]);
    assert_eq!(store.tallies("agent", 60, 61).await.unwrap(), [named(120, "a", 11)]);
    assert!(store.tallies("service", 60, 0).await.unwrap().is_empty());
    assert_eq!(store.tally_sums("agent", 60, 0, 1).await.unwrap(), [("a".to_owned(), 13)]);
    store.drop_tallies(60, 120).await.unwrap();
    assert_eq!(store.tally_sums("agent", 60, 0, 9).await.unwrap(), [("a".to_owned(), 11)]);
}

/// What the questions of the console are to SQLite. A scan of the trail, or a sort of what waits, would take longer the
/// longer the trail is.
#[tokio::test]
async fn no_question_of_the_console_reads_the_whole_trail() {
    let world = World::on_file().await;
    world.fill(50).await;
    let Raw::Sqlite(mut raw) = world.raw().await else { panic!("no file") };
    for (question, must) in [
        (
            "SELECT coalesce((SELECT min(seq) FROM audit), 1), coalesce((SELECT max(seq) FROM audit), 0)",
            "SEARCH audit",
        ),
        (
            "SELECT seq, at FROM audit WHERE seq >= 7 ORDER BY seq LIMIT 1",
            "SEARCH audit USING INTEGER PRIMARY KEY",
        ),
        (
            "SELECT seq FROM audit WHERE agent = 'a' AND result = 'refused' AND seq > 5 AND seq < 9 ORDER BY seq DESC LIMIT 50",
            "SEARCH audit USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            "SELECT seq FROM audit WHERE call_id IN ('a', 'b') AND call_id IS NOT NULL ORDER BY seq LIMIT 4096",
            "SEARCH audit USING COVERING INDEX audit_call",
        ),
        (
            "SELECT start, name, calls FROM tallies WHERE what = 'x' AND span = 60 AND start >= 0 ORDER BY start, name",
            "SEARCH tallies USING PRIMARY KEY (what=? AND span=? AND start>?)",
        ),
        (
            "SELECT name, sum(calls) FROM tallies WHERE what = 'x' AND span = 60 AND start >= 0 GROUP BY name",
            "SEARCH tallies USING PRIMARY KEY (what=? AND span=? AND start>?)",
        ),
        ("SELECT count(*) FROM approvals WHERE status = 'pending'", "COVERING INDEX"),
        (
            "SELECT * FROM approvals WHERE status = 'pending' ORDER BY decide_by, id LIMIT 25",
            "SEARCH approvals USING INDEX approvals_undecided (status=?)",
        ),
        (
            "SELECT * FROM approvals WHERE status = 'pending' AND (decide_by, id) > (7, 'x') ORDER BY decide_by, id LIMIT 25",
            "SEARCH approvals USING INDEX approvals_undecided (status=? AND decide_by>?)",
        ),
        (
            "SELECT * FROM approvals WHERE status <> 'pending' ORDER BY created_at DESC, id DESC LIMIT 25",
            "SCAN approvals USING INDEX approvals_newest",
        ),
    ] {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {question}"));
        let rows = sqlx::query(explain).fetch_all(&mut raw).await.unwrap();
        let plan = rows.iter().map(|row| row.get::<String, _>(3)).collect::<Vec<_>>().join("; ");
        assert!(plan.contains(must) && !plan.contains("SCAN audit"), "{question}\n{plan}");
    }
}
