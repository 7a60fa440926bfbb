//! An idempotency key belongs to one call, from the transaction of its intent on.

use domain::{
    audit::{Event, Kind},
    idempotency::{IdempotencyKey, REMEMBERED},
    names::CallId,
};
use jiff::Timestamp;
use store::{Applied, Change, Entry, IdempotencyClaim, KnownKey, KnownState, Settled, Store};

use crate::world::{World, call, call_id, moment, name};

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).unwrap()
}

fn claim_at(at: Timestamp, agent: &str, text: &str, call: CallId) -> Change {
    let (agent, key) = (name(agent), key(text));
    let expires_at = at + REMEMBERED;
    Change::ClaimIdempotency(IdempotencyClaim { agent, key, fingerprint: [7; 32], call, at, expires_at })
}

pub fn claim(agent: &str, text: &str, number: u32) -> Change {
    claim_at(moment(0), agent, text, call_id(number))
}

fn settle(agent: &str, text: &str, number: u32, settled: Settled) -> Change {
    Change::SettleIdempotency { agent: name(agent), key: key(text), call: call_id(number), settled }
}

fn known(state: KnownState) -> Option<KnownKey> {
    Some(KnownKey { fingerprint: [7; 32], state })
}

async fn look(store: &Store, agent: &str, text: &str) -> Option<KnownKey> {
    store.idempotency(&name(agent), &key(text), moment(1)).await.unwrap()
}

#[tokio::test]
async fn a_key_is_claimed_once_for_each_agent() {
    let world = World::new().await;
    let before = world.store.revision().await.unwrap();
    assert_eq!(look(&world.store, "laptop", "k").await, None);
    assert!(world.change(claim("laptop", "k", 1)).await);
    assert_eq!(look(&world.store, "laptop", "k").await, known(KnownState::InProgress));
    assert!(!world.change(claim("laptop", "k", 2)).await);
    assert!(!world.change(claim("laptop", "k", 1)).await, "not even by the same call");
    assert!(world.change(claim("other", "k", 3)).await);
    assert!(world.change(claim("laptop", "K", 4)).await, "keys are compared to the byte");
    assert_eq!(world.count().await, 3, "a claim that failed leaves no event");
    assert_eq!(world.store.revision().await.unwrap(), before, "gateways have nothing to read anew");
}

#[tokio::test]
async fn of_many_claims_at_once_one_holds_whichever_process_makes_them() {
    let world = World::new().await;
    let second = world.second().await;
    let claims = |first: u32| -> Vec<Entry> {
        let event = Event::new(moment(0), Kind::Intent);
        let claim = |number| Entry { change: Some(claim("laptop", "k", number)), event: event.clone() };
        (first..first + 20).map(claim).collect()
    };
    let (one, two) = (claims(1), claims(100));
    let (one, two) = tokio::join!(world.store.append(&one), second.append(&two));
    let applied: Vec<Applied> = one.unwrap().into_iter().chain(two.unwrap()).collect();
    assert_eq!(applied.iter().filter(|one| matches!(one, Applied::Done)).count(), 1, "{applied:?}");
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn only_the_call_that_claimed_it_settles_a_key() {
    let world = World::new().await;
    assert!(!world.change(settle("laptop", "k", 1, Settled::Unknown)).await, "nothing is claimed");
    assert!(world.change(claim("laptop", "k", 1)).await);
    for settled in [Settled::Answered(vec![1]), Settled::Unknown, Settled::NotSent] {
        assert!(!world.change(settle("laptop", "k", 2, settled.clone())).await);
        assert!(!world.change(settle("other", "k", 1, settled)).await);
    }
    assert!(world.change(settle("laptop", "k", 1, Settled::Answered(vec![1, 2, 3]))).await);
    assert_eq!(look(&world.store, "laptop", "k").await, known(KnownState::Done(vec![1, 2, 3])));
    for settled in [Settled::Answered(vec![4]), Settled::Unknown, Settled::NotSent] {
        assert!(!world.change(settle("laptop", "k", 1, settled)).await, "an answer stays");
    }
    assert!(!world.change(claim("laptop", "k", 5)).await);
    assert_eq!(world.count().await, 2);
}

#[tokio::test]
async fn what_was_not_sent_leaves_the_key_free_and_what_is_unknown_does_not() {
    let world = World::new().await;
    assert!(world.change(claim("laptop", "k", 1)).await);
    assert!(world.change(settle("laptop", "k", 1, Settled::NotSent)).await);
    assert_eq!(look(&world.store, "laptop", "k").await, None);
    assert!(world.change(claim("laptop", "k", 2)).await);
    assert!(world.change(settle("laptop", "k", 2, Settled::Unknown)).await);
    assert_eq!(look(&world.store, "laptop", "k").await, known(KnownState::Unknown));
    assert!(!world.change(claim("laptop", "k", 3)).await);
}

#[tokio::test]
async fn what_was_under_way_when_its_gateway_ended_is_unknown_until_its_call_says_more() {
    let world = World::new().await;
    for (text, number) in [("a", 1), ("b", 2), ("c", 3)] {
        assert!(world.change(claim("laptop", text, number)).await);
    }
    assert!(world.change(settle("laptop", "a", 1, Settled::Answered(vec![1]))).await);
    assert_eq!(world.store.lose_claims().await.unwrap(), 2);
    assert_eq!(look(&world.store, "laptop", "a").await, known(KnownState::Done(vec![1])));
    assert_eq!(look(&world.store, "laptop", "b").await, known(KnownState::Unknown));
    assert!(world.change(settle("laptop", "c", 3, Settled::Answered(vec![2]))).await);
    assert_eq!(look(&world.store, "laptop", "c").await, known(KnownState::Done(vec![2])));
    assert_eq!(world.store.lose_claims().await.unwrap(), 0);
}

#[tokio::test]
async fn a_key_is_remembered_for_24_hours() {
    let world = World::new().await;
    assert!(world.change(claim("laptop", "k", 1)).await);
    assert!(world.change(settle("laptop", "k", 1, Settled::Answered(vec![1]))).await);
    let end = moment(0) + REMEMBERED;
    let at = async |at| world.store.idempotency(&name("laptop"), &key("k"), at).await.unwrap();
    let just_before = end.checked_sub(std::time::Duration::from_micros(1)).unwrap();
    assert!(at(just_before).await.is_some());
    assert!(!world.change(claim_at(just_before, "laptop", "k", call_id(2))).await);
    assert_eq!(at(end).await, None);
    assert!(world.change(claim_at(end, "laptop", "k", call_id(3))).await, "then it is as any other");
    assert_eq!(at(end).await, known(KnownState::InProgress), "the old answer is gone");
}

#[tokio::test]
async fn old_keys_are_forgotten_a_few_at_a_time() {
    let world = World::new().await;
    let later = moment(60);
    let entries: Vec<Entry> = (0..1_100)
        .map(|number| Entry {
            change: Some(claim("laptop", &format!("k{number}"), number)),
            event: call(number)[0].clone(),
        })
        .chain([Entry {
            change: Some(claim_at(later, "laptop", "new", call_id(9_999))),
            event: call(1)[0].clone(),
        }])
        .collect();
    crate::world::all_done(&world.store.append(&entries).await.unwrap());
    let left = async || world.number("SELECT count(*) FROM idempotency").await;
    assert!(!world.store.forget_keys(moment(30)).await.unwrap(), "none is old yet");
    assert_eq!(left().await, 1_101);
    let end = moment(0) + REMEMBERED;
    assert!(!world.store.forget_keys(end).await.unwrap(), "none has ended");
    assert_eq!(left().await, 1_101);
    world.execute("UPDATE idempotency SET state = 'unknown' WHERE key <> 'new'").await;
    assert!(world.store.forget_keys(end).await.unwrap());
    assert_eq!(left().await, 601);
    assert!(world.store.forget_keys(end).await.unwrap());
    assert!(!world.store.forget_keys(end).await.unwrap());
    assert_eq!(left().await, 1);
    assert_eq!(look(&world.store, "laptop", "new").await, known(KnownState::InProgress));
}

#[tokio::test]
async fn a_rotation_of_the_vault_finds_the_answers() {
    let world = World::new().await;
    assert!(world.change(claim("laptop", "k", 1)).await);
    assert!(world.change(claim("laptop", "open", 2)).await);
    let sealed = [&[1u8][..], &1u32.to_be_bytes(), &[9; 30]].concat();
    assert!(world.change(settle("laptop", "k", 1, Settled::Answered(sealed.clone()))).await);
    assert_eq!(world.store.sealed_counts().await.unwrap(), [(1, 1)]);
    let mut found = Vec::new();
    for table in world.store.sealed_tables() {
        found.extend(world.store.sealed_page(table, None, Some(2), 10).await.unwrap());
    }
    let [row] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&*row.purpose, &*row.service, &*row.name), ("stored-answer", "laptop", "k"));
    assert_eq!((&*row.origin, row.version, &row.value), ("", 0, &sealed));
    let other = [&[1u8][..], &2u32.to_be_bytes(), &[9; 30]].concat();
    let replacement = (row.place.clone(), sealed, other.clone());
    assert_eq!(world.store.sealed_replace(&[replacement]).await.unwrap(), 1);
    assert_eq!(look(&world.store, "laptop", "k").await, known(KnownState::Done(other)));
}

#[tokio::test]
async fn a_key_is_of_a_held_call_or_of_one_that_is_sent_never_of_both() {
    use crate::approvals::{bring_to, claim as execute, held, hold, world};
    use domain::approval::Status;
    let world = world().await;
    let keyed = |number: u32, text: &str| {
        let mut held = held(number, "laptop", 1);
        held.idempotency_key = Some(key(text));
        hold(held)
    };
    // Held at one gateway; another one, whose policy wants nobody, does not send it.
    assert!(world.change(keyed(1, "a")).await);
    assert!(!world.change(claim("laptop", "a", 7)).await);
    assert!(world.change(claim("other", "a", 7)).await, "another agent's");
    // Sent by one gateway; another one does not hold it.
    assert!(world.change(claim("laptop", "b", 8)).await);
    assert!(!world.change(keyed(2, "b")).await);
    // However it came about: what was sent under the key is not sent again after people have said yes.
    bring_to(&world, 1, Status::Approved).await;
    world.execute("UPDATE idempotency SET agent = 'laptop' WHERE agent = 'other'").await;
    assert!(!world.change(execute(1, 20)).await);
    world.execute("DELETE FROM idempotency").await;
    assert!(world.change(execute(1, 20)).await);
}
