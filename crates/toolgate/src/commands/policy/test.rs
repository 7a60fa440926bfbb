//! `toolgate policy test`: does the policy decide a table of calls as somebody meant it to?

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use domain::{
    audit::Effect,
    policy::{self, Case, Explanation, Policy, Tried},
    world::{Revision, World},
};
use serde_json::{Value, json};

use super::{Context, Verdict};
use crate::output::{Mark, count_of, escape_foreign};

pub(super) fn run(context: &Context, file: &Path, policy_file: Option<&Path>) -> anyhow::Result<Verdict> {
    let (_, policy) = super::load(context, policy_file)?;
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the cases cannot be read ({name}); name a file with a list `cases:`"))?;
    let cases = match policy::read_cases(&name, &text) {
        Ok(cases) => cases,
        Err(problems) => {
            for problem in &problems {
                context.output.complain(problem.to_string());
            }
            context.output.complain(format!("{}; nothing was tried", count_of(problems.len(), "error")));
            return Ok(Verdict::No);
        }
    };
    let world = policy::with_services_of(world(context, policy, &cases)?, &cases);
    // What tools have said is a matter of a home's services; a table speaks of rules.
    let known = super::known_risk(&context.settings()?);
    let now = context.now().wall;
    let mut failed = Vec::new();
    for case in &cases {
        let tried = case.run(&world, now, &known).map_err(|why| anyhow!("{name}:{}: {why}", case.line))?;
        if !tried.ok {
            failed.push((case, tried));
        }
    }
    let output = &context.output;
    if output.json {
        let rows: Vec<Value> = failed.iter().map(|(case, tried)| as_json(case, tried)).collect();
        output.json(&json!({ "ok": failed.is_empty(), "cases": cases.len(), "failed": rows }))?;
    } else {
        for (case, tried) in &failed {
            output.answer_marked(
                Mark::Failed,
                format!("{name}:{}  {}", case.line, escape_foreign(&tried.subject)),
            )?;
            output.answer(format!("    - {}", expected(case)))?;
            output.answer(format!("    + {}", escape_foreign(&got(&tried.told))))?;
        }
        let of = count_of(cases.len(), "case");
        match failed.len() {
            0 => output.answer_marked(Mark::Done, format!("{name}: {of}, all as expected"))?,
            count => output.answer_marked(Mark::Failed, format!("{name}: {of}, {count} not as expected"))?,
        }
    }
    Ok(if failed.is_empty() { Verdict::Done } else { Verdict::No })
}

/// The home's agents where a case names one; else the policy alone decides, and no home is needed.
fn world(context: &Context, policy: Policy, cases: &[Case]) -> anyhow::Result<World> {
    if policy::need_agents(cases) {
        let snapshot = context.block_on(async {
            let store = context.store(&context.settings()?).await?;
            Ok(store.snapshot().await?)
        })?;
        return Ok(super::world(snapshot, policy));
    }
    Ok(World {
        revision: Revision::default(),
        confirmed_at: Duration::ZERO,
        policy: Arc::new(policy),
        services: Arc::default(),
        tools: Arc::default(),
        agents: Arc::default(),
        credentials: Arc::default(),
        kill: None,
        keys: Arc::default(),
    })
}

fn expected(case: &Case) -> String {
    let effect = case.expected.as_str();
    case.expected_rule
        .as_ref()
        .map_or_else(|| effect.to_owned(), |rule| format!("{effect} by {}", escape_foreign(rule)))
}

/// `deny by no deletes: …`; where no rule decides, the reason says it.
fn got(told: &Explanation) -> String {
    let effect = told.effect.as_str();
    match &told.rule {
        Some((rule, _)) => format!("{effect} by {rule}: {}", told.reason),
        None => format!("{effect}: {}", told.reason),
    }
}

fn as_json(case: &Case, tried: &Tried) -> Value {
    let rule = tried.told.rule.as_ref().map(|(name, _)| name.as_str());
    let told = |effect: Effect, rule: Option<&str>| json!({ "effect": effect.as_str(), "rule": rule });
    json!({
        "line": case.line,
        "call": tried.subject,
        "expected": told(case.expected, case.expected_rule.as_deref()),
        "got": told(tried.told.effect, rule),
        "reason": tried.told.reason
    })
}
