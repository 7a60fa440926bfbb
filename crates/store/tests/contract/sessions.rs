//! Logins to the console: whose, how long, and which refresh token is good.

use domain::{
    key::KeyMac,
    operator::{Email, Operator, OperatorRole, OperatorState, Session, SessionId},
};
use jiff::SignedDuration;
use store::{Change, Rotation};

use crate::world::{World, moment};

const HASH: &str = "$argon2id$…";
const LEEWAY: Option<SignedDuration> = Some(SignedDuration::from_secs(10));

fn email(name: &str) -> Email {
    Email::parse(&format!("{name}@example.com")).unwrap()
}

fn operator(name: &str) -> Change {
    let (email, password_hash) = (email(name), HASH.to_owned());
    Change::CreateOperator(Operator {
        email,
        role: OperatorRole::Owner,
        password_hash,
        created_at: moment(1),
    })
}

fn id(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

fn session(text: &str, operator: &str) -> Session {
    Session {
        id: id(text),
        operator: email(operator),
        created_at: moment(2),
        used_at: moment(2),
        expires_at: moment(9_000),
        ended_at: None,
        address: "127.0.0.1".to_owned(),
        browser: "curl\u{202e}".to_owned(),
    }
}

fn open(session: Session, mac: u8) -> Change {
    Change::OpenSession { session, refresh: KeyMac([mac; 32]), password_hash: HASH.to_owned() }
}

async fn world() -> World {
    let world = World::new().await;
    assert!(world.change(operator("ada")).await && world.change(operator("eve")).await);
    world
}

async fn rotate(world: &World, old: u8, new: u8, second: u32, leeway: Option<SignedDuration>) -> Rotation {
    let macs = (&KeyMac([old; 32]), &KeyMac([new; 32]));
    world.store.rotate_refresh(macs, moment(second), leeway).await.unwrap()
}

#[tokio::test]
async fn a_login_needs_an_active_operator_and_the_password_that_was_compared() {
    let world = world().await;
    assert!(world.change(open(session("00000001", "ada"), 1)).await);
    assert_eq!(world.store.session(id("00000001")).await.unwrap(), Some(session("00000001", "ada")));
    assert_eq!(
        world.store.session_of_refresh(&KeyMac([1; 32])).await.unwrap(),
        Some(session("00000001", "ada"))
    );
    assert!(!world.change(open(session("00000001", "ada"), 2)).await, "the id is taken");
    assert!(!world.change(open(session("00000002", "nobody"), 2)).await);
    let other = Change::OpenSession {
        session: session("00000002", "ada"),
        refresh: KeyMac([2; 32]),
        password_hash: "other".to_owned(),
    };
    assert!(!world.change(other).await, "the password is another one by now");
    let disabled =
        Change::SetOperatorState { email: email("eve"), state: OperatorState::Disabled, at: moment(3) };
    assert!(world.change(disabled).await);
    assert!(!world.change(open(session("00000002", "eve"), 2)).await);
    assert_eq!(world.store.session(id("00000002")).await.unwrap(), None);
}

#[tokio::test]
async fn a_refresh_token_is_good_once() {
    let world = world().await;
    assert!(world.change(open(session("00000001", "ada"), 1)).await);
    assert_eq!(rotate(&world, 1, 2, 60, None).await, Rotation::Done);
    assert_eq!(world.store.session(id("00000001")).await.unwrap().unwrap().used_at, moment(60));
    assert_eq!(rotate(&world, 1, 3, 61, None).await, Rotation::Reused);
    assert_eq!(rotate(&world, 1, 3, 61, LEEWAY).await, Rotation::Reused, "a script used it, no page");
    assert_eq!(rotate(&world, 3, 4, 61, None).await, Rotation::Gone, "it was never stored");
    assert_eq!(rotate(&world, 2, 4, 62, None).await, Rotation::Done);
    assert_eq!(rotate(&world, 1, 5, 62, None).await, Rotation::Reused, "an older one, too");
}

#[tokio::test]
async fn pages_that_load_at_once_do_no_harm_for_a_moment() {
    let world = world().await;
    assert!(world.change(open(session("00000001", "ada"), 1)).await);
    assert_eq!(rotate(&world, 1, 2, 60, LEEWAY).await, Rotation::Done);
    assert_eq!(rotate(&world, 1, 3, 69, LEEWAY).await, Rotation::Overtaken);
    assert_eq!(rotate(&world, 1, 3, 69, None).await, Rotation::Reused, "no page asks");
    assert_eq!(rotate(&world, 1, 3, 70, LEEWAY).await, Rotation::Reused, "the moment is over");
    assert_eq!(rotate(&world, 3, 4, 70, LEEWAY).await, Rotation::Gone, "it was never given out");
    assert_eq!(rotate(&world, 2, 4, 70, LEEWAY).await, Rotation::Done);
}

#[tokio::test]
async fn of_many_at_once_one_renews() {
    let world = world().await;
    assert!(world.change(open(session("00000001", "ada"), 1)).await);
    let all = (2..34).map(|new| rotate(&world, 1, new, 60, None));
    let all = futures_util::future::join_all(all).await;
    let done = all.iter().filter(|rotation| **rotation == Rotation::Done).count();
    let reused = all.iter().filter(|rotation| **rotation == Rotation::Reused).count();
    assert_eq!((done, reused), (1, 31));
}

#[tokio::test]
async fn an_ended_session_renews_no_more() {
    let world = world().await;
    for (number, who) in [("00000001", "ada"), ("00000002", "eve"), ("00000003", "eve")] {
        assert!(world.change(open(session(number, who), number.as_bytes()[7])).await);
    }
    let end = || Change::EndSession { id: id("00000001"), at: moment(5) };
    assert!(world.change(end()).await && !world.change(end()).await);
    assert_eq!(rotate(&world, b'1', 4, 6, None).await, Rotation::Gone);
    let listed: Vec<_> = world.store.sessions(None).await.unwrap().iter().map(|s| s.id).collect();
    assert_eq!(listed, [id("00000002"), id("00000003")]);
    assert!(world.store.sessions(Some(&email("ada"))).await.unwrap().is_empty());

    let disabled =
        Change::SetOperatorState { email: email("eve"), state: OperatorState::Disabled, at: moment(7) };
    assert!(world.change(disabled).await);
    let enabled =
        Change::SetOperatorState { email: email("eve"), state: OperatorState::Active, at: moment(8) };
    assert!(world.change(enabled).await);
    assert!(world.store.sessions(None).await.unwrap().is_empty(), "enabling brings no session back");

    assert!(world.change(open(session("00000004", "ada"), 9)).await);
    let reset = Change::ResetOperator {
        email: email("ada"),
        password_hash: "new".to_owned(),
        replaces: None,
        at: moment(8),
    };
    assert!(world.change(reset).await);
    assert_eq!(rotate(&world, 9, 10, 9, None).await, Rotation::Gone, "another password ends them too");
}

#[tokio::test]
async fn use_is_noted_forwards_and_old_sessions_are_forgotten() {
    let world = world().await;
    assert!(world.change(open(session("00000001", "ada"), 1)).await);
    assert!(world.change(open(session("00000002", "ada"), 2)).await);
    for (second, noted) in [(50, 50), (40, 50), (60, 60)] {
        world.store.note_session_use(id("00000001"), moment(second)).await.unwrap();
        let session = world.store.session(id("00000001")).await.unwrap().unwrap();
        assert_eq!(session.used_at, moment(noted));
    }
    assert!(world.change(Change::EndSession { id: id("00000001"), at: moment(70) }).await);
    world.store.forget_sessions(moment(70)).await.unwrap();
    assert!(world.store.session(id("00000001")).await.unwrap().is_some());
    world.store.forget_sessions(moment(71)).await.unwrap();
    assert_eq!(world.store.session(id("00000001")).await.unwrap(), None);
    assert_eq!(world.store.session_of_refresh(&KeyMac([1; 32])).await.unwrap(), None);
    assert!(world.store.session(id("00000002")).await.unwrap().is_some());
    world.store.forget_sessions(moment(9_001)).await.unwrap();
    assert_eq!(world.store.session(id("00000002")).await.unwrap(), None, "it has expired long ago");
}
