//! `approvals show`: the page of one held call.

use admin::{ApprovalPage, Sees};
use domain::approval::{Approval, HeldCall};
use vault::Vault;

use super::page;
use crate::commands::{Context, Verdict, context::Desk, policy::world_now};

pub fn run(context: &Context, id: &str) -> anyhow::Result<Verdict> {
    let page = load(context, id)?;
    print(context, &page)?;
    if page.is_unknown() && !context.output.json {
        let resolve = format!("approvals resolve {} --executed --reason TEXT", page.approval.held.id);
        let resolve = context.invocation.command(&resolve);
        context
            .output
            .talk(format!("find out at the upstream what became of it, then (or --failed): {resolve}"));
    }
    Ok(Verdict::Done)
}

/// The page, as much of it as who asks may see: a token of a viewer sees what a viewer sees.
pub fn load(context: &Context, id: &str) -> anyhow::Result<ApprovalPage> {
    let sees = context.sees()?;
    context.block_on(async {
        let desk = context.desk().await?;
        let vault = desk.vault().await?;
        let page = page_of(context, &desk, &vault, id, sees).await?;
        desk.close().await;
        Ok(page)
    })
}

/// The page, with what has changed by the home's store and policy as they are now.
pub async fn page_of(
    context: &Context,
    desk: &Desk,
    vault: &Vault,
    id: &str,
    sees: Sees,
) -> anyhow::Result<ApprovalPage> {
    let (world, now) = (world_now(context, desk.store()).await, context.now());
    let look = |approval: &Approval, call: HeldCall| match &world {
        Ok(world) => pipeline::changes_since(approval, call, world, now),
        // Who decides is told that nobody could look.
        Err(error) => vec![format!("it is not known whether it would still be sent: {error}")],
    };
    Ok(desk.admin.approval_page(now.wall, id, vault, sees, &look).await?)
}

/// Prints it.
pub fn print(context: &Context, page: &ApprovalPage) -> anyhow::Result<()> {
    if context.output.json {
        context.output.json(&admin::page_json(page))?;
        return Ok(());
    }
    for line in page::lines(page, context.now().wall) {
        context.output.answer(line)?;
    }
    Ok(())
}
