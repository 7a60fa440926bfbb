//! One run: several gateways, one store, one bank. Each gateway is let run for a few simulated milliseconds at a time, in
//! an order that is drawn anew each time; between that, things are done to them.

use std::{path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use admin::{Actor, Admin};
use domain::kill::KillReason;
use store::{Place, Store, StoreOptions, Sync, in_weather};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    actors::{ask, decide, take_back},
    birth::{Common, memory_folder},
    chance::Chance,
    gateway::{Process, runtime},
    history::{Fact, History},
    ledger::Ledger,
    plan::{Deed, Kind, Op, Plan},
    server::{Cut, Server, Way},
    upstream::Bank,
};

/// After all that goes wrong, all gateways run on for so long that whatever they are waiting for comes or is late: in the
/// runs where they are not killed just then.
const SETTLING: Duration = Duration::from_millis(2_400);
/// Then one of them is left alone, until all deadlines have passed.
const ALONE: Duration = Duration::from_millis(4_080);
/// Agents ask once more, and it looks for dead ones.
const LAST_LOOKS: Duration = Duration::from_millis(5_100);
/// What it has left open all the same is given up when it starts anew.
const ANEW: Duration = Duration::from_millis(600);

/// How long a step is while everybody waits for deadlines: a little longer than the pause between two looks for dead ones.
const STRIDE: Duration = Duration::from_millis(1_020);
/// How long each gateway is let run at a time when nothing goes wrong any more.
const CALM_TURN: Duration = Duration::from_millis(40);

/// What a run leaves.
pub struct Outcome {
    pub plan: Plan,
    pub history: History,
    pub ledger: Arc<Ledger>,
    _folder: TempDir,
}

/// Runs a seed.
pub fn run(common: &Common, seed: u64) -> Outcome {
    let plan = Plan::of(&mut Chance::new(seed, 1));
    let folder = memory_folder();
    let path = common.copy(&folder);
    let ledger = Ledger::open(&path);
    let history = History::default();
    let bank = Bank::new(history.clone(), Arc::clone(&ledger), Chance::new(seed, 2));
    let server = Rc::new(Server::default());
    let desk = Desk::open(&path, &server, &plan);
    let processes = (0..plan.gateways).map(|_| None).collect();
    let order = Chance::new(seed, 3);
    let paused = vec![false; plan.gateways];
    let now = Duration::ZERO;
    let mut sea =
        Sea { common, path, bank, server, ledger, desk, processes, paused, order, now, plan, history };
    sea.sail();
    let Sea { plan, history, ledger, .. } = sea;
    Outcome { plan, history, ledger, _folder: folder }
}

struct Sea<'c> {
    common: &'c Common,
    path: PathBuf,
    bank: Bank,
    server: Rc<Server>,
    ledger: Arc<Ledger>,
    desk: Desk,
    processes: Vec<Option<Process>>,
    paused: Vec<bool>,
    order: Chance,
    now: Duration,
    plan: Plan,
    history: History,
}

impl Sea<'_> {
    fn sail(&mut self) {
        for gateway in 0..self.plan.gateways {
            self.start(gateway);
        }
        let deeds = std::mem::take(&mut self.plan.deeds);
        let mut next = deeds.iter().copied().peekable();
        while self.now < self.plan.busy {
            while let Some((_, deed)) = next.next_if(|(at, _)| *at <= self.now) {
                self.act(deed);
            }
            self.turn(self.plan.turn);
        }
        self.plan.deeds = deeds;
        self.clear_up();
        if self.plan.settles {
            self.turns(SETTLING, CALM_TURN);
        }
        let alone = self.processes.iter().position(Option::is_some).unwrap_or(0);
        for gateway in (0..self.plan.gateways).filter(|gateway| *gateway != alone) {
            self.kill(gateway, Duration::ZERO);
        }
        self.start_calmly(alone);
        self.strides(ALONE);
        for op in self.ledger.undelivered() {
            self.ask(op, usize::MAX, alone);
        }
        self.strides(LAST_LOOKS);
        if self.ledger.has_open_ends() {
            self.kill(alone, Duration::ZERO);
            self.start_calmly(alone);
            self.turns(ANEW, ANEW);
        }
        self.processes.clear();
    }

    fn turns(&mut self, length: Duration, turn: Duration) {
        let end = self.now + length;
        while self.now < end {
            self.turn(turn);
        }
    }

    /// Lets so much time pass; of each second everybody is let run for a moment only. Nothing is done to anybody any more,
    /// and what they do while nobody is there costs more than all the rest.
    fn strides(&mut self, length: Duration) {
        let end = self.now + length;
        while self.now < end {
            self.now += STRIDE - CALM_TURN;
            self.processes.iter().flatten().for_each(|process| process.sleep_through(self.now));
            self.turn(CALM_TURN);
        }
    }

    /// Everybody has the same time, one after the other.
    fn turn(&mut self, turn: Duration) {
        self.now += turn;
        self.server.tick(self.now);
        let mut order: Vec<usize> = (0..self.processes.len()).collect();
        self.order.shuffle(&mut order);
        for gateway in order {
            if let (Some(process), false) = (&self.processes[gateway], self.paused[gateway]) {
                process.run_until(self.now);
            }
        }
    }

    /// Nothing goes wrong any more, and who waits for an answer asks once more.
    fn clear_up(&mut self) {
        for gateway in 0..self.plan.gateways {
            self.act(Deed::Resume { gateway });
            self.act(Deed::Heal { gateway });
            if let Some(process) = &self.processes[gateway] {
                process.way.calm.set(true);
                process.clock.skew(0);
            }
        }
        if self.plan.deeds.iter().any(|(_, deed)| matches!(deed, Deed::Stop)) {
            self.act(Deed::Lift);
        }
        let means_the_same = |op: &&Op| op.keyed || op.kind != Kind::Small;
        let again: Vec<_> = self.plan.ops.iter().filter(means_the_same).map(|op| op.number).collect();
        let gateway = self.processes.iter().position(Option::is_some).unwrap_or(0);
        for op in again {
            self.act(Deed::Ask { op, nth: usize::MAX, gateway });
        }
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Ask { op, nth, gateway } => self.ask(op, nth, gateway),
            Deed::Decide { op, person, approve, gateway } => {
                let op = self.plan.ops[op];
                let Some(process) = &self.processes[gateway] else { return };
                self.note(Fact::Deciding { op: op.number, person, approve });
                let token = self.common.tokens[person].clone();
                let (gateway, clock) = (Arc::clone(&process.gateway), Arc::clone(&process.clock));
                process.spawn(decide(gateway, clock, self.history.clone(), token, op, (person, approve)));
            }
            Deed::TakeBack { op, gateway } => {
                let op = self.plan.ops[op];
                let Some(process) = &self.processes[gateway] else { return };
                let key = self.common.keys[op.agent].clone();
                let (gateway, clock) = (Arc::clone(&process.gateway), Arc::clone(&process.clock));
                process.spawn(take_back(gateway, clock, self.history.clone(), key, op));
            }
            Deed::Revoke { agent } => {
                self.desk.revoke(self.common, agent, self.now);
                self.note(Fact::Revoked { agent });
            }
            Deed::Stop => {
                if self.desk.turn_kill(true, self.common, self.now) {
                    self.note(Fact::Stopped);
                }
            }
            Deed::Lift => {
                if self.desk.turn_kill(false, self.common, self.now) {
                    self.note(Fact::Lifted);
                }
            }
            Deed::Kill { gateway, noticed_ms } => self.kill(gateway, Duration::from_millis(noticed_ms)),
            Deed::Start { gateway } => self.start(gateway),
            Deed::Pause { gateway } => {
                self.paused[gateway] = true;
                self.note(Fact::Done { what: "paused", gateway });
            }
            Deed::Resume { gateway } => {
                if std::mem::replace(&mut self.paused[gateway], false)
                    && let Some(process) = &self.processes[gateway]
                {
                    self.note(Fact::Done { what: "resumed", gateway });
                    process.sleep_through(self.now);
                }
            }
            Deed::Cut { gateway, cut } => self.cut(gateway, Some(cut)),
            Deed::Heal { gateway } => self.cut(gateway, None),
            Deed::Skew { gateway, seconds } => {
                if let Some(process) = &self.processes[gateway] {
                    process.clock.skew(seconds);
                }
                self.note(Fact::Done { what: "set its clock", gateway });
            }
            Deed::Restart => {
                self.server.restart();
                self.note(Fact::Done { what: "the server was restarted under", gateway: 0 });
            }
        }
    }

    fn ask(&mut self, op: usize, nth: usize, gateway: usize) {
        let op = self.plan.ops[op];
        let Some(process) = &self.processes[gateway] else { return };
        self.note(Fact::Asked { op: op.number, nth, gateway });
        let key = self.common.keys[op.agent].clone();
        let (gateway, clock) = (Arc::clone(&process.gateway), Arc::clone(&process.clock));
        process.spawn(ask(gateway, clock, self.history.clone(), key, op, nth));
    }

    fn start(&mut self, gateway: usize) {
        if self.processes[gateway].is_some() {
            return;
        }
        let chance = Chance::new(self.order.next(), gateway as u64);
        let way = Way::new(Rc::clone(&self.server), self.plan.climate, chance);
        let (common, path) = (self.common, &self.path);
        let outside = (&self.bank, self.plan.patience);
        let process = Process::start(common, path, way, outside, &mut self.order, self.now);
        self.processes[gateway] = Some(process);
        self.paused[gateway] = false;
        self.note(Fact::Done { what: "started", gateway });
    }

    /// Starts it where it does not run, now that nothing goes wrong any more.
    fn start_calmly(&mut self, gateway: usize) {
        self.start(gateway);
        if let Some(process) = &self.processes[gateway] {
            process.way.calm.set(true);
        }
    }

    fn kill(&mut self, gateway: usize, noticed: Duration) {
        if let Some(process) = self.processes[gateway].take() {
            self.server.end(store::Weather::number(&*process.way), noticed);
            self.paused[gateway] = false;
            drop(process);
            self.note(Fact::Done { what: "killed", gateway });
        }
    }

    fn cut(&mut self, gateway: usize, cut: Option<Cut>) {
        let Some(process) = &self.processes[gateway] else { return };
        if process.way.cut.replace(cut) != cut {
            if matches!(cut, Some(Cut::All { .. })) {
                self.server.end(store::Weather::number(&*process.way), Duration::from_millis(500));
            }
            let what = if cut.is_some() { "cut off" } else { "connected again" };
            self.note(Fact::Done { what, gateway });
        }
    }

    fn note(&self, fact: Fact) {
        self.history.push(self.now, fact);
    }
}

/// The owner's command line: changes that take no time, so that the moment is known from which they hold.
struct Desk {
    runtime: Runtime,
    admin: Admin,
    way: Rc<Way>,
}

impl Desk {
    fn open(path: &std::path::Path, server: &Rc<Server>, plan: &Plan) -> Self {
        let runtime = runtime();
        let way = Way::new(Rc::clone(server), plan.climate, Chance::new(0, 0));
        let options = StoreOptions { place: Place::File(path.into()), sync: Sync::Os, create: None };
        let store = in_weather(Rc::clone(&way) as _, || runtime.block_on(Store::open(&options))).unwrap();
        Self { runtime, admin: Admin::new(Arc::new(store)), way }
    }

    fn revoke(&self, common: &Common, agent: usize, now: Duration) {
        let key = common.keys[agent].id();
        let actor = Actor::os_user("root");
        let revoked = self.admin.revoke_key(&actor, common.start + now, key.as_str());
        in_weather(Rc::clone(&self.way) as _, || self.runtime.block_on(revoked)).unwrap();
    }

    /// Whether that changed anything.
    fn turn_kill(&self, on: bool, common: &Common, now: Duration) -> bool {
        let (actor, now) = (Actor::os_user("root"), common.start + now);
        let turned = async {
            if on {
                let reason = KillReason::parse("simulated").unwrap();
                self.admin.turn_kill_on(&actor, now, reason).await.unwrap().1
            } else {
                self.admin.turn_kill_off(&actor, now).await.unwrap().is_some()
            }
        };
        in_weather(Rc::clone(&self.way) as _, || self.runtime.block_on(turned))
    }
}
