//! One issuer's keys: kept ready, refreshed in time, and fetched early when a token names a key that is not known.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use domain::clock::{Clock, Now};
use tokio::sync::{Mutex, Semaphore};
use vault::{Algorithm, PublicKey};
use wire::jws::Jws;

use super::{jwks::NamedKey, source::Source};

/// How often keys are fetched while nobody asks: a key that was taken back is known after this.
const FETCH_EVERY: Duration = Duration::from_secs(300);
/// The pause after a fetch that failed.
const RETRY_AFTER: Duration = Duration::from_secs(15);
/// However many tokens name keys that are not known: no two fetches begin closer together.
const FETCH_PAUSE: Duration = Duration::from_secs(10);
/// How long a whole fetch may take.
const FETCH_MAX: Duration = Duration::from_secs(10);
/// Keys that could not be fetched again for so long are not believed any more.
const BELIEVED_FOR: Duration = Duration::from_secs(3_600);
/// How many may wait for keys: strangers can make us wait, and each holds a place in the trail's queue meanwhile.
const WAITING_MAX: usize = 64;
/// A token without `kid`, or with one that several keys have, is tried with so many.
const TRIES_MAX: usize = 4;

/// Why a signature is not proven.
pub(super) enum NoProof {
    /// The key that it names has not made it.
    Wrong,
    /// There is no such key.
    UnknownKey,
    /// There are no keys that may be believed.
    NoKeys,
}

/// The keys of one issuer.
pub(super) struct Keyring {
    source: Source,
    clock: Arc<dyn Clock>,
    set: ArcSwapOption<KeySet>,
    /// When the last fetch began (monotonic); one at a time, and whoever comes meanwhile waits for it.
    turn: Mutex<Option<Duration>>,
    failing: AtomicBool,
    waiting: Semaphore,
}

struct KeySet {
    keys: Vec<NamedKey>,
    /// When they were asked for (monotonic).
    fetched_at: Duration,
    /// Another number for other keys.
    generation: u64,
}

impl KeySet {
    fn is_believed(&self, now: Now) -> bool {
        now.monotonic.saturating_sub(self.fetched_at) <= BELIEVED_FOR
    }
}

impl Keyring {
    pub(super) fn new(source: Source, clock: Arc<dyn Clock>) -> Self {
        let (set, turn, failing) = (ArcSwapOption::empty(), Mutex::new(None), AtomicBool::new(false));
        Self { source, clock, set, turn, failing, waiting: Semaphore::new(WAITING_MAX) }
    }

    /// Whether what was proven with these keys still is.
    pub(super) fn is_current(&self, generation: u64, now: Now) -> bool {
        let set = self.set.load();
        set.as_ref().is_some_and(|set| set.generation == generation && set.is_believed(now))
    }

    /// Checks a token's signature; the generation of the keys that have proven it.
    pub(super) fn prove(&self, jws: &Jws<'_>, algorithm: Algorithm, now: Now) -> Result<u64, NoProof> {
        let set = self.set.load();
        let set = set.as_ref().filter(|set| set.is_believed(now)).ok_or(NoProof::NoKeys)?;
        let mut fitting =
            set.keys.iter().filter(|key| key.fits(jws.key_id(), algorithm)).take(TRIES_MAX).peekable();
        if fitting.peek().is_none() {
            return Err(NoProof::UnknownKey);
        }
        let signed = |key: &PublicKey| key.has_signed(algorithm, jws.signed().as_bytes(), jws.signature());
        if fitting.any(|key| signed(&key.key)) { Ok(set.generation) } else { Err(NoProof::Wrong) }
    }

    /// Fetches the keys, unless that was tried a moment ago, or as many as may wait for it already. It ends by itself,
    /// whoever waits for it.
    pub(super) async fn renew(self: &Arc<Self>) {
        let Ok(_place) = self.waiting.try_acquire() else { return };
        let keyring = Arc::clone(self);
        // A panic leaves everything as it was.
        let _ = tokio::spawn(async move { keyring.fetch().await }).await;
    }

    /// Fetches the keys again and again.
    pub(super) async fn keep(self: &Arc<Self>) {
        loop {
            self.fetch().await;
            let pause = if self.failing.load(Ordering::Relaxed) { RETRY_AFTER } else { FETCH_EVERY };
            tokio::time::sleep(pause).await;
        }
    }

    async fn fetch(&self) {
        let mut began = self.turn.lock().await;
        let now = self.clock.now().monotonic;
        if began.is_some_and(|began| now < began + FETCH_PAUSE) {
            return;
        }
        *began = Some(now);
        let fetched = match tokio::time::timeout(FETCH_MAX, self.source.keys()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("no answer within {} s", FETCH_MAX.as_secs())),
        };
        match fetched {
            Ok(keys) => {
                self.put(keys, now);
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the keys of issuer {} can be fetched again", self.source.issuer());
                }
            }
            Err(why) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!("the keys of issuer {} cannot be fetched: {why}", self.source.issuer());
                }
            }
        }
    }

    fn put(&self, keys: Vec<NamedKey>, fetched_at: Duration) {
        let known = self.set.load();
        let generation = match &*known {
            Some(known) if known.keys == keys => known.generation,
            Some(known) => known.generation.wrapping_add(1),
            None => 0,
        };
        self.set.store(Some(Arc::new(KeySet { keys, fetched_at, generation })));
    }
}
