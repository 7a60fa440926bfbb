//! Operators prove who they are with a password or a token, and nothing else passes for either.

use std::{sync::Arc, time::Duration};

use admin::{Actor, Admin, AdminError, CreatedToken, open_pepper};
use domain::operator::{OperatorRole, TokenLifetime, mint_token};
use store::{Query, Store};
use vault::Pepper;

use crate::install::{PASSWORD, at, email, store, vault};

struct Desk {
    admin: Admin,
    store: Arc<Store>,
    pepper: Pepper,
    actor: Actor,
    _folder: tempfile::TempDir,
}

impl Desk {
    /// With `ada`, an owner.
    async fn new() -> Self {
        let (store, folder) = store().await;
        let vault = vault(&store).await;
        let pepper = open_pepper(&store, &vault).await.unwrap();
        let (admin, actor) = (Admin::new(store.clone()), Actor::os_user("ada"));
        let desk = Self { admin, store, pepper, actor, _folder: folder };
        desk.create("ada", OperatorRole::Owner).await;
        desk
    }

    async fn create(&self, name: &str, role: OperatorRole) {
        self.admin.create_operator(&self.actor, at(0), email(name), role, PASSWORD).await.unwrap();
    }

    async fn token(&self, name: &str) -> CreatedToken {
        let (email, lifetime) = (email(name), TokenLifetime::new(Duration::from_secs(100)).unwrap());
        self.admin.create_token(at(0), &self.pepper, (&email, PASSWORD), lifetime).await.unwrap()
    }

    /// What signing in comes to: the address and role, or the sentence.
    async fn sign_in(&self, seconds: u64, name: &str, password: &str) -> String {
        told(self.admin.sign_in(at(seconds), &email(name), password).await)
    }

    async fn present(&self, seconds: u64, token: &CreatedToken) -> String {
        told(self.admin.sign_in_with_token(at(seconds), &self.pepper, &token.token).await)
    }

    /// `action who` of every event, in order.
    async fn trail(&self) -> Vec<String> {
        assert!(self.store.verify(|_, _| {}).await.unwrap().ok);
        let events = self.store.events(&Query::default()).await.unwrap();
        let who =
            |rec: &str| rec.split_once("\"operator\":\"").unwrap().1.split_once('"').unwrap().0.to_owned();
        events.iter().map(|event| format!("{} {}", event.action.clone().unwrap(), who(&event.rec))).collect()
    }
}

fn told(result: Result<admin::ActingOperator, AdminError>) -> String {
    match result {
        Ok(operator) => {
            assert_eq!(operator.actor().as_str(), operator.email().as_str());
            assert_eq!(operator.actor().role(), Some(operator.role()));
            format!("{} {}", operator.email(), operator.role().as_str())
        }
        Err(error) => error.to_string(),
    }
}

const WRONG: &str = "e-mail or password are wrong; repeat, or have an owner set another password";

#[tokio::test]
async fn the_right_password_signs_in_and_nothing_else_does() {
    let desk = Desk::new().await;
    assert_eq!(desk.sign_in(1, "ada", PASSWORD).await, "ada@example.com owner");
    assert_eq!(desk.sign_in(1, "ada", "correct horse batterz").await, WRONG);
    assert_eq!(desk.sign_in(1, "nobody", PASSWORD).await, WRONG, "an unknown address is told the same");
    assert_eq!(desk.sign_in(1, "nobody", "").await, WRONG);
}

#[tokio::test]
async fn three_wrong_passwords_wait_for_known_and_unknown_addresses_alike() {
    let desk = Desk::new().await;
    for name in ["ada", "nobody"] {
        for _ in 0..3 {
            assert_eq!(desk.sign_in(1, name, "wrong").await, WRONG);
        }
        let wait = |seconds| {
            format!("too many wrong passwords for `{name}@example.com`; wait {seconds} s, then repeat")
        };
        assert_eq!(desk.sign_in(1, name, PASSWORD).await, wait(10), "even the right one waits");
        assert_eq!(desk.sign_in(10, name, "wrong").await, wait(1), "waiting counts nothing");
        assert_eq!(desk.sign_in(11, name, "wrong").await, WRONG);
        assert_eq!(desk.sign_in(11, name, "wrong").await, wait(20), "each wrong one doubles it");
        assert_eq!(desk.sign_in(0, name, "wrong").await, wait(20), "a clock set back helps nobody");
    }
    assert_eq!(desk.sign_in(31, "ada", PASSWORD).await, "ada@example.com owner");
    assert_eq!(desk.sign_in(31, "ada", "wrong").await, WRONG, "the right one starts the count anew");
    assert_eq!(desk.sign_in(31, "ada", PASSWORD).await, "ada@example.com owner");
}

#[tokio::test]
async fn many_guesses_at_once_are_not_more_than_three() {
    let desk = Desk::new().await;
    let guess = || desk.sign_in(1, "ada", "wrong");
    let answers = tokio::join!(guess(), guess(), guess(), guess(), guess(), guess());
    let answers: [String; 6] = answers.into();
    assert_eq!(answers.iter().filter(|answer| *answer == WRONG).count(), 3, "{answers:?}");
}

#[tokio::test]
async fn a_token_is_its_operator_until_it_expires_or_is_revoked() {
    let desk = Desk::new().await;
    desk.create("eve", OperatorRole::Approver).await;
    let (token, other) = (desk.token("eve").await, desk.token("eve").await);
    assert_eq!(token.expires_at, at(100));
    assert_eq!(desk.present(99, &token).await, "eve@example.com approver");
    let id = token.token.id();
    assert_eq!(
        desk.present(100, &token).await,
        format!("the operator token `{id}` has expired (2026-11-23T14:01:40Z); make another")
    );
    let tokens = desk.admin.list_tokens().await.unwrap();
    let used = tokens.iter().find(|stored| stored.id == id).unwrap().last_used_at;
    assert_eq!(used, Some(at(99)), "a refused one is no use");
    for nothing in ["", "opt_"] {
        let refused = desk.admin.revoke_token(&desk.actor, at(1), nothing).await;
        assert!(matches!(refused, Err(AdminError::NoSuchToken(_))), "nothing is the start of every id");
    }
    let revoked = desk.admin.revoke_token(&desk.actor, at(7), other.token.reveal()).await.unwrap();
    assert_eq!((revoked.token.id, revoked.already), (other.token.id(), None));
    let sentence = desk.present(8, &other).await;
    assert!(sentence.contains("was revoked (2026-11-23T14:00:07Z); make another"), "{sentence}");
    let again = desk.admin.revoke_token(&desk.actor, at(9), other.token.id().as_str()).await.unwrap();
    assert_eq!(again.already, Some(at(7)));
}

#[tokio::test]
async fn a_foreign_token_is_nobodys_and_never_shown() {
    let desk = Desk::new().await;
    let foreign = mint_token([9; 5], [8; 32]);
    let told = told(desk.admin.sign_in_with_token(at(1), &desk.pepper, &foreign).await);
    let id = foreign.id();
    assert_eq!(told, format!("there is no operator token `{id}` here; make one"));
    let error = desk.admin.revoke_token(&desk.actor, at(1), foreign.reveal()).await.unwrap_err().to_string();
    assert_eq!(error, format!("there is no operator token `{id}`; look at the list of tokens"));
}

#[tokio::test]
async fn a_token_needs_the_password_and_is_stored_as_a_mac_only() {
    let desk = Desk::new().await;
    let (ada, lifetime) = (email("ada"), TokenLifetime::DEFAULT);
    let refused = desk.admin.create_token(at(1), &desk.pepper, (&ada, "wrong"), lifetime).await;
    assert!(matches!(refused, Err(AdminError::WrongCredentials)));
    let made = desk.token("ada").await;
    assert_eq!(desk.admin.list_tokens().await.unwrap().len(), 1);
    let store::Place::File(path) = desk.store.place() else { panic!("it is a file") };
    let file = std::fs::read(path).unwrap();
    let log = std::fs::read(path.with_extension("db-wal")).unwrap();
    let secret = &made.token.reveal().as_bytes()[13..56];
    assert!(!file.windows(43).any(|bytes| bytes == secret) && !log.windows(43).any(|bytes| bytes == secret));
    assert_eq!(desk.trail().await, ["operators.create os:ada", "operators.token.create ada@example.com"]);
}

#[tokio::test]
async fn a_disabled_operator_is_refused_by_password_and_token_until_enabled() {
    let desk = Desk::new().await;
    desk.create("eve", OperatorRole::Owner).await;
    let (token, eve) = (desk.token("eve").await, email("eve"));
    assert!(desk.admin.disable_operator(&desk.actor, at(1), &eve).await.unwrap());
    assert!(!desk.admin.disable_operator(&desk.actor, at(1), &eve).await.unwrap());
    let disabled = "operator `eve@example.com` is disabled; an owner can let them in again";
    assert_eq!(desk.present(2, &token).await, disabled);
    assert_eq!(desk.sign_in(2, "eve", PASSWORD).await, disabled);
    assert_eq!(desk.sign_in(2, "eve", "wrong").await, WRONG, "only who knows the password is told");
    assert!(desk.admin.enable_operator(&desk.actor, at(3), &eve).await.unwrap());
    assert_eq!(desk.present(4, &token).await, "eve@example.com owner");
    let last = desk.admin.disable_operator(&desk.actor, at(5), &email("ada")).await;
    assert!(last.unwrap(), "another owner is left");
    let last = desk.admin.disable_operator(&desk.actor, at(5), &eve).await.unwrap_err().to_string();
    assert_eq!(
        last,
        "`eve@example.com` is the last active owner, and without one nobody could change anything; \
         make another owner first"
    );
    let near = desk.admin.enable_operator(&desk.actor, at(5), &email("adda")).await.unwrap_err().to_string();
    assert_eq!(
        near,
        "there is no operator `adda@example.com`; did you mean `ada@example.com`? look at the list of operators"
    );
}

#[tokio::test]
async fn another_password_ends_the_old_one_and_its_tokens() {
    let desk = Desk::new().await;
    let (ada, token) = (email("ada"), desk.token("ada").await);
    let short = desk.admin.reset_operator(&desk.actor, at(1), &ada, "elevenchars").await.unwrap_err();
    assert_eq!(short.to_string(), "the password has 11 characters; use 12 or more");
    assert_eq!(desk.present(1, &token).await, "ada@example.com owner", "nothing was changed");
    let revoked = desk.admin.reset_operator(&desk.actor, at(2), &ada, "another password").await.unwrap();
    assert_eq!(revoked.iter().map(|token| token.id).collect::<Vec<_>>(), [token.token.id()]);
    assert!(desk.present(3, &token).await.contains("was revoked"));
    assert_eq!(desk.sign_in(3, "ada", PASSWORD).await, WRONG);
    assert_eq!(desk.sign_in(3, "ada", "another password").await, "ada@example.com owner");
    assert_eq!(desk.trail().await.last().unwrap(), "operators.reset os:ada");
    let events = desk.store.events(&Query::default()).await.unwrap();
    assert!(events.iter().all(|event| !event.rec.contains("argon2") && !event.rec.contains("password\"")));
}

#[tokio::test]
async fn a_token_is_held_until_it_ends_and_holding_it_is_no_use_of_it() {
    let desk = Desk::new().await;
    desk.create("eve", OperatorRole::Viewer).await;
    let (ended, revoked, lost) = (desk.token("ada").await, desk.token("ada").await, desk.token("eve").await);
    let holds = async |seconds: u64, token: &CreatedToken| {
        told(desk.admin.still_holds_token(at(seconds), token.token.id()).await)
    };
    assert_eq!(holds(99, &ended).await, "ada@example.com owner");
    assert!(holds(100, &ended).await.contains("has expired"));
    assert_eq!(holds(1, &revoked).await, "ada@example.com owner");
    desk.admin.revoke_token(&desk.actor, at(2), revoked.token.id().as_str()).await.unwrap();
    assert!(holds(3, &revoked).await.contains("was revoked"));
    assert_eq!(holds(3, &lost).await, "eve@example.com viewer");
    desk.admin.disable_operator(&desk.actor, at(4), &email("eve")).await.unwrap();
    assert!(holds(5, &lost).await.contains("is disabled"));
    assert!(desk.admin.list_tokens().await.unwrap().iter().all(|token| token.last_used_at.is_none()));
}

#[tokio::test]
async fn nobody_changes_their_own_role_or_state() {
    let desk = Desk::new().await;
    desk.create("eve", OperatorRole::Owner).await;
    let (ada, eve) = (email("ada"), Actor::operator(&email("eve"), OperatorRole::Owner));
    let own = desk.admin.disable_operator(&eve, at(1), &email("eve")).await.unwrap_err();
    assert!(matches!(own, AdminError::Yourself(_)), "{own}");
    let own =
        desk.admin.set_operator_role(&eve, at(1), &email("eve"), OperatorRole::Viewer).await.unwrap_err();
    assert!(matches!(own, AdminError::Yourself(_)), "{own}");
    assert!(desk.admin.set_operator_role(&eve, at(1), &ada, OperatorRole::Viewer).await.unwrap());
    assert!(desk.admin.disable_operator(&eve, at(2), &ada).await.unwrap());
}

#[tokio::test]
async fn a_password_that_no_login_would_take_is_not_set() {
    let desk = Desk::new().await;
    let create = async |name: &str, password: &str| {
        desk.admin.create_operator(&desk.actor, at(0), email(name), OperatorRole::Viewer, password).await
    };
    assert!(matches!(create("bob", &"x".repeat(1_025)).await, Err(AdminError::PasswordTooLong)));
    assert!(create("bob", &"x".repeat(1_024)).await.is_ok());
    let reset = desk.admin.reset_operator(&desk.actor, at(1), &email("bob"), &"x".repeat(1_025)).await;
    assert!(matches!(reset, Err(AdminError::PasswordTooLong)));
}
