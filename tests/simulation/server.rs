//! The way from each gateway to the store that they share, and what a database server knows of them: who is connected.
//! What is written is written by the real store, on a file.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::Duration,
};

use store::{Fate, Reader, Step, Weather};

use crate::chance::Chance;

/// How long a gateway waits for an answer that does not come: as `store` waits for a server.
const GIVEN_UP_AFTER_MS: u64 = 1_100;

/// The server, as far as gateways have sessions there.
#[derive(Default)]
pub struct Server {
    now: Cell<Duration>,
    /// Each number that was given, and when its session ends, or has ended.
    numbers: RefCell<BTreeMap<i64, Option<Duration>>>,
}

impl Server {
    /// It is so late now.
    pub fn tick(&self, now: Duration) {
        self.now.set(now);
    }

    /// The session that holds this number ends after so long.
    pub fn end(&self, number: i64, after: Duration) {
        if let Some(ends) = self.numbers.borrow_mut().get_mut(&number) {
            ends.get_or_insert(self.now.get() + after);
        }
    }

    /// All sessions end: it was restarted.
    pub fn restart(&self) {
        let now = self.now.get();
        self.numbers.borrow_mut().values_mut().for_each(|ends| *ends = Some(now));
    }

    fn lives(&self, number: i64) -> bool {
        self.numbers.borrow().get(&number).is_some_and(|ends| ends.is_none_or(|end| end > self.now.get()))
    }

    fn take(&self, number: i64) {
        self.numbers.borrow_mut().insert(number, None);
    }

    fn new_number(&self) -> i64 {
        let number = self.numbers.borrow().last_key_value().map_or(1_001, |(last, _)| last + 1);
        self.take(number);
        number
    }
}

/// Gateways that were gone at the last look, and how often in a row.
type Suspects = HashMap<i64, u8>;

/// How bad the way is in general.
#[derive(Debug, Clone, Copy)]
pub struct Climate {
    /// The longest that a question takes (ms).
    pub latency_ms: u64,
    /// One in so many questions or answers is lost; 0: none.
    pub lost_one_in: u64,
}

/// What does not arrive any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing; whether that is noticed at once.
    All { noticed: bool },
    /// What is read: other connections than the one that writes.
    Reading,
    /// The answer to the next commit, and then everything.
    Answer,
}

/// One gateway's way to the store.
pub struct Way {
    server: Rc<Server>,
    climate: Climate,
    chance: RefCell<Chance>,
    readers: RefCell<Vec<Reader>>,
    number: Cell<i64>,
    suspects: RefCell<Suspects>,
    /// While it starts, or when all is over, nothing goes wrong.
    pub calm: Cell<bool>,
    /// Whether the answer to the last commit was lost: then what follows is often lost, too.
    unanswered: Cell<bool>,
    pub cut: Cell<Option<Cut>>,
}

impl Way {
    pub fn new(server: Rc<Server>, climate: Climate, chance: Chance) -> Rc<Self> {
        let (number, calm, cut) = (Cell::new(0), Cell::new(true), Cell::new(None));
        let (chance, readers, suspects) = (RefCell::new(chance), RefCell::default(), RefCell::default());
        let unanswered = Cell::new(false);
        Rc::new(Self { unanswered, server, climate, chance, readers, number, suspects, calm, cut })
    }

    fn fate(&self, step: Step) -> Fate {
        let mut chance = self.chance.borrow_mut();
        if self.calm.get() {
            return Fate::Arrives(Duration::ZERO);
        }
        match self.cut.get() {
            Some(Cut::All { noticed: true }) => Fate::Lost(Duration::from_millis(1)),
            Some(Cut::All { noticed: false }) => Fate::Lost(Duration::from_millis(GIVEN_UP_AFTER_MS)),
            Some(Cut::Reading) if step == Step::Read => Fate::Lost(Duration::from_millis(300)),
            _ if step == Step::Write && self.unanswered.take() && chance.one_in(2) => {
                Fate::Lost(Duration::from_millis(GIVEN_UP_AFTER_MS))
            }
            _ if chance.one_in(self.climate.lost_one_in) => {
                Fate::Lost(Duration::from_millis(chance.pick(&[0, 20, 400, GIVEN_UP_AFTER_MS])))
            }
            // Most are quick: what is slow then meets what is not.
            _ if chance.one_in(3) => Fate::Arrives(Duration::ZERO),
            _ => Fate::Arrives(Duration::from_millis(chance.below(self.climate.latency_ms + 1))),
        }
    }
}

impl Drop for Way {
    /// The connections go with their gateway: nobody is left to give them back to.
    fn drop(&mut self) {
        self.readers.take().into_iter().for_each(|reader| drop(reader.connection.leak()));
    }
}

impl Weather for Way {
    fn before(&self, step: Step) -> Fate {
        let fate = self.fate(step);
        let number = self.number.get();
        let arrives = matches!(fate, Fate::Arrives(_));
        if arrives && step == Step::Write && number > 0 && !self.server.lives(number) {
            // It is connected anew, and takes its number back.
            self.server.take(number);
        }
        fate
    }

    fn after(&self, step: Step) -> Fate {
        if step == Step::Commit && self.cut.get() == Some(Cut::Answer) && !self.calm.get() {
            self.cut.set(Some(Cut::All { noticed: true }));
            return Fate::Lost(Duration::from_millis(20));
        }
        let fate = self.fate(step);
        if step == Step::Commit && matches!(fate, Fate::Lost(_)) {
            self.unanswered.set(true);
        }
        fate
    }

    fn number(&self) -> i64 {
        self.number.get()
    }

    fn serve(&self) {
        self.number.set(self.server.new_number());
    }

    fn suspects(&self) -> &RefCell<Suspects> {
        &self.suspects
    }

    fn readers(&self) -> &RefCell<Vec<Reader>> {
        &self.readers
    }

    fn lives(&self, number: i64) -> bool {
        self.server.lives(number)
    }
}
