//! `approvals show`: the page of one held call.

use admin::ApprovalPage;

use super::page;
use crate::commands::{Context, Verdict};

pub fn run(context: &Context, id: &str) -> anyhow::Result<Verdict> {
    let page = load(context, id)?;
    print(context, &page)?;
    Ok(Verdict::Done)
}

/// The page, as much of it as who asks may see: a token of a viewer sees what a viewer sees.
pub fn load(context: &Context, id: &str) -> anyhow::Result<ApprovalPage> {
    let sees = context.sees()?;
    context.block_on(async {
        let desk = context.desk().await?;
        let vault = desk.vault().await?;
        let page = desk.admin.approval_page(context.now().wall, id, &vault, sees).await?;
        desk.close().await;
        Ok(page)
    })
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
    if page.is_unknown() {
        let resolve = format!("approvals resolve {} --executed --reason TEXT", page.approval.held.id);
        let resolve = context.invocation.command(&resolve);
        context
            .output
            .talk(format!("find out at the upstream what became of it, then (or --failed): {resolve}"));
    }
    Ok(())
}
