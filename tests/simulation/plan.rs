//! What is done in a run, and when: agents, people, and everything that goes wrong. All of it comes from the seed.

use std::time::Duration;

use domain::idempotency::IdempotencyKey;

use crate::{
    birth::{AGENTS, PEOPLE},
    chance::Chance,
    server::{Climate, Cut},
};

/// For so long things are done (ms).
const BUSY_MS: u64 = 2_000;

/// A call that an agent means to happen once, however often it asks.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    pub number: usize,
    pub agent: usize,
    pub kind: Kind,
    /// Whether it comes with an idempotency key.
    pub keyed: bool,
    /// Under its key, this time another request is made.
    pub other: Option<usize>,
}

/// Who must say yes to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody.
    Small,
    /// One person.
    Big,
    /// Two.
    Huge,
}

impl Op {
    pub fn path(&self) -> String {
        let kind = match self.kind {
            Kind::Small => "small",
            Kind::Big => "big",
            Kind::Huge => "huge",
        };
        format!("/{kind}/{}", self.number)
    }

    pub fn repeatable(&self) -> Option<IdempotencyKey> {
        self.keyed.then(|| IdempotencyKey::parse(&format!("key-{}", self.number)).unwrap())
    }

    /// Whether the `nth` time another request is made under the key.
    pub fn is_other(&self, nth: usize) -> bool {
        self.keyed && self.other == Some(nth)
    }
}

/// Something that is done.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    Ask {
        op: usize,
        nth: usize,
        gateway: usize,
    },
    Decide {
        op: usize,
        person: usize,
        approve: bool,
        gateway: usize,
    },
    TakeBack {
        op: usize,
        gateway: usize,
    },
    Revoke {
        agent: usize,
    },
    Stop,
    Lift,
    /// The process is killed; the server notices after so long (ms).
    Kill {
        gateway: usize,
        noticed_ms: u64,
    },
    Start {
        gateway: usize,
    },
    /// SIGSTOP and SIGCONT.
    Pause {
        gateway: usize,
    },
    Resume {
        gateway: usize,
    },
    /// Something does not reach the store any more.
    Cut {
        gateway: usize,
        cut: Cut,
    },
    Heal {
        gateway: usize,
    },
    /// The wall clock is set.
    Skew {
        gateway: usize,
        seconds: i64,
    },
    /// The store's server is restarted: all sessions are new.
    Restart,
}

/// A run.
pub struct Plan {
    pub gateways: usize,
    pub climate: Climate,
    /// How long a gateway waits for what it writes.
    pub patience: Duration,
    /// How long each gateway is let run at a time.
    pub turn: Duration,
    pub ops: Vec<Op>,
    /// In the order in which they are done.
    pub deeds: Vec<(Duration, Deed)>,
    pub busy: Duration,
    /// Whether gateways have time to end what they began, before all but one are killed.
    pub settles: bool,
    /// Whether any wall clock is set.
    pub skewed: bool,
}

impl Plan {
    pub fn of(chance: &mut Chance) -> Self {
        let gateways = chance.pick(&[2, 2, 3]);
        let climate = Climate {
            latency_ms: chance.pick(&[2, 10, 40, 120]),
            lost_one_in: chance.pick(&[0, 0, 150, 40]),
        };
        let patience = Duration::from_millis(chance.pick(&[15_000, 15_000, 200, 600]));
        let turn = Duration::from_millis(chance.pick(&[5, 10, 20]));
        let settles = chance.one_in(2);
        let mut made = Deeds { chance, gateways: gateways as u64, deeds: Vec::new() };
        let ops: Vec<Op> = (0..made.chance.between(5, 9) as usize).map(|number| made.op(number)).collect();
        made.stops();
        made.accidents(&ops);
        let mut deeds = made.deeds;
        // Stable: what is done at one moment is done in the order in which it was drawn.
        deeds.sort_by_key(|(at, _)| *at);
        let skewed = deeds.iter().any(|(_, deed)| matches!(deed, Deed::Skew { .. }));
        Self {
            gateways,
            climate,
            patience,
            turn,
            ops,
            deeds,
            busy: Duration::from_millis(BUSY_MS),
            settles,
            skewed,
        }
    }
}

struct Deeds<'c> {
    chance: &'c mut Chance,
    gateways: u64,
    deeds: Vec<(Duration, Deed)>,
}

impl Deeds<'_> {
    fn at(&mut self, ms: u64, deed: Deed) {
        self.deeds.push((Duration::from_millis(ms), deed));
    }

    fn gateway(&mut self) -> usize {
        self.chance.below(self.gateways) as usize
    }

    fn op(&mut self, number: usize) -> Op {
        let kind = self.chance.pick(&[Kind::Small, Kind::Small, Kind::Big, Kind::Big, Kind::Huge]);
        let keyed = self.chance.one_in(2);
        let agent = self.chance.below(AGENTS as u64) as usize;
        let first = self.chance.below(1_400);
        let times = self.chance.between(1, 4) as usize;
        let other = (keyed && self.chance.one_in(4)).then(|| self.chance.below(times as u64) as usize);
        for nth in 0..times {
            // Some come at the same moment, at different gateways.
            let later = if self.chance.one_in(2) { 0 } else { self.chance.below(700) };
            let gateway = self.gateway();
            self.at(first + later * nth as u64, Deed::Ask { op: number, nth, gateway });
        }
        if kind != Kind::Small {
            for _ in 0..self.chance.between(1, 4) {
                let after = self.chance.between(20, 1_200);
                let (person, approve) = (self.chance.below(PEOPLE as u64) as usize, !self.chance.one_in(6));
                let gateway = self.gateway();
                self.at(first + after, Deed::Decide { op: number, person, approve, gateway });
            }
            if self.chance.one_in(6) {
                let (after, gateway) = (self.chance.between(20, 1_200), self.gateway());
                self.at(first + after, Deed::TakeBack { op: number, gateway });
            }
        }
        Op { number, agent, kind, keyed, other }
    }

    /// Keys are revoked, the kill switch is turned.
    fn stops(&mut self) {
        if self.chance.one_in(2) {
            let (at, agent) = (self.chance.between(200, 1_700), self.chance.below(AGENTS as u64) as usize);
            self.at(at, Deed::Revoke { agent });
        }
        if self.chance.one_in(4) {
            let on = self.chance.between(200, 1_400);
            let off = on + self.chance.between(100, 1_600);
            self.at(on, Deed::Stop);
            self.at(off, Deed::Lift);
        }
    }

    /// At most one at a time for each gateway.
    fn accidents(&mut self, ops: &[Op]) {
        for gateway in 0..self.gateways as usize {
            let mut from = self.chance.between(50, 1_200);
            while from < BUSY_MS && !self.chance.one_in(3) {
                let until = from + self.chance.pick(&[60, 300, 1_200, 1_400, 1_900]);
                match self.chance.below(5) {
                    0 => {
                        let noticed_ms = self.chance.pick(&[0, 0, 700, 3_000]);
                        self.at(from, Deed::Kill { gateway, noticed_ms });
                        self.at(until, Deed::Start { gateway });
                    }
                    1 => {
                        self.at(from, Deed::Pause { gateway });
                        self.at(until, Deed::Resume { gateway });
                        self.stop_meanwhile(ops, gateway, from, until);
                    }
                    2 => {
                        let all = [true, false].map(|noticed| Cut::All { noticed });
                        let cut = self.chance.pick(&[
                            all[0],
                            all[1],
                            Cut::Reading,
                            Cut::Reading,
                            Cut::Answer,
                            Cut::Answer,
                        ]);
                        self.at(from, Deed::Cut { gateway, cut });
                        self.at(until, Deed::Heal { gateway });
                        self.stop_meanwhile(ops, gateway, from, until);
                    }
                    3 => {
                        let seconds = self.chance.pick(&[-3_600, -2, 2, 3_600]);
                        self.at(from, Deed::Skew { gateway, seconds });
                    }
                    _ => self.at(from, Deed::Restart),
                }
                from = until + self.chance.between(50, 1_000);
            }
        }
    }

    /// While a gateway does not see it, somebody is stopped of whom it has calls under way, or gets some.
    fn stop_meanwhile(&mut self, ops: &[Op], gateway: usize, from: u64, until: u64) {
        if self.chance.one_in(3) {
            return;
        }
        // Rather one that nobody else holds up.
        let small: Vec<Op> = ops.iter().copied().filter(|op| op.kind == Kind::Small).collect();
        let op = self.chance.pick(if small.is_empty() { ops } else { &small });
        for nth in 10..16 {
            let (early, late) = (from.saturating_sub(150), until.saturating_sub(1));
            let at =
                if nth < 14 { self.chance.between(early, from) } else { self.chance.between(from, late) };
            self.at(at, Deed::Ask { op: op.number, nth, gateway });
        }
        let at = from + self.chance.below(200);
        if self.chance.one_in(3) {
            self.at(at, Deed::Stop);
        } else {
            self.at(at, Deed::Revoke { agent: op.agent });
        }
    }
}
