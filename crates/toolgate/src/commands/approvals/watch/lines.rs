//! `approvals watch` without a terminal: a line for each change, or a JSON object. Nobody decides here.

use domain::approval::{Approval, Status};
use jiff::Timestamp;

use super::{LOOK_EVERY, follow::Followed};
use crate::{
    commands::{Context, Verdict, approvals::words, ends::Ends},
    output::{escape_foreign, short_time},
};

pub async fn print(context: &Context) -> anyhow::Result<Verdict> {
    let desk = context.desk().await?;
    context.output.talk("following the inbox, Ctrl-C ends");
    let mut followed = Followed::new(context.now().wall);
    let mut ends = Ends::listen()?;
    let mut lost = false;
    loop {
        match followed.look(desk.store()).await {
            Ok(found) => {
                lost = false;
                for approval in found.map(|found| found.changed).unwrap_or_default() {
                    if context.output.json {
                        context.output.json(&admin::approval_json(&approval))?;
                    } else {
                        context.output.answer(line(&approval, context.now().wall))?;
                    }
                }
            }
            Err(error) if !lost => {
                lost = true;
                context.output.warn(format!("connection lost, trying again ({error})"));
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = ends.next() => break,
        }
    }
    desk.close().await;
    Ok(Verdict::Done)
}

/// `14:07:05 ap_7m2kd9q4xw pending laptop billing POST /v1/refunds 0.30 big refunds, 0 of 2`.
fn line(approval: &Approval, now: Timestamp) -> String {
    let held = &approval.held;
    let end = match approval.status {
        Status::Pending => format!("{} {}", words::risk(approval), words::rule(approval, None)),
        _ => words::what_became(approval, now),
    };
    format!(
        "{} {} {} {} {} {} {}",
        short_time(now, now),
        held.id,
        approval.status,
        held.agent,
        held.service,
        escape_foreign(&held.action),
        end.trim_start()
    )
}
