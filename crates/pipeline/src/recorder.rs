//! The audit writer: one task that commits groups, so that many calls share one flush of the disk.
//!
//! It never drops an event silently: refusals of one cause that come too thickly are counted, and what could
//! not be written is tried again with the next group, as far as memory allows; what is lost is told. While nothing
//! can be written, no call is forwarded.

mod coalesce;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{
    audit::{Event, Kind},
    clock::Clock,
    key::KeyId,
    stop::Fault,
};
use jiff::Timestamp;
use store::{Applied, Entry, Store, StoreError};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use coalesce::Coalescer;

/// How many events may wait. Over it, calls are refused with `audit-unavailable`.
const QUEUE_MAX: usize = 8_192;
/// How many events one group holds at most.
const GROUP_MAX: usize = 128;
/// How long events that nobody waits for may be held back for company.
const OUTCOMES_WAIT_MAX: Duration = Duration::from_millis(5);
/// How often key use is noted and coalesced refusals are looked through.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(2);

/// Who is told what was written, a group at a time: the log of calls.
pub type Told = Box<dyn FnMut(&mut dyn Iterator<Item = &Event>) + Send>;

/// The way into the trail.
pub struct Recorder {
    queue: mpsc::Sender<Note>,
    healthy: Arc<AtomicBool>,
    /// Calls whose intent is durable and whose outcome is not queued yet.
    pub(crate) under_way: AtomicUsize,
}

/// What the writer is told.
enum Note {
    /// Write this, and tell me when it is durable; nothing is told when it could not be written.
    Durable(Box<Entry>, oneshot::Sender<Written>),
    /// Write this with the next group. Where its change does not take place, the event is written alone.
    Later(Box<Entry>),
}

/// What became of an entry that somebody waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is as durable as `audit.sync` promises.
    Done,
    /// The condition of its change did not hold; neither change nor event is written.
    ConditionFailed,
}

/// A reserved place in the queue: sending into it cannot fail and does not wait.
pub struct Slot(mpsc::OwnedPermit<Note>);

impl Slot {
    /// Queues an event, with the change that it tells of where there is one. The event is written even if the
    /// change's condition does not hold.
    pub fn send(self, entry: impl Into<Entry>) {
        self.0.send(Note::Later(Box::new(entry.into())));
    }
}

impl Recorder {
    /// Starts the writer. It ends, after writing what is queued, when the last [`Recorder`] is dropped.
    #[must_use]
    pub fn start(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        told: Option<Told>,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let (queue, inbox) = mpsc::channel(QUEUE_MAX);
        let healthy = Arc::new(AtomicBool::new(true));
        let writer = Writer {
            store,
            clock,
            told,
            healthy: Arc::clone(&healthy),
            backlog: Vec::new(),
            uses: HashMap::new(),
            coalescer: Coalescer::default(),
        };
        let task = tokio::spawn(writer.run(inbox));
        (Arc::new(Self { queue, healthy, under_way: AtomicUsize::new(0) }), task)
    }

    /// Reserves the place for a call's last event before the call is let in.
    ///
    /// # Errors
    /// [`Fault::AuditUnavailable`] when the queue is full or the writer is gone.
    pub fn reserve(this: &Arc<Self>) -> Result<Slot, Fault> {
        this.queue.clone().try_reserve_owned().map(Slot).map_err(|_| Fault::AuditUnavailable)
    }

    /// Writes an entry and waits until it is as durable as `audit.sync` promises. Without a change, it is never
    /// [`Written::ConditionFailed`].
    ///
    /// # Errors
    /// [`Fault::AuditUnavailable`] when it could not be written: then nothing may be forwarded.
    pub async fn durable(&self, entry: impl Into<Entry>) -> Result<Written, Fault> {
        let (written, answer) = oneshot::channel();
        let note = Note::Durable(Box::new(entry.into()), written);
        self.queue.try_send(note).map_err(|_| Fault::AuditUnavailable)?;
        answer.await.map_err(|_| Fault::AuditUnavailable)
    }

    /// How many calls are forwarded and have not ended yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// How many events wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.max_capacity().saturating_sub(self.queue.capacity())
    }

    /// Whether the last group could be written.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }
}

/// Fills a group; false when the queue has ended. Cancelling it loses nothing: what came is in `notes`.
///
/// A commit costs much more than an event, so a group is written when somebody waits for it, when it is full, or
/// when its oldest event has waited long enough.
async fn gather(inbox: &mut mpsc::Receiver<Note>, notes: &mut Vec<Note>) -> bool {
    if notes.is_empty() && inbox.recv_many(notes, GROUP_MAX).await == 0 {
        return false;
    }
    let deadline = tokio::time::sleep(OUTCOMES_WAIT_MAX);
    tokio::pin!(deadline);
    loop {
        if notes.iter().any(|note| matches!(note, Note::Durable(..))) {
            // Calls that are ready to come along are let in first.
            tokio::task::yield_now().await;
            while notes.len() < GROUP_MAX
                && let Ok(note) = inbox.try_recv()
            {
                notes.push(note);
            }
            return true;
        }
        if notes.len() >= GROUP_MAX {
            return true;
        }
        let room = GROUP_MAX - notes.len();
        tokio::select! {
            received = inbox.recv_many(notes, room) => if received == 0 { return false },
            () = deadline.as_mut() => return true,
        }
    }
}

struct Writer {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    told: Option<Told>,
    healthy: Arc<AtomicBool>,
    /// Events whose group failed and that nobody waits for; bounded by the queue that fed them.
    backlog: Vec<Entry>,
    /// When each key was last used, since it was last noted.
    uses: HashMap<KeyId, Timestamp>,
    coalescer: Coalescer,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Note>) {
        let mut notes = Vec::with_capacity(GROUP_MAX);
        let mut tick = tokio::time::interval(HOUSEKEEPING_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = true;
        while open {
            tokio::select! {
                gathered = gather(&mut inbox, &mut notes) => {
                    open = gathered;
                    self.write_group(&mut notes).await;
                }
                _ = tick.tick() => {
                    self.keep_house(false).await;
                    // From its end: housekeeping that takes longer than the pause must not starve the calls.
                    tick.reset();
                }
            }
        }
        self.keep_house(true).await;
    }

    async fn write_group(&mut self, notes: &mut Vec<Note>) {
        let now = self.clock.now().monotonic;
        let mut group = Vec::with_capacity(notes.len());
        let mut waiting = Vec::with_capacity(notes.len());
        for note in notes.drain(..) {
            match note {
                Note::Durable(entry, written) => {
                    if let Some(key) = entry.event.key_id {
                        self.uses.insert(key, entry.event.at);
                    }
                    waiting.push((group.len(), written));
                    group.push(*entry);
                }
                Note::Later(entry) if entry.event.kind == Kind::Refusal && entry.change.is_none() => {
                    if let Some(event) = self.coalescer.admit(entry.event, now) {
                        group.push(Entry::from(event));
                    }
                }
                Note::Later(entry) => group.push(*entry),
            }
        }
        // What does not take the backlog does not take more: nobody has to wait for that twice.
        let written = match self.write_backlog().await {
            Ok(()) if group.is_empty() => return,
            Ok(()) => self.store.append(&group).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(applied) => {
                self.healthy.store(true, Ordering::Relaxed);
                if let Some(told) = &mut self.told {
                    let done = group.iter().zip(&applied).filter(|(_, one)| matches!(one, Applied::Done));
                    told(&mut done.map(|(entry, _)| &entry.event));
                }
                let mut waiting = waiting.into_iter().peekable();
                for (index, (entry, applied)) in group.into_iter().zip(applied).enumerate() {
                    if let Applied::Failed(error) = &applied {
                        tracing::error!("an event could not be written: {error}");
                    }
                    match (waiting.next_if(|(place, _)| *place == index), applied) {
                        // A walk that is gone no longer needs to know.
                        (Some((_, written)), Applied::Done) => {
                            let _ = written.send(Written::Done);
                        }
                        (Some((_, written)), Applied::ConditionFailed) => {
                            let _ = written.send(Written::ConditionFailed);
                        }
                        // Told by being dropped.
                        (Some(_), Applied::Failed(_)) | (None, Applied::Done) => {}
                        // The change did not take place; what happened is told all the same.
                        (None, _) if entry.change.is_some() => self.backlog.push(Entry::from(entry.event)),
                        (None, _) => {}
                    }
                }
            }
            Err(error) => {
                self.failed(&error);
                // What somebody waits for is answered "no" and forgotten: he decides what follows from it.
                let intents: Vec<usize> = waiting.iter().map(|(index, _)| *index).collect();
                drop(waiting);
                let mut index = 0;
                group.retain(|_| {
                    index += 1;
                    intents.binary_search(&(index - 1)).is_err()
                });
                self.backlog.append(&mut group);
                if self.backlog.len() > QUEUE_MAX {
                    let lost = self.backlog.len() - QUEUE_MAX;
                    tracing::error!("{lost} events are lost: the trail cannot be written");
                    self.backlog.truncate(QUEUE_MAX);
                }
                // Do not spin while the disk is full.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Tries again what could not be written before, a group at a time.
    async fn write_backlog(&mut self) -> Result<(), StoreError> {
        while !self.backlog.is_empty() {
            let length = self.backlog.len().min(GROUP_MAX);
            let Some(group) = self.backlog.get(..length) else { break };
            let applied = self.store.append(group).await?;
            self.healthy.store(true, Ordering::Relaxed);
            let written = self.backlog.drain(..length).zip(applied);
            let left: Vec<Entry> = written
                .filter(|(entry, applied)| entry.change.is_some() && !matches!(applied, Applied::Done))
                .map(|(entry, _)| Entry::from(entry.event))
                .collect();
            self.backlog.splice(..0, left);
        }
        Ok(())
    }

    /// Says once that the trail cannot be written, until it can again.
    fn failed(&self, error: &StoreError) {
        if self.healthy.swap(false, Ordering::Relaxed) {
            tracing::error!("the trail cannot be written, calls are refused: {error}");
        }
    }

    /// Notes key use, writes the counts of coalesced refusals, retries the backlog.
    async fn keep_house(&mut self, closing: bool) {
        let now = self.clock.now().monotonic;
        let mut counts: Vec<Note> = self
            .coalescer
            .due(now, closing)
            .into_iter()
            .map(|event| Note::Later(Box::new(event.into())))
            .collect();
        // Counted events pass the coalescer once more as they are; `admit` lets counts through.
        self.write_group(&mut counts).await;
        if !self.uses.is_empty() && self.healthy.load(Ordering::Relaxed) {
            let uses: Vec<(KeyId, Timestamp)> = self.uses.drain().collect();
            if let Err(error) = self.store.note_key_use(&uses).await {
                tracing::warn!("the last use of keys could not be noted: {error}");
            }
        }
    }
}
