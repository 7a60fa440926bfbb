//! A call whose agent could not be told that it is held: its gateway takes it back, unless people decided before.

use domain::approval::Status;
use store::Change;

use super::{bring_to, held, hold, id, read, world};
use crate::world::{moment, name};

fn withdraw(number: u32) -> Change {
    Change::WithdrawHold { id: id(number.into()), at: moment(6) }
}

#[tokio::test]
async fn what_is_withdrawn_is_never_sent_and_can_be_held_anew_at_once() {
    let world = world().await;
    let mut again = held(1, "laptop", 1);
    let (digest, agent) = (again.call_digest, name("laptop"));
    assert!(world.change(hold(held(1, "laptop", 1))).await);
    assert!(world.change(withdraw(1)).await);
    assert!(!world.change(withdraw(1)).await, "once");
    let withdrawn = read(&world.store, 1).await;
    assert_eq!(withdrawn.status, Status::Cancelled);
    assert!(withdrawn.is_withdrawn() && withdrawn.delivered_at.is_some());
    assert_eq!(world.store.held_call(&withdrawn.held.id).await.unwrap(), None, "its bytes are gone");
    assert_eq!(world.store.live_approval(&agent, &digest, None).await.unwrap(), None);
    again.id = id(101);
    assert!(world.change(hold(again)).await);
}

#[tokio::test]
async fn what_people_decided_is_not_withdrawn() {
    let world = world().await;
    let decided = [(1, Status::Approved), (2, Status::Executing), (3, Status::Executed), (4, Status::Denied)];
    for (number, status) in decided {
        assert!(world.change(hold(held(number, "laptop", 1))).await);
        bring_to(&world, number, status).await;
        assert!(!world.change(withdraw(number)).await, "{status}");
        assert_eq!(read(&world.store, number).await.status, status);
    }
}
