//! `approvals list`: held calls, the latest last.

use domain::{
    approval::{Approval, Status},
    names::AgentName,
};
use jiff::Timestamp;
use store::ApprovalQuery;

use super::words;
use crate::{
    commands::{Context, Verdict},
    output::{Column, Table, count_of, escape_foreign, short_time},
};

/// Which held calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Which(Option<Status>);

impl Which {
    /// A status, or `all`.
    pub fn parse(word: &str) -> Result<Self, String> {
        let words = || Status::ALL.map(Status::as_str).join(", ");
        match (word, Status::parse(word)) {
            ("all", _) => Ok(Self(None)),
            (_, Some(status)) => Ok(Self(Some(status))),
            _ => Err(format!("`{}` is no status; write all, or one of {}", escape_foreign(word), words())),
        }
    }
}

pub fn run(
    context: &Context,
    Which(status): Which,
    agent: Option<AgentName>,
    limit: u32,
) -> anyhow::Result<Verdict> {
    let (mut approvals, unknown) = context.block_on(async {
        let desk = context.desk().await?;
        let unknown = ApprovalQuery { status: Some(Status::Unknown), ..ApprovalQuery::default() };
        let found = desk.admin.list_approvals(&ApprovalQuery { status, agent, before: None }, limit).await?;
        let unknown = desk.admin.list_approvals(&unknown, 100).await?;
        desk.close().await;
        Ok((found, unknown))
    })?;
    // The store gives the newest of them; the latest stands last, where the eye is.
    approvals.reverse();
    let output = &context.output;
    if output.json {
        output.json(&approvals.iter().map(admin::approval_json).collect::<Vec<_>>())?;
        return Ok(Verdict::Done);
    }
    if approvals.is_empty() {
        output.talk(match status {
            Some(Status::Pending) => context.invocation.adapt(
                "nothing waits for a decision; what was decided: toolgate approvals list --status all",
            ),
            _ => context.invocation.adapt("no held call fits; all: toolgate approvals list --status all"),
        });
    } else {
        for line in table(&approvals, status, context.now().wall).lines(&output.stdout) {
            output.answer(line)?;
        }
    }
    if u32::try_from(approvals.len()).is_ok_and(|shown| shown == limit) {
        output.talk(format!("the newest {limit}; there may be more: --limit N"));
    }
    if !unknown.is_empty() && status == Some(Status::Pending) {
        let list = context.invocation.command("approvals list --status unknown");
        output.warn(format!("{} with an unknown outcome: {list}", count_of(unknown.len(), "call")));
    }
    Ok(Verdict::Done)
}

fn table(approvals: &[Approval], status: Option<Status>, now: Timestamp) -> Table {
    let waiting = status == Some(Status::Pending);
    let (second, third) = match waiting {
        true => (Column::right("WAITS"), Column::right("LEFT")),
        false => (Column::left("HELD (UTC)"), Column::left("STATUS")),
    };
    let mut table = Table::new([
        Column::left("ID"),
        second,
        third,
        Column::left("AGENT"),
        Column::left("SERVICE"),
        Column::left("ACTION"),
        Column::right("RISK"),
        Column::left("RULE"),
    ]);
    for approval in approvals {
        let held = &approval.held;
        let (second, third) = match waiting {
            true => (words::since(held.created_at, now), words::left(held.decide_by, now)),
            false => (short_time(held.created_at, now), approval.status.to_string()),
        };
        table.row([
            held.id.to_string(),
            second,
            third,
            held.agent.to_string(),
            held.service.to_string(),
            escape_foreign(&held.action).into_owned(),
            words::risk(approval),
            words::rule(approval, None),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{super::fixture, *};
    use crate::output::Stream;

    #[test]
    fn a_list_reads_as_the_experience_has_it() {
        let mut write = fixture::write("ap_3c8vn1t5zb");
        write.held.created_at = fixture::now() - fixture::seconds(41);
        write.held.decide_by = write.held.created_at + fixture::seconds(86_400);
        let waiting = [fixture::refund(), write];
        assert_eq!(
            table(&waiting, Some(Status::Pending), fixture::now()).lines(&Stream::plain()),
            [
                "ID             WAITS         LEFT  AGENT   SERVICE  ACTION            RISK  RULE",
                "ap_7m2kd9q4xw  2 min  23 h 58 min  laptop  billing  POST /v1/refunds  0.30  big refunds, 0 of 2",
                "ap_3c8vn1t5zb   41 s  23 h 59 min  laptop  files    write_file        0.30  writes",
            ]
        );
    }

    #[test]
    fn what_agents_and_policies_wrote_cannot_leave_its_cell() {
        let mut approval = fixture::write("ap_3c8vn1t5zb");
        approval.held.action = "w\u{1b}[2J\n`x`\u{202e}".to_owned();
        approval.held.rule = domain::policy::RuleName::new("r\u{200b}\n");
        let lines = table(&[approval], None, fixture::now()).lines(&Stream::plain());
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("w\\u{1b}[2J\\u{a}`x`\\u{202e}") && lines[1].ends_with("r\\u{200b}\\u{a}"));
    }

    #[test]
    fn a_status_is_one_of_them_or_all() {
        assert_eq!(Which::parse("all"), Ok(Which(None)));
        assert_eq!(Which::parse("denied"), Ok(Which(Some(Status::Denied))));
        assert!(
            Which::parse("Denied")
                .unwrap_err()
                .starts_with("`Denied` is no status; write all, or one of pending")
        );
    }
}
