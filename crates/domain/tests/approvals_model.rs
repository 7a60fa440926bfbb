//! Every order in which operators, the agent, two gateways, crashes and deadlines can meet at one approval. Each
//! step is what one transaction of the store does: [`Standing::after`] on the row as it is at that moment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may fail loudly"
)]

use std::{
    collections::{HashSet, VecDeque},
    num::NonZeroU8,
    time::Duration,
};

use domain::{
    approval::{Ending, Move, NotNow, Outcome, Standing, Status},
    operator::Email,
};
use jiff::Timestamp;

const SHOWN: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];
/// Decisions end at 2; an approved call may be executed for 2. So 5 is behind everything.
const DECIDE_BY: i64 = 2;
const EXECUTE_WITHIN: Duration = Duration::from_secs(2);
const LAST: i64 = 5;

type Rules = fn(&Standing, &Move<'_>, Timestamp) -> Result<Standing, NotNow>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Gateway {
    Idle,
    /// It has claimed the call; whether it has sent it.
    Executing {
        sent: bool,
    },
    Down,
}

/// The row, the gateways, the time; and what has happened, as somebody who watches counts it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Moment {
    row: Standing,
    gateways: [Gateway; 2],
    time: i64,
    /// Which operators said yes to what was shown, in time, while it was pending; a bit each.
    approvers: u8,
    denied: bool,
    claims: u8,
    sent: u8,
}

struct Explorer {
    rules: Rules,
    operators: Vec<Email>,
    seen: HashSet<Moment>,
    reached: HashSet<Status>,
}

impl Explorer {
    /// Walks through every moment that can come; what is wrong with the first bad one.
    fn explore(rules: Rules, operators: usize, quorum: u8) -> Result<Self, String> {
        let names = ["ada@example.com", "grace@example.com", "mary@example.com"];
        let operators = names[..operators].iter().map(|name| Email::parse(name).unwrap()).collect();
        let mut explorer = Self { rules, operators, seen: HashSet::new(), reached: HashSet::new() };
        let row = Standing {
            status: Status::Pending,
            digest: SHOWN,
            quorum: NonZeroU8::new(quorum).unwrap(),
            approved_by: Vec::new(),
            decide_by: Timestamp::from_second(DECIDE_BY).unwrap(),
            execute_within: EXECUTE_WITHIN,
            execute_by: None,
        };
        let gateways = [Gateway::Idle; 2];
        let first = Moment { row, gateways, time: 0, approvers: 0, denied: false, claims: 0, sent: 0 };
        let mut ahead = VecDeque::from([first]);
        while let Some(moment) = ahead.pop_front() {
            if explorer.seen.contains(&moment) {
                continue;
            }
            explorer.check(&moment).map_err(|wrong| format!("{wrong}: {moment:?}"))?;
            for next in explorer.steps(&moment) {
                if moment.row.status.is_final() && next.row != moment.row {
                    return Err(format!("something left a final status: {moment:?} became {next:?}"));
                }
                ahead.push_back(next);
            }
            explorer.reached.insert(moment.row.status);
            explorer.seen.insert(moment);
        }
        Ok(explorer)
    }

    fn after(&self, moment: &Moment, wanted: &Move<'_>) -> Result<Standing, NotNow> {
        (self.rules)(&moment.row, wanted, Timestamp::from_second(moment.time).unwrap())
    }

    /// Everything that can happen next, one transaction or one crash at a time.
    fn steps(&self, moment: &Moment) -> Vec<Moment> {
        let mut steps = Vec::new();
        if moment.time < LAST {
            steps.push(Moment { time: moment.time + 1, ..moment.clone() });
        }
        for (place, operator) in self.operators.iter().enumerate() {
            for digest in [&SHOWN, &OTHER] {
                if let Ok(row) = self.after(moment, &Move::Approve { operator, digest }) {
                    let said = if *digest == SHOWN { 1 << place } else { 0 };
                    steps.push(Moment { row, approvers: moment.approvers | said, ..moment.clone() });
                }
                if let Ok(row) = self.after(moment, &Move::Deny { operator, digest }) {
                    steps.push(Moment { row, denied: true, ..moment.clone() });
                }
            }
        }
        for wanted in [
            Move::Expire,
            Move::Cancel,
            // A sweeper, on any node, at any time: it cannot know whether the gateway is dead or slow.
            Move::Close(Ending::Unknown),
            Move::Resolve(Outcome::Executed),
            Move::Resolve(Outcome::Failed),
        ] {
            if let Ok(row) = self.after(moment, &wanted) {
                steps.push(Moment { row, ..moment.clone() });
            }
        }
        for place in 0..moment.gateways.len() {
            let with = |gateway: Gateway| {
                let mut next = moment.clone();
                next.gateways[place] = gateway;
                next
            };
            match moment.gateways[place] {
                Gateway::Down => steps.push(with(Gateway::Idle)),
                Gateway::Idle => {
                    steps.push(with(Gateway::Down));
                    if let Ok(row) = self.after(moment, &Move::Claim) {
                        let claimed = with(Gateway::Executing { sent: false });
                        steps.push(Moment { row, claims: moment.claims + 1, ..claimed });
                    }
                }
                Gateway::Executing { sent } => {
                    steps.push(with(Gateway::Down));
                    if !sent {
                        let sent = with(Gateway::Executing { sent: true });
                        steps.push(Moment { sent: moment.sent + 1, ..sent });
                    }
                    for ending in [Ending::Executed, Ending::Failed, Ending::Unknown] {
                        // What was given up meanwhile is not closed any more.
                        let row = self.after(moment, &Move::Close(ending)).unwrap_or(moment.row.clone());
                        if sent || ending == Ending::Failed {
                            steps.push(Moment { row, ..with(Gateway::Idle) });
                        }
                    }
                }
            }
        }
        steps
    }

    /// What must be so at every moment.
    fn check(&self, moment: &Moment) -> Result<(), &'static str> {
        let must = |holds: bool, wrong| if holds { Ok(()) } else { Err(wrong) };
        let (status, quorum) = (moment.row.status, u32::from(moment.row.quorum.get()));
        let once = moment.claims <= 1 && moment.sent <= 1;
        must(once, "it was claimed or sent twice")?;
        must(moment.claims == 0 || moment.approvers.count_ones() >= quorum, "claimed without a quorum")?;
        must(moment.claims == 0 || !moment.denied, "claimed after a no")?;
        must(status != Status::Approved || moment.approvers.count_ones() >= quorum, "approved by too few")?;
        must(moment.sent == 0 || moment.claims == 1, "sent without a claim")?;
        let begun = matches!(status, Status::Executing | Status::Executed | Status::Failed | Status::Unknown);
        must(begun == (moment.claims == 1), "its status does not say whether it was claimed")?;
        let (claim, expire) =
            (self.after(moment, &Move::Claim).is_ok(), self.after(moment, &Move::Expire).is_ok());
        must(status != Status::Approved || claim != expire, "approved and lost, or claimed past its time")?;
        // Nobody waits for ever: behind all deadlines something can always be done without the agent.
        let swept = self.after(moment, &Move::Close(Ending::Unknown)).is_ok();
        must(moment.time < LAST || !status.is_under_way() || expire || swept, "stuck")
    }
}

#[test]
fn an_approval_is_claimed_once_by_quorum_and_never_lost_in_whatever_order() {
    for operators in 2..=3 {
        for quorum in 1..=2 {
            let explored = Explorer::explore(Standing::after, operators, quorum).unwrap();
            assert_eq!(explored.reached.len(), Status::ALL.len(), "every status is reached");
            assert!(explored.seen.len() > 500, "only {} moments", explored.seen.len());
        }
    }
}

/// Machines with the known defects of approval queues. An explorer that finds none of them proves nothing.
#[test]
fn the_explorer_finds_the_defects_that_are_known() {
    let broken: [(&str, Rules); 9] = [
        ("twice", |row, wanted, at| match (row.status, wanted) {
            // A second gateway takes over what the first seems to have dropped.
            (Status::Executing, Move::Claim) => Ok(row.clone()),
            _ => row.after(wanted, at),
        }),
        ("does not say", |row, wanted, at| match (row.status, wanted) {
            // What was lost is tried again.
            (Status::Executing, Move::Close(Ending::Unknown)) => {
                Ok(Standing { status: Status::Approved, ..row.clone() })
            }
            _ => row.after(wanted, at),
        }),
        ("too few", |row, wanted, at| {
            // One person counts twice.
            let mut forgetful = row.clone();
            forgetful.approved_by.iter_mut().for_each(|one| *one = Email::parse("x@x").unwrap());
            forgetful.after(wanted, at)
        }),
        ("too few", |row, wanted, at| match wanted {
            // The digest that was shown does not matter.
            Move::Approve { operator, .. } => row.after(&Move::Approve { operator, digest: &SHOWN }, at),
            _ => row.after(wanted, at),
        }),
        ("left a final status", |row, wanted, at| match (row.status, wanted) {
            // Too late is treated like too early.
            (Status::Expired, Move::Approve { .. }) => {
                Standing { status: Status::Pending, ..row.clone() }.after(wanted, Timestamp::MIN)
            }
            _ => row.after(wanted, at),
        }),
        ("left a final status", |row, wanted, at| match (row.status, wanted) {
            (Status::Cancelled, Move::Claim) => Ok(Standing { status: Status::Executing, ..row.clone() }),
            _ => row.after(wanted, at),
        }),
        ("approved and lost", |row, wanted, at| match (row.status, wanted) {
            // The claim has no deadline, so it races with the expiry.
            (Status::Approved, Move::Claim) => Ok(Standing { status: Status::Executing, ..row.clone() }),
            _ => row.after(wanted, at),
        }),
        ("approved and lost", |row, wanted, at| match (row.status, wanted) {
            // Nobody sweeps up what nobody executed.
            (Status::Approved, Move::Expire) => Err(NotNow::TooEarly),
            _ => row.after(wanted, at),
        }),
        ("does not say", |row, wanted, at| match (row.status, wanted) {
            // A time-out of the execution is told as an expiry.
            (Status::Executing, Move::Expire) => Ok(Standing { status: Status::Expired, ..row.clone() }),
            _ => row.after(wanted, at),
        }),
    ];
    for (place, (expected, rules)) in broken.into_iter().enumerate() {
        match Explorer::explore(rules, 2, 2) {
            Ok(_) => panic!("defect {place} was not found"),
            Err(wrong) => assert!(wrong.contains(expected), "defect {place}: {wrong}"),
        }
    }
}
