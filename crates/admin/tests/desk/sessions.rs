//! Logins: proven by a password, renewed once by each refresh token, ended when one comes twice.

use std::{sync::Arc, time::Duration};

use admin::{Actor, Admin, AdminError, Client, OpenedSession, SessionKeys, open_access_keys, open_pepper};
use domain::operator::{OperatorRole, PresentedRefresh, SessionTerms, mint_refresh};
use store::{Query, Store};

use crate::install::{PASSWORD, at, email, store, vault};

const DAY: u64 = 86_400;

struct Desk {
    admin: Admin,
    store: Arc<Store>,
    keys: SessionKeys,
    _folder: tempfile::TempDir,
}

impl Desk {
    /// With `ada`, an owner, and `eve`, a viewer.
    async fn new() -> Self {
        let (store, folder) = store().await;
        let vault = vault(&store).await;
        let terms = SessionTerms {
            access: Duration::from_secs(900),
            refresh: Duration::from_secs(7 * DAY),
            idle: Duration::from_secs(1_800),
        };
        let keys = SessionKeys {
            pepper: open_pepper(&store, &vault).await.unwrap(),
            access: open_access_keys(&store, &vault).await.unwrap(),
            terms,
        };
        let (admin, actor) = (Admin::new(Arc::clone(&store)), Actor::os_user("root"));
        for (name, role) in [("ada", OperatorRole::Owner), ("eve", OperatorRole::Viewer)] {
            admin.create_operator(&actor, at(0), email(name), role, PASSWORD).await.unwrap();
        }
        Self { admin, store, keys, _folder: folder }
    }

    async fn log_in(&self, second: u64, name: &str) -> OpenedSession {
        let client = Client { address: "127.0.0.1".into(), browser: "x".repeat(500) };
        let who = (&email(name), PASSWORD);
        self.admin.open_session(at(second), &self.keys, who, &client).await.unwrap()
    }

    async fn holds(&self, second: u64, access: &str) -> bool {
        self.admin.session_holder(at(second), &self.keys, access).await.is_ok()
    }

    async fn renew(&self, second: u64, refresh: &PresentedRefresh) -> Result<OpenedSession, AdminError> {
        self.admin.renew_session(at(second), &self.keys, refresh, false).await
    }

    async fn actions(&self) -> Vec<String> {
        let events = self.store.events(&Query::default()).await.unwrap();
        events
            .into_iter()
            .filter_map(|event| event.action)
            .filter(|action| action.starts_with("operators."))
            .collect()
    }
}

#[tokio::test]
async fn an_access_token_is_good_for_its_minutes_and_for_its_session() {
    let desk = Desk::new().await;
    let login = desk.log_in(0, "ada").await;
    assert!(desk.holds(899, &login.access).await);
    assert!(!desk.holds(900, &login.access).await, "it has expired");
    assert!(!desk.holds(1, "no token").await);
    let (operator, id) = desk.admin.session_holder(at(1), &desk.keys, &login.access).await.unwrap();
    assert_eq!((operator.email(), operator.role(), id), (&email("ada"), OperatorRole::Owner, login.id));
    assert!(desk.admin.end_session(&operator, at(2), id).await.unwrap());
    assert!(!desk.holds(3, &login.access).await, "its session has ended");
    let listed = desk.admin.list_sessions(at(3), &desk.keys, None).await.unwrap();
    assert!(listed.is_empty());
}

#[tokio::test]
async fn another_installs_token_opens_nothing() {
    let (desk, other) = (Desk::new().await, Desk::new().await);
    let login = other.log_in(0, "ada").await;
    assert!(!desk.holds(1, &login.access).await);
    assert!(desk.renew(1, &login.refresh.unwrap()).await.is_err());
    assert!(desk.renew(1, &mint_refresh([1; 5], [2; 32])).await.is_err());
}

#[tokio::test]
async fn a_session_is_renewed_until_it_is_unused_or_too_old() {
    let desk = Desk::new().await;
    let login = desk.log_in(0, "ada").await;
    let mut refresh = login.refresh.unwrap();
    let mut second = 0;
    // Every 25 minutes, for a week.
    while second + 1_500 < 7 * DAY {
        second += 1_500;
        let renewed = desk.renew(second, &refresh).await.unwrap();
        assert_eq!((renewed.id, renewed.expires_at), (login.id, login.expires_at), "the end does not move");
        assert!(desk.holds(second, &renewed.access).await);
        refresh = renewed.refresh.unwrap();
    }
    assert!(desk.renew(7 * DAY, &refresh).await.is_err(), "a week is over");

    let unused = desk.log_in(0, "eve").await;
    let refresh = unused.refresh.unwrap();
    assert!(desk.renew(1_800, &refresh).await.is_err(), "nobody used it for half an hour");
    assert!(desk.renew(1_799, &refresh).await.is_ok());
}

#[tokio::test]
async fn a_refresh_token_that_comes_twice_ends_the_session_and_is_told() {
    let desk = Desk::new().await;
    let (login, other) = (desk.log_in(0, "ada").await, desk.log_in(0, "ada").await);
    let first = login.refresh.unwrap();
    let second = desk.renew(60, &first).await.unwrap();
    assert!(matches!(desk.renew(61, &first).await, Err(AdminError::SessionEnded)));
    assert!(!desk.holds(62, &second.access).await);
    assert!(desk.renew(62, &second.refresh.unwrap()).await.is_err());
    assert!(desk.holds(62, &other.access).await, "another login goes on");
    desk.renew(63, &first).await.err().unwrap();
    let actions = desk.actions().await;
    let reused = actions.iter().filter(|action| *action == "operators.session.reused").count();
    assert_eq!(reused, 1, "once: {actions:?}");
}

#[tokio::test]
async fn a_session_ends_with_its_operator_and_is_ended_by_its_own_or_an_owner() {
    let desk = Desk::new().await;
    let (ada, eve) = (desk.log_in(0, "ada").await, desk.log_in(0, "eve").await);
    let ends = async |who: &OpenedSession, whose: &OpenedSession| {
        desk.admin.end_session(&who.operator, at(1), whose.id).await
    };
    assert!(matches!(ends(&eve, &ada).await, Err(AdminError::NoSuchSession(_))), "not theirs");
    assert!(ends(&ada, &eve).await.unwrap() && !ends(&ada, &eve).await.unwrap());
    let eve = desk.log_in(2, "eve").await;
    let actor = Actor::os_user("root");
    desk.admin.disable_operator(&actor, at(3), &email("eve")).await.unwrap();
    assert!(!desk.holds(4, &eve.access).await);
    desk.admin.enable_operator(&actor, at(5), &email("eve")).await.unwrap();
    assert!(!desk.holds(6, &eve.access).await);
    desk.admin.reset_operator(&actor, at(7), &email("ada"), "another horse battery").await.unwrap();
    assert!(!desk.holds(8, &ada.access).await, "another password ends it");
}

#[tokio::test]
async fn a_login_is_recorded_and_its_browser_is_bounded() {
    let desk = Desk::new().await;
    let login = desk.log_in(0, "ada").await;
    let seen = desk.admin.list_sessions(at(1), &desk.keys, Some(&email("ada"))).await.unwrap();
    assert_eq!((seen[0].browser.len(), seen[0].address.as_str()), (200, "127.0.0.1"));
    let who = (&email("ada"), "wrong wrong wrong");
    let wrong = desk.admin.open_session(at(1), &desk.keys, who, &Client::default()).await;
    assert!(matches!(wrong, Err(AdminError::WrongCredentials)));
    desk.admin.log_out(at(2), &desk.keys, &login.refresh.unwrap()).await.unwrap();
    assert_eq!(desk.actions().await[2..], ["operators.login", "operators.session.end"]);
    let trail = desk.store.events(&Query::default()).await.unwrap();
    assert!(trail.iter().all(|event| !event.rec.contains("ops_") && !event.rec.contains(&login.access)));
}
