//! Many at once, through two stores on one file, as two processes have it.

use std::sync::Arc;

use domain::{
    approval::{Decided, Status},
    audit::{Event, Kind},
};
use store::{Applied, Change, Entry, Store};

use super::{decision, email, held, hold, id, operators};
use crate::world::{World, call_id, moment};

const APPROVALS: u32 = 50;
const OPERATORS: u32 = 64;
/// Each failed try means that somebody else's took effect.
const TRIES_MAX: usize = 200;

async fn applies(store: &Store, change: Change) -> bool {
    let event = Event::new(moment(0), Kind::Decision);
    let applied = store.append(&[Entry { change: Some(change), event }]).await.unwrap();
    matches!(applied[0], Applied::Done)
}

/// One operator approves as the desk does: look, decide on what was seen, look again; whether it counted.
async fn approves(store: &Store, number: u32, operator: &str) -> bool {
    for _ in 0..TRIES_MAX {
        let seen = store.approval(&id(number.into())).await.unwrap().unwrap();
        if seen.status != Status::Pending {
            return false;
        }
        let before = seen.standing().approved_by.len();
        if applies(store, decision(number, before, operator, true, 10)).await {
            return true;
        }
    }
    panic!("{operator} never got through");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_operators_at_once_as_many_count_as_the_quorum_says() {
    let world = World::new().await;
    let names: Vec<String> = (0..OPERATORS).map(|number| format!("operator{number}")).collect();
    operators(&world, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // One to three people each; agents of their own, because an agent may have 20 pending calls.
    let quorum = |number: u32| u8::try_from(number % 3 + 1).unwrap();
    for number in 1..=APPROVALS {
        assert!(
            applies(&world.store, hold(held(number, &format!("agent{}", number % 5), quorum(number)))).await
        );
    }
    let second = Arc::new(world.second().await);
    let first = Arc::new(world.store);
    let mut tasks = tokio::task::JoinSet::new();
    for (place, operator) in names.into_iter().enumerate() {
        let store = Arc::clone(if place % 2 == 0 { &first } else { &second });
        tasks.spawn(async move {
            let mut counted = 0;
            for number in 1..=APPROVALS {
                // Everybody begins with another one.
                let number = (number + u32::try_from(place).unwrap()) % APPROVALS + 1;
                counted += u32::from(approves(&store, number, &operator).await);
            }
            counted
        });
    }
    let counted: u32 = tasks.join_all().await.into_iter().sum();
    assert_eq!(counted, (1..=APPROVALS).map(|number| u32::from(quorum(number))).sum::<u32>());
    for number in 1..=APPROVALS {
        let approval = first.approval(&id(number.into())).await.unwrap().unwrap();
        assert_eq!(approval.status, Status::Approved);
        assert_eq!(approval.decisions.len(), usize::from(quorum(number)));
    }
    assert!(first.verify(|_, _| {}).await.unwrap().ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_that_can_happen_at_once_one_thing_does() {
    let world = World::new().await;
    operators(&world, &["ada", "grace"]).await;
    let second = Arc::new(world.second().await);
    let first = Arc::new(world.store);
    for number in 1..=APPROVALS {
        assert!(applies(&first, hold(held(number, "laptop", 1))).await);
        let digest = held(number, "laptop", 1).approval_digest;
        let decided = |name, approve| Decided {
            operator: email(name),
            approve,
            reason: None,
            at: moment(1_000 + number),
        };
        let decide = |name, approve| Change::DecideApproval {
            id: id(number.into()),
            digest,
            approved_before: 0,
            decided: decided(name, approve),
        };
        // At this very moment the deadline passes: one clock says before, another says after.
        let (late, early) = (decide("grace", false), decision(number, 0, "ada", true, 999 + number));
        let expire = Change::ExpireApproval { id: id(number.into()), at: moment(1_000 + number) };
        let agent = held(number, "laptop", 1).agent;
        let cancel = Change::CancelApproval { id: id(number.into()), agent, at: moment(900) };
        let claims = |unique| Change::ClaimApproval {
            id: id(number.into()),
            call: call_id(unique),
            at: moment(1_010 + number),
        };
        let stores = [&first, &second];
        let changes = [late, early, expire, cancel, claims(1), claims(2), claims(3), claims(4)];
        let mut tasks = tokio::task::JoinSet::new();
        for (place, change) in changes.into_iter().enumerate() {
            let store = Arc::clone(stores[(place + number as usize) % 2]);
            let claim = matches!(change, Change::ClaimApproval { .. });
            tasks.spawn(async move { (claim, applies(&store, change).await) });
        }
        let done = tasks.join_all().await;
        let count = |wanted| done.iter().filter(|(claim, done)| *claim == wanted && *done).count();
        let ended = first.approval(&id(number.into())).await.unwrap().unwrap();
        assert!(count(true) <= 1, "claimed twice");
        assert_eq!(count(true) == 1, ended.status == Status::Executing);
        assert_eq!(ended.executed_call.is_some(), ended.status == Status::Executing);
        assert!(count(false) >= 1, "nothing happened");
        assert_ne!(ended.status, Status::Denied, "a no that came too late");
    }
    assert!(second.verify(|_, _| {}).await.unwrap().ok);
}
