//! The people who decide, each at a desk of their own: the same store, opened by another process, and the crate that
//! the commands and the console call too. A gateway may run meanwhile, or not.

use std::sync::Arc;

use admin::{ActingOperator, Admin, AdminError};
use domain::{
    approval::{Approval, Outcome, Status},
    names::ApprovalId,
    operator::Email,
};
use jiff::Timestamp;
use store::{ApprovalQuery, Store, StoreOptions, Sync};
use tokio::runtime::Runtime;

use super::{Home, eventually};

const PASSWORD: &str = "copper otter violet 37";
/// More than any test holds.
const MANY: u32 = 100_000;

/// What the clock of this process says.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "a test has no other clock")]
    Timestamp::now()
}

/// One operator's desk.
pub struct Desk {
    runtime: Runtime,
    admin: Admin,
    operator: ActingOperator,
}

impl Desk {
    /// `ada`'s.
    pub fn of(home: &Home) -> Self {
        Self::named(home, "ada")
    }

    /// Makes an operator, who sits down. Leave the desk before the gateway: its end looks into every file.
    pub fn named(home: &Home, name: &str) -> Self {
        let email = format!("{name}@example.com");
        let create = ["operators", "create", &email, "--role", "owner", "--password-stdin"];
        let ran = home.run_with(&create, PASSWORD.as_bytes());
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        Self::again(home, name)
    }

    /// Another desk of the same operator.
    pub fn again(home: &Home, name: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = StoreOptions { place: home.place(), sync: Sync::Os, create: None };
        let email = Email::parse(&format!("{name}@example.com")).unwrap();
        let admin = Admin::new(Arc::new(runtime.block_on(Store::open(&options)).unwrap()));
        let operator = runtime.block_on(admin.sign_in(now(), &email, PASSWORD)).unwrap();
        Self { runtime, admin, operator }
    }

    /// Every held call, the newest first.
    pub fn all(&self) -> Vec<Approval> {
        self.list(&ApprovalQuery::default())
    }

    /// The held calls in this status, the newest first.
    pub fn in_status(&self, status: Status) -> Vec<Approval> {
        self.list(&ApprovalQuery { status: Some(status), ..ApprovalQuery::default() })
    }

    fn list(&self, query: &ApprovalQuery) -> Vec<Approval> {
        self.runtime.block_on(self.admin.list_approvals(query, MANY)).unwrap()
    }

    /// How the held call stands.
    pub fn show(&self, id: &str) -> Approval {
        self.runtime.block_on(self.admin.show_approval(now(), id)).unwrap().approval
    }

    /// The same, while the store may not answer.
    pub fn try_show(&self, id: &str) -> Option<Approval> {
        self.runtime.block_on(self.admin.show_approval(now(), id)).ok().map(|shown| shown.approval)
    }

    /// Waits until so many calls are pending.
    pub fn pending(&self, count: usize) -> Vec<Approval> {
        eventually("calls to be held", || {
            let pending = self.in_status(Status::Pending);
            (pending.len() >= count).then_some(pending)
        })
    }

    /// Waits until a held call has come to this.
    pub fn sees(&self, id: &ApprovalId, status: Status) -> Approval {
        eventually(&format!("{id} to be {status}"), || {
            let seen = self.show(id.as_str());
            let stuck = !seen.status.is_under_way() && seen.status != status;
            assert!(!stuck, "{id} is {}, not {status}: {seen:?}", seen.status);
            (seen.status == status).then_some(seen)
        })
    }

    /// Says yes to what is shown under this digest.
    pub fn try_approve(&self, id: &ApprovalId, digest: &[u8; 32]) -> Result<Approval, AdminError> {
        self.runtime.block_on(self.admin.approve(&self.operator, now(), id, digest, None))
    }

    /// Says yes to the call as it is shown. A store that others write to for seconds is asked again.
    pub fn approve(&self, id: &str) -> Approval {
        let held = self.show(id).held;
        eventually("the store to take a decision", || {
            match self.try_approve(&held.id, &held.approval_digest) {
                Err(error) if is_busy(&error) => None,
                approved => Some(approved.unwrap()),
            }
        })
    }

    /// Says no.
    pub fn deny(&self, id: &str, reason: &str) -> Approval {
        let id = ApprovalId::parse(id).unwrap();
        self.runtime.block_on(self.admin.deny(&self.operator, now(), &id, None, reason)).unwrap()
    }

    /// Says what became of a call whose outcome was lost.
    pub fn resolve(&self, id: &str, outcome: Outcome) -> Approval {
        let id = ApprovalId::parse(id).unwrap();
        let resolve = self.admin.resolve(&self.operator, now(), &id, outcome, "looked it up");
        self.runtime.block_on(resolve).unwrap()
    }
}

/// Whether somebody else has held the store for longer than one waits for it.
pub fn is_busy(error: &AdminError) -> bool {
    let said = error.to_string();
    ["locked", "statement timeout", "no answer in time"].iter().any(|why| said.contains(why))
}
