//! The store as the judge reads it: with SQL of his own, on a connection of his own. Nothing of it is the product's.

use std::{
    path::Path,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use serde_json::Value;
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

/// An open store.
pub struct Ledger(Mutex<SqliteConnection>);

/// One event of the trail.
#[derive(Debug, Clone)]
pub struct Entry {
    pub seq: i64,
    pub record: String,
    pub hash: Vec<u8>,
    pub fields: Value,
}

/// One held call.
#[derive(Debug, Clone)]
pub struct HeldCall {
    pub id: String,
    /// The call that was held.
    pub call: String,
    pub op: usize,
    pub status: String,
}

impl Ledger {
    pub fn open(path: &Path) -> Arc<Self> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        Arc::new(Self(Mutex::new(at_once(SqliteConnection::connect_with(&options)).unwrap())))
    }

    /// How many intents of a call are in the trail.
    pub fn intents_of(&self, op: usize) -> u64 {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let select = "SELECT count(*) FROM audit WHERE kind = 'intent' AND action GLOB $1";
        let query = sqlx::query(select).bind(format!("POST /*/{op}"));
        let row = at_once(query.fetch_one(&mut *connection)).unwrap();
        row.get::<i64, _>(0) as u64
    }

    /// The whole trail.
    pub fn trail(&self) -> Vec<Entry> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let query = sqlx::query("SELECT seq, rec, hash FROM audit ORDER BY seq");
        let rows = at_once(query.fetch_all(&mut *connection)).unwrap();
        let entry = |row: &sqlx::sqlite::SqliteRow| {
            let record: String = row.get(1);
            let fields = serde_json::from_str(&record).unwrap();
            Entry { seq: row.get(0), record, hash: row.get(2), fields }
        };
        rows.iter().map(entry).collect()
    }

    /// All held calls.
    pub fn held_calls(&self) -> Vec<HeldCall> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let query =
            sqlx::query("SELECT id, action, status, call_id FROM approvals ORDER BY created_at, action");
        let rows = at_once(query.fetch_all(&mut *connection)).unwrap();
        let held = |row: &sqlx::sqlite::SqliteRow| HeldCall {
            id: row.get(0),
            op: op_of(row.get(1)).unwrap(),
            status: row.get(2),
            call: row.get(3),
        };
        rows.iter().map(held).collect()
    }

    /// The calls that have ended and whose agent was not told.
    pub fn undelivered(&self) -> Vec<usize> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let query = sqlx::query("SELECT action FROM approvals WHERE live = 1 ORDER BY action");
        let rows = at_once(query.fetch_all(&mut *connection)).unwrap();
        rows.iter().map(|row| op_of(row.get(0)).unwrap()).collect()
    }

    /// Whether anything was begun and not ended.
    pub fn has_open_ends(&self) -> bool {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let select = "SELECT EXISTS (SELECT 1 FROM approvals WHERE status = 'executing') \
                      OR EXISTS (SELECT 1 FROM idempotency WHERE state = 'in_progress')";
        at_once(sqlx::query(select).fetch_one(&mut *connection)).unwrap().get(0)
    }

    /// The idempotency keys that are known, and how they stand.
    pub fn idempotency_keys(&self) -> Vec<(String, String)> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let query = sqlx::query("SELECT key, state FROM idempotency ORDER BY key");
        let rows = at_once(query.fetch_all(&mut *connection)).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// The number of the call that an action names.
pub fn op_of(action: &str) -> Option<usize> {
    action.strip_prefix("POST /")?.split_once('/')?.1.parse().ok()
}

/// Waits for the database's thread; in a simulation that takes no time.
fn at_once<T>(answer: impl Future<Output = T>) -> T {
    struct Parked(Thread);
    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut answer = pin!(tokio::task::unconstrained(answer));
    let waker = Waker::from(Arc::new(Parked(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}
