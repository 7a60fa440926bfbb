//! `toolgate operators list`: who there is, and their tokens by their public parts.

use domain::operator::{OperatorState, Token};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::StoredOperator;

use crate::{
    commands::{Context, Verdict},
    output::{Column, Output, Table, day_and_time},
};

pub fn run(context: &Context) -> anyhow::Result<Verdict> {
    let (operators, tokens) = context.block_on(async {
        let desk = context.desk().await?;
        let lists = (desk.admin.list_operators().await?, desk.admin.list_tokens().await?);
        desk.close().await;
        Ok(lists)
    })?;
    let now = context.now().wall;
    // Each with their tokens, both in the order of the lists.
    let operators: Vec<(StoredOperator, Vec<Token>)> = operators
        .into_iter()
        .map(|operator| {
            let theirs = tokens.iter().filter(|token| token.operator == operator.email).cloned().collect();
            (operator, theirs)
        })
        .collect();
    let output = &context.output;
    if output.json {
        output.json(
            &operators.iter().map(|(operator, tokens)| as_json(operator, tokens, now)).collect::<Vec<_>>(),
        )?;
    } else if operators.is_empty() {
        let create = context.invocation.command("operators create EMAIL --role owner");
        output.talk(format!("no operators yet: {create}"));
    } else {
        people(output, &operators, now)?;
        if !tokens.is_empty() {
            output.answer("")?;
            token_lines(output, &operators, now)?;
        }
    }
    Ok(Verdict::Done)
}

fn people(output: &Output, operators: &[(StoredOperator, Vec<Token>)], now: Timestamp) -> anyhow::Result<()> {
    let mut table = Table::new([
        Column::left("OPERATOR"),
        Column::left("ROLE"),
        Column::left("STATE"),
        Column::right("TOKENS"),
        Column::left("MADE (UTC)"),
    ]);
    for (operator, tokens) in operators {
        let good = tokens.iter().filter(|token| token_state(token, operator.state, now) == "active").count();
        table.row([
            operator.email.to_string(),
            operator.role.as_str().to_owned(),
            operator.state.as_str().to_owned(),
            good.to_string(),
            day_and_time(operator.created_at),
        ]);
    }
    print(output, &table)
}

fn token_lines(
    output: &Output,
    operators: &[(StoredOperator, Vec<Token>)],
    now: Timestamp,
) -> anyhow::Result<()> {
    let mut table = Table::new([
        Column::left("TOKEN"),
        Column::left("OPERATOR"),
        Column::left("STATE"),
        Column::left("MADE (UTC)"),
        Column::left("EXPIRES"),
        Column::left("LAST USED"),
    ]);
    for (operator, tokens) in operators {
        for token in tokens {
            table.row([
                format!("opt_{}", token.id),
                operator.email.to_string(),
                token_state(token, operator.state, now).to_owned(),
                day_and_time(token.created_at),
                day_and_time(token.expires_at),
                token.last_used_at.map(day_and_time).unwrap_or_default(),
            ]);
        }
    }
    print(output, &table)
}

fn print(output: &Output, table: &Table) -> anyhow::Result<()> {
    for line in table.lines(&output.stdout) {
        output.answer(line)?;
    }
    Ok(())
}

/// Whether a token is good now, and if not, why.
fn token_state(token: &Token, operator: OperatorState, now: Timestamp) -> &'static str {
    match operator {
        _ if token.revoked_at.is_some() => "revoked",
        _ if token.expires_at <= now => "expired",
        OperatorState::Disabled => "operator disabled",
        OperatorState::Active => "active",
    }
}

fn as_json(operator: &StoredOperator, tokens: &[Token], now: Timestamp) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let tokens: Vec<Value> = tokens
        .iter()
        .map(|token| {
            json!({
                "token_id": token.id, "state": token_state(token, operator.state, now),
                "created_at": token.created_at.to_string(), "expires_at": token.expires_at.to_string(),
                "revoked_at": time(token.revoked_at), "last_used_at": time(token.last_used_at)
            })
        })
        .collect();
    json!({
        "operator": operator.email, "role": operator.role, "state": operator.state.as_str(),
        "created_at": operator.created_at.to_string(), "tokens": tokens
    })
}
