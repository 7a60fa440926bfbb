//! `approvals approve`, `deny`, `resolve`: first the page, then who decides, then their decision about exactly that
//! page.

use std::time::Duration;

use admin::{ActingOperator, AdminError, ApprovalPage};
use anyhow::bail;
use dialoguer::Confirm;
use domain::{
    approval::{Approval, Outcome, Status},
    names::ApprovalId,
};

use super::{show, words};
use crate::{
    commands::{Context, Verdict, context::Desk},
    output::Mark,
};

/// So long an execution is waited for: as long as a gateway waits for an upstream, and a little.
const WAITED_MAX: Duration = Duration::from_secs(35);
/// An approved call that no gateway has taken by then will wait for one.
const GATEWAY_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The approval digest that somebody has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// All 64 hexadecimal digits: a shorter text would be about several calls.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut digest = [0; 32];
        let pairs = text.as_bytes().chunks_exact(2);
        let whole = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        for (byte, pair) in digest.iter_mut().zip(pairs) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
        }
        if whole {
            Ok(Self(digest))
        } else {
            Err("a digest has 64 hexadecimal digits; give all of them".to_owned())
        }
    }
}

pub fn approve(
    context: &Context,
    id: &str,
    digest: Option<Digest>,
    reason: Option<&str>,
) -> anyhow::Result<Verdict> {
    let page = show::load(context, id)?;
    page.decidable(context.now().wall)?;
    let held = &page.approval.held;
    let Some(operator) = asked(context, &page, digest, "Approve exactly this")? else {
        return Ok(left_alone(context, held.id));
    };
    let (approval, stopped) = context.block_on(async {
        let desk = context.desk().await?;
        let now = context.now().wall;
        let approval = desk.admin.approve(&operator, now, &held.id, &held.approval_digest, reason).await?;
        let stopped = desk.admin.kill().await?.is_some();
        let approval = if approval.status == Status::Pending || stopped {
            approval
        } else {
            waited(context, &desk, approval).await?
        };
        desk.close().await;
        Ok((approval, stopped))
    })?;
    let (mark, rest) = after_approval(context, &approval, stopped);
    let progress = words::progress(&approval).map(|progress| format!(", {progress}")).unwrap_or_default();
    told(context, &approval, mark, &format!("approved by {}{progress}; {rest}", operator.email()))?;
    Ok(if mark == Mark::Failed { Verdict::No } else { Verdict::Done })
}

pub fn deny(context: &Context, id: &str, digest: Option<Digest>, reason: &str) -> anyhow::Result<Verdict> {
    let page = show::load(context, id)?;
    page.decidable(context.now().wall)?;
    let held = &page.approval.held;
    let Some(operator) = asked(context, &page, digest, "Deny exactly this")? else {
        return Ok(left_alone(context, held.id));
    };
    let approval = context.block_on(async {
        let desk = context.desk().await?;
        let (now, digest) = (context.now().wall, Some(&held.approval_digest));
        let approval = desk.admin.deny(&operator, now, &held.id, digest, reason).await?;
        desk.close().await;
        Ok(approval)
    })?;
    let what =
        format!("denied by {}{}; nothing was sent", operator.email(), words::because(Some(reason.trim())));
    told(context, &approval, Mark::Done, &what)?;
    Ok(Verdict::Done)
}

pub fn resolve(
    context: &Context,
    id: &str,
    outcome: Outcome,
    digest: Option<Digest>,
    reason: &str,
) -> anyhow::Result<Verdict> {
    let page = show::load(context, id)?;
    let held = &page.approval.held;
    if !page.is_unknown() {
        let (id, status) = (held.id, page.approval.status);
        bail!("only a call with an unknown outcome can be resolved ({id} is {status}); nothing was changed");
    }
    let question = format!(
        "Record that this was {}",
        match outcome {
            Outcome::Executed => "executed",
            Outcome::Failed => "not executed",
        }
    );
    let Some(operator) = asked(context, &page, digest, &question)? else {
        return Ok(left_alone(context, held.id));
    };
    let approval = context.block_on(async {
        let desk = context.desk().await?;
        let approval = desk.admin.resolve(&operator, context.now().wall, &held.id, outcome, reason).await?;
        desk.close().await;
        Ok(approval)
    })?;
    let what = format!("{}; nothing was sent again", words::ending(&approval).unwrap_or_default());
    told(context, &approval, Mark::Done, &what)?;
    Ok(Verdict::Done)
}

/// Shows the page and finds out who decides: by a digest that they give, or by their yes at the terminal. `None`: they
/// say no.
fn asked(
    context: &Context,
    page: &ApprovalPage,
    digest: Option<Digest>,
    question: &str,
) -> anyhow::Result<Option<ActingOperator>> {
    let (id, output) = (page.approval.held.id, &context.output);
    if digest.is_some_and(|Digest(digest)| digest != page.approval.held.approval_digest) {
        return Err(AdminError::OtherDigest(id).into());
    }
    if digest.is_none() && !output.can_ask() {
        let show = context.invocation.command(&format!("approvals show {id}"));
        bail!("nobody can be asked here (--digest); give the digest of the call that you have seen: {show}");
    }
    if !output.json {
        show::print(context, page)?;
    }
    let operator = context.operator()?;
    if !operator.role().may_decide() {
        return Err(AdminError::MayNotDecide(operator.email().clone()).into());
    }
    let short = page.digest.get(..8).unwrap_or_default();
    let prompt = output.stderr.text(&format!("{question}, digest {short}…?")).into_owned();
    let agreed = digest.is_some()
        || Confirm::new().with_prompt(prompt).default(false).wait_for_newline(true).interact()?;
    Ok(agreed.then_some(operator))
}

fn left_alone(context: &Context, id: ApprovalId) -> Verdict {
    context.output.talk(format!("nothing was decided, {id} stays as it is"));
    Verdict::No
}

/// The approval once it is executed, or when nothing more is to be expected soon.
async fn waited(context: &Context, desk: &Desk, mut approval: Approval) -> anyhow::Result<Approval> {
    let started = context.now().monotonic;
    let mut told = false;
    loop {
        let elapsed = context.now().monotonic.saturating_sub(started);
        let patience = if approval.status == Status::Approved { GATEWAY_MAX } else { WAITED_MAX };
        if !approval.status.is_under_way() || elapsed >= patience {
            return Ok(approval);
        }
        if !told && elapsed >= Duration::from_secs(1) {
            told = true;
            context.output.talk("approved; waiting for a gateway to execute it, Ctrl-C leaves it to that");
        }
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(now) = desk.store().approval(&approval.held.id).await? {
            approval = now;
        }
    }
}

/// What an approval led to. While the kill switch is on (`stopped`) no gateway executes it.
pub fn after_approval(context: &Context, approval: &Approval, stopped: bool) -> (Mark, String) {
    let now = context.now().wall;
    let left = |until: Option<_>| until.map(|until| words::left(until, now)).unwrap_or_default();
    match approval.status {
        Status::Pending => {
            let approved = approval.decisions.iter().filter(|decided| decided.approve).count();
            let who = match usize::from(approval.held.quorum.get()).saturating_sub(approved) {
                0 | 1 => "another operator".to_owned(),
                number => format!("{number} more operators"),
            };
            (Mark::Done, format!("{who} must approve within {}", left(Some(approval.held.decide_by))))
        }
        Status::Approved if stopped => {
            let left = left(approval.execute_by);
            (Mark::Look, format!("it is executed once the kill switch is off, within {left}"))
        }
        Status::Approved => {
            (Mark::Done, format!("it is executed when a gateway runs, within {}", left(approval.execute_by)))
        }
        Status::Executing => (Mark::Done, "it is still being sent".to_owned()),
        Status::Executed => (Mark::Done, words::ending(approval).unwrap_or_default()),
        Status::Unknown => (Mark::Look, words::ending(approval).unwrap_or_default()),
        _ => (Mark::Failed, words::ending(approval).unwrap_or_default()),
    }
}

fn told(context: &Context, approval: &Approval, mark: Mark, what: &str) -> anyhow::Result<()> {
    if context.output.json {
        context.output.json(&admin::approval_json(approval))?;
    } else {
        context.output.answer_marked(mark, what)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_whole_or_none() {
        let text = "5E1c09aa".repeat(8);
        assert_eq!(Digest::parse(&text).unwrap().0[..4], [0x5e, 0x1c, 0x09, 0xaa]);
        for bad in [
            "",
            "5e1c09aa",
            text.get(1..).unwrap(),
            &format!("{text}0"),
            &text.replace('E', "+"),
            &"é".repeat(32),
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }
}
