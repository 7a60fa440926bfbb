//! The desk where people decide, without a terminal: `ada`, an owner, who says yes and no to held calls.

use admin::{ActingOperator, Admin};
use domain::{
    approval::{Approval, Outcome, Status},
    names::ApprovalId,
    operator::Email,
};
use jiff::Timestamp;
use store::{ApprovalQuery, Store, StoreOptions};
use tokio::runtime::Runtime;

use super::Home;

const PASSWORD: &str = "copper otter violet 37";

/// An operator at the home's store.
pub struct Desk {
    runtime: Runtime,
    admin: Admin,
    operator: ActingOperator,
}

impl Desk {
    /// Makes `ada` and signs her in.
    pub fn of(home: &Home) -> Self {
        let create = ["operators", "create", "ada@example.com", "--role", "owner", "--password-stdin"];
        let ran = home.run_with(&create, PASSWORD.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (admin, operator) = runtime.block_on(async {
            let path = home.path().join("toolgate.db");
            let options = StoreOptions { path, create: None, sync: store::Sync::Flush };
            let admin = Admin::new(Store::open(&options).await.unwrap().into());
            let email = Email::parse("ada@example.com").unwrap();
            let operator = admin.sign_in(now(), &email, PASSWORD).await.unwrap();
            (admin, operator)
        });
        Self { runtime, admin, operator }
    }

    /// The held calls in this status, the newest first.
    pub fn in_status(&self, status: Status) -> Vec<Approval> {
        let query = ApprovalQuery { status: Some(status), agent: None };
        self.runtime.block_on(self.admin.list_approvals(&query, 1_000)).unwrap()
    }

    /// How the held call stands.
    pub fn show(&self, id: &str) -> Approval {
        self.runtime.block_on(self.admin.show_approval(now(), id)).unwrap().approval
    }

    /// Says yes to the call as it is shown.
    pub fn approve(&self, id: &str) {
        let digest = self.show(id).held.approval_digest;
        let id = parse(id);
        let said = self.admin.approve(&self.operator, now(), &id, &digest, None);
        self.runtime.block_on(said).unwrap();
    }

    /// Says no.
    pub fn deny(&self, id: &str, reason: &str) {
        let id = parse(id);
        let said = self.admin.deny(&self.operator, now(), &id, None, reason);
        self.runtime.block_on(said).unwrap();
    }

    /// Says what became of a call whose outcome was lost.
    pub fn resolve(&self, id: &str, outcome: Outcome) {
        let id = parse(id);
        let said = self.admin.resolve(&self.operator, now(), &id, outcome, "looked it up");
        self.runtime.block_on(said).unwrap();
    }
}

fn parse(id: &str) -> ApprovalId {
    ApprovalId::parse(id).unwrap_or_else(|| panic!("no approval id: {id}"))
}

#[expect(clippy::disallowed_methods, reason = "people decide now")]
fn now() -> Timestamp {
    Timestamp::now()
}
