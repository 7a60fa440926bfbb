//! `kill -9` at each place on the way of a held call, over HTTP and MCP, with and without an idempotency key: its
//! upstream hears of it once at most, ever; a call that people approved never gets lost; what may have left is
//! `unknown` and stays so until an operator says what became of it.

use std::net::{TcpListener, TcpStream};

use domain::{
    approval::{Approval, Outcome, Status},
    names::ApprovalId,
};
use nix::sys::signal::Signal;

use crate::harness::*;

/// Where the gateway is when it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The row of the held call cannot be committed.
    BeforeItIsHeld,
    /// It is held.
    Held,
    /// It was not there when people approved.
    Approved,
    /// The claim, and with it the intent, cannot be committed.
    BeforeTheClaim,
    /// The upstream does not accept the connection.
    Connecting,
    /// The upstream has the whole request.
    Sent,
    /// Half of the answer has come.
    HalfAnswered,
    /// The whole answer has come; the outcome cannot be committed.
    BeforeTheOutcome,
    /// The outcome is durable; nobody was told.
    NotDelivered,
}

const PLACES: [Place; 9] = [
    Place::BeforeItIsHeld,
    Place::Held,
    Place::Approved,
    Place::BeforeTheClaim,
    Place::Connecting,
    Place::Sent,
    Place::HalfAnswered,
    Place::BeforeTheOutcome,
    Place::NotDelivered,
];

impl Place {
    /// What the upstream does.
    fn does(self) -> Does {
        match self {
            Self::Sent => Does::KeepsSilent,
            Self::HalfAnswered => Does::AnswersHalf,
            Self::BeforeTheOutcome => Does::Hesitates,
            _ => Does::Answers,
        }
    }
}

/// How often each place is tried; `cargo xtask soak` tries more often.
fn rounds() -> u64 {
    std::env::var("TOOLGATE_SOAK_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// A port whose queue is full: connections neither succeed nor fail.
struct Jam {
    listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Jam {
    fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let listener: TcpListener = socket.into();
        let address = listener.local_addr().unwrap();
        let patience = std::time::Duration::from_millis(200);
        // The first that finds no room ends it.
        let queue = (0..8).map_while(|_| TcpStream::connect_timeout(&address, patience).ok()).collect();
        Self { listener, _queue: queue }
    }

    fn declare(&self, name: &str, way: Way) -> String {
        let address = self.listener.local_addr().unwrap();
        match way {
            Way::Http => {
                format!("  - {{ name: {name}, kind: http, url: \"http://{address}\", network: private }}\n")
            }
            Way::Mcp => {
                format!(
                    "  - {{ name: {name}, kind: mcp, url: \"http://{address}/mcp\", pins: off, network: private }}\n"
                )
            }
        }
    }
}

/// One way, through all places.
struct Course {
    desk: Desk,
    stage: CountedStage,
    jammed: &'static str,
    way: Way,
    keyed: bool,
    /// What was approved: the call, its approval, how it ended.
    done: Vec<(Counted, Approval)>,
}

impl Course {
    fn new(way: Way, keyed: bool) -> (Jam, Self) {
        let jam = Jam::new();
        let jammed = if way == Way::Http { "jammed-api" } else { "jammed-web" };
        // Upstreams that stand still are ended by the crash, not by the clock.
        let home = Home::new(COUNTED_POLICY).set("gateway.upstream_timeout=5m").set("gateway.hold=1s");
        let stage = CountedStage::beside(home, |_, _| vec![(jammed, jam.declare(jammed, way))]);
        let desk = Desk::of(&stage.gateway);
        (jam, Self { desk, stage, jammed, way, keyed, done: Vec::new() })
    }

    fn kill(&mut self) {
        self.stage.gateway.signal(Signal::SIGKILL);
        self.stage.gateway.ended();
    }

    /// Lets the gateway run into what is in its way. Where it does not get as far, the promises hold all the same.
    fn moment() {
        std::thread::sleep(std::time::Duration::from_millis(80));
    }

    /// Approves while the gateway stands still, and holds the store's lock before it goes on.
    fn approve_and_lock(&self, held: &Approval) -> Lock {
        let (id, digest) = (held.held.id, held.held.approval_digest);
        eventually("a moment in which the gateway does not write", || {
            self.stage.gateway.signal(Signal::SIGSTOP);
            let approved = self.desk.try_approve(&id, &digest);
            if let Err(error) = &approved {
                // It stands still in the middle of a commit.
                assert!(is_busy(error), "{error}");
                self.stage.gateway.signal(Signal::SIGCONT);
            }
            approved.ok()
        });
        let lock = Lock::take(&self.stage.gateway);
        self.stage.gateway.signal(Signal::SIGCONT);
        lock
    }

    /// Dies at one place, and finds out what is left.
    fn die(&mut self, place: Place, n: u64, stays: bool) {
        let mut call = Counted::new(n, self.way).that(place.does());
        if place == Place::Connecting {
            call = call.at(self.jammed);
        }
        if self.keyed {
            call = call.keyed(&format!("key-{n}"));
        }
        if place == Place::BeforeItIsHeld {
            let before = self.desk.all().len();
            let lock = Lock::take(&self.stage.gateway);
            let _connection = self.stage.gateway.begin(&self.stage.request(&call));
            Self::moment();
            self.kill();
            drop(lock);
            self.stage.gateway.restart();
            assert_eq!((self.desk.all().len(), self.stage.hits(n)), (before, 0), "nothing has happened");
        }
        let (_connection, held) = if matches!(place, Place::BeforeItIsHeld | Place::NotDelivered) {
            // Nobody may be there whom the answer could be handed to.
            let reply = self.stage.send(&call);
            assert_eq!(reply.verdict(), 428, "{}", reply.text());
            (None, self.desk.pending(1).remove(0))
        } else {
            self.stage.hold(&call, &self.desk, stays)
        };
        let id = held.held.id;
        match place {
            Place::BeforeItIsHeld => drop(self.desk.approve(held.held.id.as_str())),
            Place::Held | Place::Approved => {
                self.kill();
                assert_eq!(self.desk.show(id.as_str()).status, Status::Pending);
                if place == Place::Approved {
                    self.desk.approve(held.held.id.as_str());
                }
                self.stage.gateway.restart();
                if place == Place::Held {
                    assert_eq!(self.stage.hits(n), 0);
                    self.desk.approve(held.held.id.as_str());
                }
            }
            Place::BeforeTheClaim => {
                let lock = self.approve_and_lock(&held);
                Self::moment();
                self.kill();
                assert_eq!((self.desk.show(id.as_str()).status, self.stage.hits(n)), (Status::Approved, 0));
                drop(lock);
                self.stage.gateway.restart();
            }
            Place::Connecting => {
                self.desk.approve(held.held.id.as_str());
                self.desk.sees(&id, Status::Executing);
                Self::moment();
                self.kill();
                if self.desk.show(id.as_str()).status == Status::Failed {
                    // So slow a machine that the connection was given up before: nothing has left.
                    assert_eq!(self.stage.hits(n), 0);
                    return self.stage.gateway.restart();
                }
                self.stage.gateway.restart();
            }
            Place::Sent | Place::HalfAnswered => {
                self.desk.approve(held.held.id.as_str());
                until("the upstream to hear of it", || self.stage.hits(n) == 1);
                Self::moment();
                self.kill();
                assert_eq!(self.desk.show(id.as_str()).status, Status::Executing);
                self.stage.gateway.restart();
            }
            Place::BeforeTheOutcome => {
                self.desk.approve(held.held.id.as_str());
                until("the upstream to hear of it", || self.stage.hits(n) == 1);
                let lock = Lock::take(&self.stage.gateway);
                self.stage.release(n);
                Self::moment();
                self.kill();
                assert_eq!(self.desk.show(id.as_str()).status, Status::Executing);
                drop(lock);
                self.stage.gateway.restart();
            }
            Place::NotDelivered => {
                self.desk.approve(held.held.id.as_str());
                self.desk.sees(&id, Status::Executed);
                self.kill();
                self.stage.gateway.restart();
            }
        }
        self.told(place, &call, &held);
    }

    /// The status that the agent is told who asks after a held call.
    fn asked_after(&self, id: &ApprovalId) -> String {
        let asks = Request::new("GET", &format!("/v1/approvals/{id}")).key(&self.stage.key);
        self.stage.gateway.send(&asks).json()["status"].as_str().unwrap().to_owned()
    }

    /// How it ended, and what the agent is told who asks again.
    fn told(&mut self, place: Place, call: &Counted, held: &Approval) {
        let id = held.held.id;
        let may_have_left =
            matches!(place, Place::Connecting | Place::Sent | Place::HalfAnswered | Place::BeforeTheOutcome);
        if may_have_left {
            self.desk.sees(&id, Status::Unknown);
            assert_eq!(self.asked_after(&id), "unknown");
            for _ in 0..2 {
                let reply = self.stage.send(call);
                assert_eq!(reply.verdict(), 409, "{place:?}: {}", reply.text());
                assert!(reply.text().contains("urn:toolgate:outcome-unknown"), "{}", reply.text());
            }
        } else {
            self.desk.sees(&id, Status::Executed);
            assert_eq!(self.asked_after(&id), "executed");
            let reply = call.insist(self.stage.gateway.address(), &self.stage.key);
            assert!(call.is_answered_by(&reply), "{place:?}: {} {}", reply.status, reply.text());
            assert_eq!(reply.proxy_status(), "executed-approved", "{place:?}");
        }
        let expected = usize::from(place != Place::Connecting);
        assert_eq!(self.stage.hits(call.n), expected, "{place:?}");
        self.done.push((call.clone(), self.desk.show(id.as_str())));
    }

    /// After everything, and another start: nothing was sent again, the trail tells it, and people end what is unknown.
    fn end(&mut self) {
        self.stage.gateway.crash_and_restart();
        for (call, was) in &self.done {
            let id = was.held.id;
            assert_eq!(self.desk.show(id.as_str()).status, was.status);
            assert!(self.stage.hits(call.n) <= 1, "{call:?}: {was:?}");
            if was.status == Status::Unknown {
                assert_eq!(self.stage.send(call).verdict(), 409);
                self.desk.resolve(id.as_str(), Outcome::Executed);
                let reply = self.stage.send(call);
                assert_eq!(reply.verdict(), 409, "{}", reply.text());
                assert!(reply.text().contains("urn:toolgate:answer-lost"), "{}", reply.text());
                // Told once. A key is that one call's for a day; without one the same call is a new one.
                let held = self.desk.all().len();
                let reply = if self.keyed { Some(self.stage.send(call)) } else { None };
                assert_eq!(reply.map_or(409, |reply| reply.verdict()), 409, "{call:?}");
                assert_eq!(self.desk.all().len(), held);
            }
            assert!(self.stage.hits(call.n) <= 1, "{call:?}: {was:?}");
        }
        let events = self.stage.gateway.events();
        for (call, was) in &self.done {
            let of_it = |kind: &str| {
                let of_it = events.iter().filter(|event| event["approval_id"] == was.held.id.as_str());
                of_it.filter(|event| event["kind"] == kind).collect::<Vec<_>>()
            };
            let intents = of_it("intent");
            assert_eq!(intents.len(), 1, "{call:?}: {intents:?}");
            assert_eq!(intents[0]["decision"]["reason"], "approved by ada@example.com");
            let ended = of_it("outcome").iter().filter(|one| one["call_id"] == intents[0]["call_id"]).count();
            assert!(ended >= 1, "{call:?}: its end is not in the trail");
            assert!(of_it("decision").iter().any(|one| one["operator"] == "ada@example.com"));
        }
    }
}

fn every_place(way: Way, keyed: bool) {
    let (_jam, mut course) = Course::new(way, keyed);
    let mut n = 0;
    for round in 0..rounds() {
        for place in PLACES {
            n += 1;
            // Whether the agent still waits makes no difference.
            course.die(place, n, (n + round + u64::from(keyed)) % 2 == 0);
        }
    }
    course.end();
}

#[test]
fn wherever_the_gateway_dies_a_request_is_sent_once_at_most() {
    every_place(Way::Http, false);
}

#[test]
fn wherever_the_gateway_dies_a_request_under_a_key_is_sent_once_at_most() {
    every_place(Way::Http, true);
}

#[test]
fn wherever_the_gateway_dies_a_tool_is_called_once_at_most() {
    every_place(Way::Mcp, false);
}

#[test]
fn wherever_the_gateway_dies_a_tool_under_a_key_is_called_once_at_most() {
    every_place(Way::Mcp, true);
}
