//! The audit writer: one task that commits groups, so that many calls share one flush of the disk.
//!
//! It never drops an event silently: refusals of one cause that come too thickly are counted, and what could
//! not be written is tried again, as far as memory allows; what is lost is told. While nothing can be written, no call is
//! forwarded, and none waits to be told so.

mod coalesce;
#[cfg(test)]
mod tests;
mod undone;

use std::{
    collections::{HashMap, VecDeque},
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
    stop::{Fault, Stop},
};
use jiff::Timestamp;
use store::{Applied, Change, Entry, Store, StoreError, Unanswered};
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
/// How long somebody may wait for his event. A store that hangs is given up sooner than that, once; where others are first it
/// is several times.
pub const DURABLE_WITHIN: Duration = Duration::from_secs(15);
/// How often what could not be written is tried again, or where nothing is left whether something could be.
const AGAIN_EVERY: Duration = Duration::from_millis(250);
/// How long, and how often at most, what is left is tried again at the end.
const LAST_TRIES_WITHIN: Duration = Duration::from_secs(10);
const LAST_TRIES_MAX: usize = 40;
/// How often key use is noted and coalesced refusals are looked through.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(2);

/// Who is told what was written, a group at a time: the log of calls.
pub type Told = Box<dyn FnMut(&mut dyn Iterator<Item = &Event>) + Send>;

/// The way into the trail.
pub struct Recorder {
    queue: mpsc::Sender<Note>,
    healthy: Arc<AtomicBool>,
    durable_within: Duration,
    /// Calls whose intent is durable and whose outcome is not queued yet.
    pub(crate) under_way: AtomicUsize,
}

/// What the writer is told.
enum Note {
    /// Write this, and tell me what became of it. Who does not wait any more does not want it written; where it is written
    /// by then, it is undone.
    Durable(Box<Entry>, Waiter),
    /// Write this, or the event with the other change, and tell me which.
    Owed(Box<(Entry, Change)>, Waiter),
    /// Write this with the next group. Where its change does not take place, the event is written alone.
    Later(Box<Entry>),
}

/// Who waits for an entry. Dropped, it tells that nobody knows.
type Waiter = oneshot::Sender<Result<Written, Unwritten>>;

/// What became of an entry that somebody waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is as durable as `audit.sync` promises.
    Done,
    /// The condition of its change did not hold; neither change nor event is written.
    ConditionFailed,
}

/// Why nobody may go on as if an entry were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritten {
    /// It is not, and will not be.
    Not,
    /// It may be: the store has not answered in time. What it claims or holds is let go of when it does.
    Perhaps,
}

impl From<Unwritten> for Fault {
    fn from(_: Unwritten) -> Self {
        Self::AuditUnavailable
    }
}

impl From<Unwritten> for Stop {
    fn from(unwritten: Unwritten) -> Self {
        Self::Fault(unwritten.into())
    }
}

/// A reserved place in the queue: sending into it cannot fail and does not wait.
pub struct Slot(mpsc::OwnedPermit<Note>);

impl Slot {
    /// Queues an event, with the change that it tells of where there is one. The event is written even if the
    /// change's condition does not hold.
    pub fn send(self, entry: impl Into<Entry>) {
        self.0.send(Note::Later(Box::new(entry.into())));
    }

    /// Queues an event with the change that it tells of; where that cannot be written, it is written with the change
    /// `otherwise`. Whether it was written as it is, as far as that is known within 15 s.
    pub async fn settle(self, entry: Entry, otherwise: Change, recorder: &Recorder) -> bool {
        let (waiter, answer) = oneshot::channel();
        self.0.send(Note::Owed(Box::new((entry, otherwise)), waiter));
        recorder.told(answer).await == Ok(Written::Done)
    }
}

impl Recorder {
    /// Starts the writer. It ends, after writing what is queued, when the last [`Recorder`] is dropped. Who waits for his
    /// event waits for `durable_within` at most.
    #[must_use]
    pub fn start(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        told: Option<Told>,
        durable_within: Duration,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let (queue, inbox) = mpsc::channel(QUEUE_MAX);
        let healthy = Arc::new(AtomicBool::new(true));
        let writer = Writer {
            store,
            clock,
            told,
            healthy: Arc::clone(&healthy),
            doubts: VecDeque::new(),
            backlog: Vec::new(),
            again_max: GROUP_MAX,
            uses: HashMap::new(),
            coalescer: Coalescer::default(),
        };
        let task = tokio::spawn(writer.run(inbox));
        (Arc::new(Self { queue, healthy, durable_within, under_way: AtomicUsize::new(0) }), task)
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
    /// [`Unwritten`] when it is not known to be written within 15 s, and at once while it is known that nothing can be: then
    /// nothing may be forwarded.
    pub async fn durable(&self, entry: impl Into<Entry>) -> Result<Written, Unwritten> {
        if !self.is_healthy() {
            return Err(Unwritten::Not);
        }
        let (waiter, answer) = oneshot::channel();
        let note = Note::Durable(Box::new(entry.into()), waiter);
        self.queue.try_send(note).map_err(|_| Unwritten::Not)?;
        self.told(answer).await
    }

    async fn told(
        &self,
        mut answer: oneshot::Receiver<Result<Written, Unwritten>>,
    ) -> Result<Written, Unwritten> {
        match tokio::time::timeout(self.durable_within, &mut answer).await {
            Ok(told) => told.unwrap_or(Err(Unwritten::Perhaps)),
            Err(_) => {
                // From now on the writer knows that nobody waits; what it told until now counts.
                answer.close();
                answer.try_recv().unwrap_or(Err(Unwritten::Perhaps))
            }
        }
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

    /// Whether the trail can be written, as far as is known. Where it cannot it is tried four times a second.
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
        if notes.iter().any(|note| !matches!(note, Note::Later(_))) {
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
            biased;
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
    /// Groups whose commit nobody answered for, the oldest first. Before anything else is written it is found out what
    /// became of them: nothing is written twice.
    doubts: VecDeque<(Box<Unanswered>, Group)>,
    /// Events whose group failed and that nobody waits for; bounded by the queue that fed them.
    backlog: Vec<Entry>,
    /// How many of them are tried at once: over a line that breaks all the time many never arrive, one does.
    again_max: usize,
    /// When each key was last used, since it was last noted.
    uses: HashMap<KeyId, Timestamp>,
    coalescer: Coalescer,
}

/// What is written together.
#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    /// In the order of the entries that they wait for.
    waiting: Vec<Waiting>,
}

struct Waiting {
    /// The place of the entry in its group.
    place: usize,
    waiter: Waiter,
    /// The change that the event is written with where the entry's own cannot be.
    otherwise: Option<Change>,
}

impl Group {
    fn push(&mut self, entry: Entry, waiter: Waiter, otherwise: Option<Change>) {
        self.waiting.push(Waiting { place: self.entries.len(), waiter, otherwise });
        self.entries.push(entry);
    }

    /// Each entry and who waits for it.
    fn into_iter(self) -> impl Iterator<Item = (Entry, Option<Waiting>)> {
        let mut waiting = self.waiting.into_iter().peekable();
        let entries = self.entries.into_iter().enumerate();
        entries.map(move |(place, entry)| (entry, waiting.next_if(|waiting| waiting.place == place)))
    }
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Note>) {
        let mut notes = Vec::with_capacity(GROUP_MAX);
        let mut tick = tokio::time::interval(HOUSEKEEPING_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut again = tokio::time::interval(AGAIN_EVERY);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = true;
        while open {
            let is_behind = self.has_rest() || !self.is_healthy();
            tokio::select! {
                // Calls that come without a pause must not starve it.
                biased;
                _ = tick.tick() => {
                    self.keep_house(false).await;
                    // From its end: housekeeping that takes longer than the pause must not starve the calls.
                    tick.reset();
                }
                _ = again.tick(), if is_behind => {
                    self.write_group(Group::default()).await;
                    again.reset();
                }
                gathered = gather(&mut inbox, &mut notes) => {
                    open = gathered;
                    if self.is_healthy() {
                        let group = self.group_of(&mut notes);
                        self.write_group(group).await;
                    }
                }
            }
            if !self.is_healthy() {
                // Nobody waits for what is known.
                self.put_by(&mut inbox, &mut notes);
            }
        }
        self.keep_house(true).await;
        self.write_last().await;
    }

    /// Tries what is left for a while, and tells what is lost.
    async fn write_last(&mut self) {
        let until = self.clock.now().monotonic + LAST_TRIES_WITHIN;
        for _ in 0..LAST_TRIES_MAX {
            if !self.has_rest() || self.clock.now().monotonic >= until {
                break;
            }
            tokio::time::sleep(AGAIN_EVERY).await;
            self.keep_house(true).await;
        }
        let lost = self.backlog.len();
        let doubted: usize = self.doubts.iter().map(|(_, group)| group.entries.len()).sum();
        if lost > 0 || doubted > 0 {
            tracing::error!(
                "{lost} events are lost, and of {doubted} nobody knows: the trail could not be written at the end"
            );
        }
    }

    /// What is to be written of these.
    fn group_of(&mut self, notes: &mut Vec<Note>) -> Group {
        let now = self.clock.now().monotonic;
        let mut group = Group::default();
        group.entries.reserve(notes.len());
        for note in notes.drain(..) {
            match note {
                Note::Durable(_, waiter) if waiter.is_closed() => {}
                Note::Durable(entry, waiter) => {
                    if let Some(key) = entry.event.key_id {
                        self.uses.insert(key, entry.event.at);
                    }
                    group.push(*entry, waiter, None);
                }
                Note::Owed(owed, waiter) if waiter.is_closed() => {
                    let (Entry { event, .. }, otherwise) = *owed;
                    group.entries.push(Entry { change: Some(otherwise), event });
                }
                Note::Owed(owed, waiter) => {
                    let (entry, otherwise) = *owed;
                    group.push(entry, waiter, Some(otherwise));
                }
                Note::Later(entry) if entry.event.kind == Kind::Refusal && entry.change.is_none() => {
                    if let Some(event) = self.coalescer.admit(entry.event, now) {
                        group.entries.push(Entry::from(event));
                    }
                }
                Note::Later(entry) => group.entries.push(*entry),
            }
        }
        group
    }

    /// Writes what was left, and then this.
    async fn write_group(&mut self, group: Group) {
        // What does not take what was left does not take more: nobody has to wait for that twice.
        let took = match self.write_rest().await {
            // Where nothing is left, a small commit tells when a store that has failed is back: whoever sends calls only to
            // gateways that are ready would never send one again.
            true if group.entries.is_empty() => self.is_healthy() || self.store.touch().await.is_ok(),
            true => self.write(group).await,
            false => {
                self.backlog.extend(not_written(group));
                false
            }
        };
        // Not before all that was left is written: calls do not wait for that either.
        if took && !self.healthy.swap(true, Ordering::Relaxed) {
            tracing::info!("the trail can be written again");
        }
    }

    /// Keeps what has come for when the trail can be written again; who waits is told that his entry is not.
    fn put_by(&mut self, inbox: &mut mpsc::Receiver<Note>, notes: &mut Vec<Note>) {
        for _ in 0..inbox.len() {
            notes.extend(inbox.try_recv());
        }
        let group = self.group_of(notes);
        self.backlog.extend(not_written(group));
        let lost = shorten(&mut self.backlog, QUEUE_MAX);
        if lost > 0 {
            tracing::error!("{lost} events are lost: the trail cannot be written");
        }
    }

    fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    fn has_rest(&self) -> bool {
        !self.doubts.is_empty() || !self.backlog.is_empty()
    }

    /// Finds out what became of groups that nobody answered for, and tries again what could not be written, a group at a
    /// time. Whether nothing is left.
    async fn write_rest(&mut self) -> bool {
        while let Some((unanswered, group)) = self.doubts.pop_front() {
            match self.store.settle(&unanswered).await {
                // It is written as a whole.
                Ok(Some(applied)) => _ = self.written(group, applied),
                Ok(None) => self.put_back(group),
                Err(error) => {
                    self.failed(&error);
                    self.doubts.push_front((unanswered, group));
                    return false;
                }
            }
        }
        while !self.backlog.is_empty() {
            let length = self.backlog.len().min(self.again_max);
            let entries = self.backlog.drain(..length).collect();
            if !self.write(Group { entries, waiting: Vec::new() }).await {
                self.again_max = (length / 2).max(1);
                return false;
            }
            self.again_max = (self.again_max * 2).min(GROUP_MAX);
        }
        true
    }

    /// Writes a group, of at most 128, where nothing older is left; whether the store took it.
    async fn write(&mut self, group: Group) -> bool {
        match self.store.append(&group.entries).await {
            Ok(applied) => return self.written(group, applied),
            Err(StoreError::Unanswered(unanswered)) => {
                self.failed(unanswered.instead());
                self.doubts.push_back((unanswered, group));
            }
            Err(error) => {
                self.failed(&error);
                self.put_back(group);
            }
        }
        false
    }

    /// Nothing of a group is written, and nothing that is left is older.
    fn put_back(&mut self, group: Group) {
        let left = not_written(group);
        self.backlog.splice(..0, left);
    }

    /// A group was written, but for what is said of single entries; whether the store has answered for all of them.
    fn written(&mut self, group: Group, applied: Vec<Applied>) -> bool {
        let mut untaken = Vec::new();
        if let Some(told) = &mut self.told {
            let done = group.entries.iter().zip(&applied).filter(|(_, one)| matches!(one, Applied::Done));
            told(&mut done.map(|(entry, _)| &entry.event));
        }
        for ((entry, waiting), applied) in group.into_iter().zip(applied) {
            match (applied, waiting) {
                (Applied::Done, None) => {}
                (Applied::Done, Some(Waiting { waiter, otherwise, .. })) => {
                    let is_gone = waiter.send(Ok(Written::Done)).is_err();
                    if is_gone && otherwise.is_none() {
                        self.backlog.extend(undone::undone(entry, self.clock.now().wall));
                    }
                }
                (Applied::ConditionFailed, Some(Waiting { waiter, otherwise: None, .. })) => {
                    // A walk that is gone no longer needs to know.
                    let _ = waiter.send(Ok(Written::ConditionFailed));
                }
                (Applied::Failed(StoreError::Unanswered(unanswered)), waiting) => {
                    let waiting = waiting.map(|waiting| Waiting { place: 0, ..waiting });
                    let group = Group { entries: vec![entry], waiting: waiting.into_iter().collect() };
                    self.failed(unanswered.instead());
                    self.doubts.push_back((unanswered, group));
                }
                // The store went away meanwhile: that is no fault of this entry, nor reason to lose it.
                (Applied::Failed(error), waiting) if !error.is_of_one_entry() => {
                    self.failed(&error);
                    untaken.extend(not_taken((entry, waiting)));
                }
                (applied, waiting) => {
                    if let Applied::Failed(error) = &applied {
                        tracing::error!("an event could not be written: {error}");
                    }
                    let left = match waiting {
                        Some(waiting) => waiting.not_written(entry),
                        // The change did not take place; what happened is told all the same.
                        None if entry.change.is_some() && undone::is_told_alone(&entry) => {
                            Some(Entry::from(entry.event))
                        }
                        None => None,
                    };
                    self.backlog.extend(left);
                }
            }
        }
        let took = untaken.is_empty() && self.doubts.is_empty();
        self.backlog.splice(..0, untaken);
        took
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
        let counts = self.coalescer.due(now, closing);
        self.backlog.extend(counts.into_iter().map(Entry::from));
        self.write_group(Group::default()).await;
        if !self.uses.is_empty() && self.is_healthy() {
            let uses: Vec<(KeyId, Timestamp)> = self.uses.drain().collect();
            if let Err(error) = self.store.note_key_use(&uses).await {
                tracing::warn!("the last use of keys could not be noted: {error}");
            }
        }
    }
}

impl Waiting {
    /// Tells that the entry is not written; what is written in its place.
    fn not_written(self, entry: Entry) -> Option<Entry> {
        // A walk that is gone no longer needs to know.
        let _ = self.waiter.send(Err(Unwritten::Not));
        self.otherwise.map(|change| Entry { change: Some(change), event: entry.event })
    }
}

/// Lets go of entries over a maximum, the latest first, those with a change last: they end or undo something. How many.
fn shorten(backlog: &mut Vec<Entry>, max: usize) -> usize {
    let over = backlog.len().saturating_sub(max);
    if over > 0 {
        let plain = backlog.iter().filter(|entry| entry.change.is_none()).count();
        let mut kept = plain.saturating_sub(over);
        backlog.retain(|entry| {
            let stays = entry.change.is_some() || kept > 0;
            if entry.change.is_none() {
                kept = kept.saturating_sub(1);
            }
            stays
        });
        backlog.truncate(max);
    }
    over
}

/// Nothing of a group is written: who waits is answered "no" and decides what follows from it. What is left of it, to be
/// tried again.
fn not_written(group: Group) -> Vec<Entry> {
    group.into_iter().filter_map(not_taken).collect()
}

/// The same of one entry.
fn not_taken((entry, waiting): (Entry, Option<Waiting>)) -> Option<Entry> {
    match waiting {
        Some(waiting) => waiting.not_written(entry),
        None => Some(entry),
    }
}
