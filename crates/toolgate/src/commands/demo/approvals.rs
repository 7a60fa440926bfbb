//! The demo's refunds: one waits for a person, is approved and executed once; others are calls of their own, one
//! denied, one left to expire.

use admin::ActingOperator;
use anyhow::Context as _;
use dialoguer::Confirm;
use domain::approval::{Approval, Status};
use http::Method;
use serde_json::json;

use super::{
    Line, Screen,
    agent::{Agent, Answer},
    stage::Stage,
};
use crate::commands::Context;

/// The path that needs a person.
const REFUNDS: &str = "/v1/refunds";

/// Plays it; `decides_itself` where nobody is to be asked. How many refunds reached the upstream.
pub(super) async fn play(
    stage: &Stage,
    screen: &mut Screen<'_>,
    context: &Context,
    decides_itself: bool,
) -> anyhow::Result<u64> {
    let agent = Agent::new(stage.url("http/billing"), Some(stage.key()))?;
    let owner = stage.owner(context).await?;

    let answer = refund(&agent, 5000).await?;
    let held =
        held(stage, screen, &answer, "POST /v1/refunds {\"amount\":5000}", "held by rule `big refunds`")
            .await?;
    let approve = decides_itself || !context.output.can_ask() || ask(&owner).await?;
    let ended = decide(stage, context, &owner, &held, approve).await?;
    let hits = stage.billing.upstream.take_hits();
    let sent = u64::from(approve);
    let (what, outcome) = if approve {
        ("… approved", "the gateway executed the stored call, once")
    } else {
        ("… denied", "nothing was sent")
    };
    let wanted = if approve { Status::Executed } else { Status::Denied };
    screen.billing(Line {
        holds: ended.status == wanted && hits == sent,
        harmful: false,
        what: what.into(),
        outcome: if ended.status == wanted { outcome.into() } else { format!("is {}", ended.status) },
        expected: "what the person said, and nothing else",
        hits: Some(hits),
    })?;

    let answer = refund(&agent, 5000).await?;
    let hits = stage.billing.upstream.take_hits();
    let (fits, outcome) = if approve {
        (answer.is_of_an_approved_call(), format!("{} executed-approved: the stored answer", answer.status))
    } else {
        (answer.status == 403, answer.verdict("denied, for the reason that was given"))
    };
    screen.billing(Line {
        holds: fits && hits == 0,
        harmful: false,
        what: "… the agent repeats its call".into(),
        outcome,
        expected: "the end of the held call, and 0 hits",
        hits: Some(hits),
    })?;

    let answer = refund(&agent, 5001).await?;
    let other = stage.pending().await?;
    let is_new = answer.status == 428 && other.as_ref().is_some_and(|other| other.held.id != held.held.id);
    if let Some(other) = &other {
        decide(stage, context, &owner, other, false).await?;
    }
    let denied = refund(&agent, 5001).await?;
    let hits = stage.billing.upstream.take_hits();
    screen.billing(Line {
        holds: is_new && denied.status == 403 && hits == 0,
        harmful: false,
        what: "… with amount 5001".into(),
        outcome: format!("{}, its own approval; denied: {}", answer.status, denied.status),
        expected: "428, another approval, then 403 and 0 hits",
        hits: Some(hits),
    })?;

    let answer = refund(&agent, 5002).await?;
    if let Some(other) = stage.pending().await? {
        stage.ended(&other).await?;
    }
    let expired = refund(&agent, 5002).await?;
    let hits = stage.billing.upstream.take_hits();
    screen.billing(Line {
        holds: (answer.status, expired.status) == (428, 410) && hits == 0,
        harmful: false,
        what: "… with amount 5002".into(),
        outcome: format!("{}, nobody decides in 1 s: {} expired", answer.status, expired.status),
        expected: "428, then 410 and 0 hits",
        hits: Some(hits),
    })?;
    Ok(sent)
}

/// Leaves one more refund pending, for whoever looks at the console.
pub(super) async fn leave_one(stage: &Stage) -> anyhow::Result<()> {
    let agent = Agent::new(stage.url("http/billing"), Some(stage.key()))?;
    let answer = refund(&agent, 7200).await?;
    anyhow::ensure!(
        answer.status == 428,
        "the last refund was not held ({}); do not rely on this build",
        answer.status
    );
    Ok(())
}

async fn refund(agent: &Agent, amount: u32) -> anyhow::Result<Answer> {
    agent.request(Method::POST, REFUNDS, Some(&json!({ "amount": amount }))).await
}

/// The line of a refund that is held; its approval.
async fn held(
    stage: &Stage,
    screen: &mut Screen<'_>,
    answer: &Answer,
    what: &str,
    outcome: &str,
) -> anyhow::Result<Approval> {
    let hits = stage.billing.upstream.take_hits();
    let pending = stage.pending().await?;
    screen.billing(Line {
        holds: answer.status == 428 && hits == 0 && pending.is_some(),
        harmful: false,
        what: what.into(),
        outcome: answer.verdict(outcome),
        expected: "428 and 0 hits",
        hits: Some(hits),
    })?;
    pending.context("no refund is held; do not rely on this build")
}

/// Decides as a person does, and waits until that has come to its end.
async fn decide(
    stage: &Stage,
    context: &Context,
    owner: &ActingOperator,
    approval: &Approval,
    approve: bool,
) -> anyhow::Result<Approval> {
    let (admin, now) = (stage.admin(), context.now().wall);
    let (id, digest) = (approval.held.id, approval.held.approval_digest);
    if approve {
        admin.approve(owner, now, &id, &digest, None).await?;
    } else {
        admin.deny(owner, now, &id, Some(&digest), "not without a receipt").await?;
    }
    stage.ended(approval).await
}

/// Asks whoever sits at the terminal.
async fn ask(owner: &ActingOperator) -> anyhow::Result<bool> {
    let prompt = format!("Approve this refund as {}?", owner.email());
    // The question hides the cursor; whoever ends the demo instead of answering gets it back.
    let _back = ShownCursor;
    let asked = tokio::task::spawn_blocking(move || Confirm::new().with_prompt(prompt).interact());
    Ok(asked.await??)
}

/// Shows the terminal's cursor when it is dropped.
struct ShownCursor;

impl Drop for ShownCursor {
    fn drop(&mut self) {
        // A terminal that was closed has none.
        let _ = dialoguer::console::Term::stderr().show_cursor();
    }
}
