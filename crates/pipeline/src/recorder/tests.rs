//! What the writer does when the store fails, step by step.

use domain::names::ApprovalId;
use jiff::Timestamp;
use store::{Birth, StoreOptions, Sync};

use super::*;
use crate::clock::test_clock::TestClock;

async fn writer(folder: &tempfile::TempDir) -> Writer {
    let create = Some(Birth { install: [7; 16], now: Timestamp::UNIX_EPOCH });
    let place = folder.path().join("toolgate.db").into();
    let store = Store::open(&StoreOptions { place, sync: Sync::Os, create }).await.unwrap();
    Writer {
        store: Arc::new(store),
        clock: Arc::new(TestClock::default()),
        told: None,
        healthy: Arc::new(AtomicBool::new(true)),
        doubts: VecDeque::new(),
        backlog: Vec::new(),
        again_max: GROUP_MAX,
        uses: HashMap::new(),
        coalescer: Coalescer::default(),
    }
}

fn event(count: u64) -> Event {
    let mut event = Event::new(Timestamp::UNIX_EPOCH, Kind::Outcome);
    event.count = Some(count);
    event
}

fn plain(count: u64) -> Entry {
    event(count).into()
}

fn undo(count: u64) -> Entry {
    let id = ApprovalId::new(1 << 30);
    let change = Change::WithdrawHold { id, at: Timestamp::UNIX_EPOCH };
    Entry { change: Some(change), event: event(count) }
}

fn counts(entries: &[Entry]) -> Vec<u64> {
    entries.iter().filter_map(|entry| entry.event.count).collect()
}

#[tokio::test]
async fn what_the_store_went_away_from_is_tried_again_with_its_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder).await;
    writer.backlog.push(plain(9));
    let (waiter, mut answer) = oneshot::channel();
    let mut group = Group { entries: vec![plain(1), undo(2)], waiting: Vec::new() };
    group.push(plain(3), waiter, None);
    group.entries.push(plain(4));
    let failed = || Applied::Failed(StoreError::Untried);
    assert!(!writer.written(group, vec![Applied::Done, failed(), failed(), failed()]));
    assert_eq!(counts(&writer.backlog), [2, 4, 9], "in their order, before what is later");
    assert!(writer.backlog[0].change.is_some(), "with its change");
    assert_eq!(answer.try_recv().unwrap(), Err(Unwritten::Not));
    assert!(!writer.healthy.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_trail_that_failed_and_has_nothing_left_to_write_is_found_to_be_back() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(&folder).await;
    let healthy = Arc::clone(&writer.healthy);
    healthy.store(false, Ordering::Relaxed);
    let (queue, inbox) = mpsc::channel(1);
    let task = tokio::spawn(writer.run(inbox));
    let back = async {
        while !healthy.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), back).await.unwrap();
    drop(queue);
    task.await.unwrap();
}

#[test]
fn what_undoes_something_is_let_go_of_last() {
    let mut backlog = vec![plain(1), undo(2), plain(3), plain(4), undo(5)];
    assert_eq!(shorten(&mut backlog, 5), 0);
    assert_eq!(shorten(&mut backlog, 3), 2);
    assert_eq!(counts(&backlog), [1, 2, 5]);
    assert_eq!(shorten(&mut backlog, 1), 2);
    assert_eq!(counts(&backlog), [2]);
}

#[tokio::test]
async fn who_comes_while_nothing_can_be_written_does_not_wait() {
    let (queue, inbox) = mpsc::channel(8);
    let healthy = Arc::new(AtomicBool::new(false));
    let (durable_within, under_way) = (Duration::from_secs(3_600), AtomicUsize::new(0));
    // Nobody reads what is queued: whoever waits, waits for an hour.
    let recorder = Arc::new(Recorder { queue, healthy, durable_within, under_way });
    let told = tokio::time::timeout(Duration::from_secs(60), recorder.durable(plain(1))).await;
    assert_eq!(told.expect("at once"), Err(Unwritten::Not));
    assert!(inbox.is_empty(), "it is never tried");
    Recorder::reserve(&recorder).unwrap().send(plain(2));
    assert_eq!(inbox.len(), 1, "what has happened is kept");
}

#[tokio::test]
async fn what_has_come_when_the_store_fails_is_put_by_and_who_waits_is_told_no() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder).await;
    writer.backlog.push(plain(1));
    let (queue, mut inbox) = mpsc::channel(8);
    let (waiter, mut calls) = oneshot::channel();
    let (owner, mut ends) = oneshot::channel();
    let (gone, _) = oneshot::channel();
    let otherwise = || undo(0).change.unwrap();
    for note in [
        Note::Durable(Box::new(plain(2)), waiter),
        Note::Later(Box::new(undo(3))),
        Note::Owed(Box::new((plain(4), otherwise())), owner),
        Note::Durable(Box::new(plain(5)), gone),
        Note::Later(Box::new(plain(6))),
    ] {
        assert!(queue.try_send(note).is_ok());
    }
    writer.put_by(&mut inbox, &mut vec![Note::Later(Box::new(plain(9)))]);
    assert_eq!(calls.try_recv().unwrap(), Err(Unwritten::Not));
    assert_eq!(ends.try_recv().unwrap(), Err(Unwritten::Not));
    assert_eq!(
        counts(&writer.backlog),
        [1, 9, 3, 4, 6],
        "in the order in which they came, but what is refused"
    );
    let with_change: Vec<bool> = writer.backlog.iter().map(|entry| entry.change.is_some()).collect();
    assert_eq!(with_change, [false, false, true, true, false]);
    assert!(inbox.is_empty());
}
