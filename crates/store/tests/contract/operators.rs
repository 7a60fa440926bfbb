//! Operators, their tokens, and how often somebody gave a wrong password.

use domain::{
    key::KeyMac,
    operator::{Email, Operator, OperatorRole, OperatorState, Token, TokenId},
};
use store::{Change, WrongPasswords};

use crate::world::{World, moment};

fn email(name: &str) -> Email {
    Email::parse(&format!("{name}@example.com")).unwrap()
}

fn operator(name: &str, role: OperatorRole) -> Change {
    let (email, password_hash) = (email(name), "$argon2id$…".to_owned());
    Change::CreateOperator(Operator { email, role, password_hash, created_at: moment(1) })
}

fn token(id: &str, operator: &str, mac: u8) -> Token {
    Token {
        id: TokenId::parse(id).unwrap(),
        operator: email(operator),
        mac: KeyMac([mac; 32]),
        created_at: moment(2),
        expires_at: moment(9),
        revoked_at: None,
        last_used_at: None,
    }
}

fn create(token: Token) -> Change {
    Change::CreateToken { token, password_hash: "$argon2id$…".to_owned() }
}

fn state(name: &str, state: OperatorState) -> Change {
    Change::SetOperatorState { email: email(name), state, at: moment(0) }
}

#[tokio::test]
async fn the_last_active_owner_stays() {
    let world = World::new().await;
    let disable = |name| state(name, OperatorState::Disabled);
    assert!(world.change(operator("ada", OperatorRole::Owner)).await);
    assert!(world.change(operator("eve", OperatorRole::Approver)).await);
    assert!(!world.change(disable("ada")).await, "an approver is no owner");
    assert!(world.change(operator("grace", OperatorRole::Owner)).await);
    assert!(world.change(disable("ada")).await);
    assert!(!world.change(disable("ada")).await, "she is disabled already");
    assert!(!world.change(disable("grace")).await, "a disabled owner does not count");
    assert!(world.change(disable("eve")).await);
    assert!(world.change(state("ada", OperatorState::Active)).await);
    assert!(world.change(disable("grace")).await);
    assert!(!world.change(disable("nobody")).await);
    assert_eq!(world.store.operator(&email("grace")).await.unwrap().unwrap().state, OperatorState::Disabled);
}

#[tokio::test]
async fn a_role_is_changed_from_what_was_seen_and_the_last_active_owner_keeps_it() {
    use OperatorRole::{Approver, Owner, Viewer};
    let world = World::new().await;
    let role = |name, from, to| Change::SetOperatorRole { email: email(name), from, to };
    world.change(operator("ada", Owner)).await;
    assert!(!world.change(role("ada", Owner, Approver)).await, "nobody else is an owner");
    world.change(operator("eve", Viewer)).await;
    assert!(!world.change(role("eve", Approver, Owner)).await, "she is a viewer");
    assert!(!world.change(role("eve", Viewer, Viewer)).await, "nothing would change");
    assert!(world.change(role("eve", Viewer, Owner)).await);
    assert!(world.change(state("eve", OperatorState::Disabled)).await);
    assert!(!world.change(role("ada", Owner, Viewer)).await, "a disabled owner does not count");
    assert!(world.change(role("eve", Owner, Approver)).await, "and is not the last active one");
    assert!(world.change(role("eve", Approver, Owner)).await);
    assert!(world.change(state("eve", OperatorState::Active)).await);
    assert!(world.change(role("ada", Owner, Viewer)).await);
    assert!(!world.change(role("nobody", Viewer, Owner)).await);
    assert_eq!(world.store.operator(&email("ada")).await.unwrap().unwrap().role, Viewer);
}

#[tokio::test]
async fn a_token_reads_back_and_is_revoked_once() {
    let world = World::new().await;
    assert!(!world.change(create(token("7kq2m9xd", "ada", 1))).await, "nobody is there");
    world.change(operator("ada", OperatorRole::Viewer)).await;
    assert!(world.change(create(token("7kq2m9xd", "ada", 1))).await);
    assert!(!world.change(create(token("7kq2m9xd", "ada", 2))).await, "the id is taken");
    assert!(!world.change(create(token("00000000", "ada", 1))).await, "the MAC is taken");
    assert!(world.change(create(token("7kq2zzzz", "ada", 2))).await);
    assert_eq!(
        world.store.tokens().await.unwrap(),
        [token("7kq2m9xd", "ada", 1), token("7kq2zzzz", "ada", 2)]
    );
    assert_eq!(world.store.token(&KeyMac([2; 32])).await.unwrap(), Some(token("7kq2zzzz", "ada", 2)));
    assert_eq!(world.store.token(&KeyMac([3; 32])).await.unwrap(), None);
    assert_eq!(world.store.find_tokens("7kq2").await.unwrap().len(), 2);
    assert_eq!(world.store.find_tokens("7kq2m").await.unwrap(), [token("7kq2m9xd", "ada", 1)]);
    let id = TokenId::parse("7kq2m9xd").unwrap();
    assert!(world.change(Change::RevokeToken { id, at: moment(3) }).await);
    assert!(!world.change(Change::RevokeToken { id, at: moment(4) }).await);
    world.store.note_token_use(id, moment(7)).await.unwrap();
    world.store.note_token_use(id, moment(6)).await.unwrap();
    let stored = world.store.tokens().await.unwrap().remove(0);
    assert_eq!((stored.revoked_at, stored.last_used_at), (Some(moment(3)), Some(moment(7))));
}

#[tokio::test]
async fn a_disabled_operator_gets_no_token() {
    let world = World::new().await;
    world.change(operator("ada", OperatorRole::Viewer)).await;
    world.change(state("ada", OperatorState::Disabled)).await;
    assert!(!world.change(create(token("7kq2m9xd", "ada", 1))).await);
}

#[tokio::test]
async fn another_password_ends_tokens_and_forgets_wrong_ones() {
    let world = World::new().await;
    for name in ["ada", "eve"] {
        world.change(operator(name, OperatorRole::Owner)).await;
        assert!(world.store.count_wrong_password(&email(name), None, moment(3)).await.unwrap());
    }
    world.change(create(token("7kq2m9xd", "ada", 1))).await;
    world.change(create(token("7kq2zzzz", "eve", 2))).await;
    let replacing = |name, replaces: Option<&str>| Change::ResetOperator {
        email: email(name),
        password_hash: "new".into(),
        replaces: replaces.map(str::to_owned),
        at: moment(5),
    };
    let reset = |name| replacing(name, None);
    assert!(!world.change(reset("nobody")).await);
    assert!(!world.change(replacing("ada", Some("another"))).await, "it is another one by now");
    assert!(world.change(reset("ada")).await);
    assert_eq!(world.store.password_hash(&email("ada")).await.unwrap().unwrap(), "new");
    assert!(
        !world.change(create(token("00000000", "ada", 3))).await,
        "it was asked for with the old password"
    );
    let revoked: Vec<_> =
        world.store.tokens().await.unwrap().into_iter().map(|token| token.revoked_at).collect();
    assert_eq!(revoked, [Some(moment(5)), None]);
    assert_eq!(world.store.wrong_passwords(&email("ada"), moment(6)).await.unwrap(), None);
    assert!(world.store.wrong_passwords(&email("eve"), moment(6)).await.unwrap().is_some());
}

#[tokio::test]
async fn no_wrong_password_is_lost_between_two_processes() {
    let (world, nobody) = (World::new().await, email("nobody"));
    let second = world.second().await;
    assert!(world.store.count_wrong_password(&nobody, None, moment(1)).await.unwrap());
    assert!(!second.count_wrong_password(&nobody, None, moment(1)).await.unwrap(), "it has seen none");
    let seen = second.wrong_passwords(&nobody, moment(2)).await.unwrap();
    assert_eq!(seen, Some(WrongPasswords { count: 1, at: moment(1) }));
    assert!(second.count_wrong_password(&nobody, seen, moment(2)).await.unwrap());
    assert!(!world.store.count_wrong_password(&nobody, seen, moment(2)).await.unwrap());
    assert_eq!(world.store.wrong_passwords(&nobody, moment(3)).await.unwrap().unwrap().count, 2);
}

#[tokio::test]
async fn wrong_passwords_are_forgotten_after_an_hour() {
    let world = World::new().await;
    for name in ["ada", "eve"] {
        assert!(world.store.count_wrong_password(&email(name), None, moment(0)).await.unwrap());
    }
    assert!(world.store.wrong_passwords(&email("ada"), moment(3_599)).await.unwrap().is_some());
    assert_eq!(world.store.wrong_passwords(&email("ada"), moment(3_600)).await.unwrap(), None);
    assert!(world.store.count_wrong_password(&email("ada"), None, moment(3_600)).await.unwrap());
    let rows = world.number("SELECT count(*) FROM wrong_passwords").await;
    assert_eq!(rows, 1, "nothing piles up");
}
