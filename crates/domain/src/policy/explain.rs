//! Why the policy decides as it does, in whole sentences for operators. It asks the judge and only tells more.

use std::{fmt, sync::Arc};

use super::{
    Args, Facts, Pattern, RuleName, Verdict, judge,
    judge::Refused,
    rule::{Rule, Target, subject},
};
use crate::{
    agent::Agent,
    audit::Effect,
    call::Action,
    quota::Quota,
    risk::{Assessment, KnownRisk, RiskVerdict, Thresholds, Weight},
    world::World,
};

/// A decision, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What would happen.
    pub effect: Effect,
    /// The rule that decides, and its line in the file; a setting that decides has none.
    pub rule: Option<(RuleName, Option<usize>)>,
    /// Why.
    pub reason: String,
    /// The limits that an allowed call is under.
    pub limits: Vec<LimitLine>,
}

/// One limit and what it counts: `60/1m per key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitLine {
    /// The limit.
    pub quota: Quota,
    /// "per key", "per tool", "for `write_*` on files".
    pub counts: String,
}

impl fmt::Display for LimitLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.quota, self.counts)
    }
}

/// What would happen to this action, and why. `method` and `facts` are about the same call.
#[must_use]
pub fn explain(
    world: &World,
    agent: &Agent,
    service: &str,
    (action, method): (&Action, &str),
    facts: &Facts<'_>,
    known: &KnownRisk,
) -> Explanation {
    let told = explain_policy(world, agent, service, action, facts);
    let risk = match judge(world, agent, service, action, Args::Known(facts)) {
        Verdict::Allow { rule: Some(_), risk, .. } => risk,
        Verdict::Ask(wants) => wants.risk,
        Verdict::Allow { rule: None, .. } | Verdict::Never(_) | Verdict::Depends => return told,
    };
    let Some(service) = world.services.get(service) else { return told };
    let weight = Weight::of_action(action, method, |tool| world.tools.weight(service, tool));
    with_risk(told, &Assessment::of(weight, risk), known)
}

/// What risk makes of a decision.
fn with_risk(mut told: Explanation, assessment: &Assessment, known: &KnownRisk) -> Explanation {
    let (score, heuristic) = (assessment.score(), assessment.heuristic());
    let made_of = match assessment.rule.floor {
        Some(floor) if floor > heuristic => format!("rule {floor}"),
        _ => format!("{} {heuristic}", assessment.weight.name()),
    };
    let Thresholds { approve_at, refuse_at } = &known.thresholds;
    match (assessment.decide(&known.thresholds), told.effect) {
        (RiskVerdict::Refuse, _) => {
            let at = refuse_at.unwrap_or_default();
            told.reason = format!("its risk {score} = {made_of} reaches refuse_at {at}");
            told.effect = Effect::Deny;
            told.rule = Some((RuleName::new("risk.refuse_at"), None));
            told.limits.clear();
        }
        (RiskVerdict::Ask, Effect::Allow) => {
            let at = approve_at.unwrap_or_default();
            told.reason = format!(
                "needs 1 operator: it is allowed, and its risk {score} = {made_of} reaches approve_at {at}"
            );
            told.effect = Effect::Hold;
            told.rule = Some((RuleName::new("risk.approve_at"), None));
        }
        (_, Effect::Allow) if assessment.rule.ignore => {
            told.reason.push_str("; `risk: ignore` lets it pass however risky it is");
        }
        (_, Effect::Allow) => {
            if let Some(at) = approve_at {
                let model = if known.has_model { ", unless the model raises it" } else { "" };
                told.reason.push_str(&format!("; risk {score} stays under approve_at {at}{model}"));
            }
        }
        (_, Effect::Hold | Effect::Deny) => {}
    }
    told
}

/// What the policy alone makes of it.
fn explain_policy(
    world: &World,
    agent: &Agent,
    service: &str,
    action: &Action,
    facts: &Facts<'_>,
) -> Explanation {
    let policy = &world.policy;
    let rule_named = |name: &RuleName| policy.rules.iter().map(Arc::as_ref).find(|rule| rule.name == *name);
    let (effect, rule, reason) = match judge(world, agent, service, action, Args::Known(facts)) {
        Verdict::Allow { rule: None, .. } => (
            Effect::Allow,
            None,
            "open to every role on the services in its scope; lists show only what is allowed".into(),
        ),
        Verdict::Allow { rule: Some(name), .. } => {
            let rule = rule_named(&name);
            let reason = format!("{}; no deny or approve rule does", matched(rule, action, facts));
            (Effect::Allow, rule, reason)
        }
        Verdict::Never(Refused::Denied { rule: name, everywhere, failure }) => {
            let rule = rule_named(&name);
            let binds = if everywhere { "every role" } else { "this role" };
            let counts = if failure.is_some() { ", which counts against the caller" } else { "" };
            let matched = matched(rule, action, facts);
            let reason = format!("{matched}{counts}; this deny binds {binds} and beats every allow");
            (Effect::Deny, rule, reason)
        }
        Verdict::Never(Refused::Unmet { .. }) => {
            (Effect::Deny, None, unmet(world, agent, service, action, facts))
        }
        Verdict::Never(refused) => (Effect::Deny, None, refusal(world, agent, service, action, &refused)),
        Verdict::Ask(wants) => {
            let rule = rule_named(&wants.rule);
            let operators = if wants.quorum.get() == 1 { "operator" } else { "operators" };
            let decided = rule.and_then(|rule| rule.when.as_ref()).map(|when| when.decided_by(facts));
            let decided = decided.unwrap_or_else(|| matched(rule, action, facts));
            let counts = if wants.failure.is_some() { ", which counts against the caller" } else { "" };
            let reason = format!("needs {} {operators}: {decided}{counts}", wants.quorum);
            (Effect::Hold, rule, reason)
        }
        // Nothing is left open once the facts are known.
        Verdict::Depends => (Effect::Deny, None, silence(world, agent, service, action)),
    };
    let limits = if effect != Effect::Deny { limits(world, service, action) } else { Vec::new() };
    Explanation { effect, rule: rule.map(|rule| (rule.name.clone(), Some(rule.place.line))), reason, limits }
}

/// "`read_*` matches", and why its condition does.
fn matched(rule: Option<&Rule>, action: &Action, facts: &Facts<'_>) -> String {
    let matched = match rule.and_then(|rule| pattern_of(rule, action)) {
        Some(pattern) => format!("`{}` matches", pattern.as_str()),
        None => "a pattern matches".into(),
    };
    match rule.and_then(|rule| rule.when.as_ref()) {
        Some(when) => format!("{matched} and {}", when.decided_by(facts)),
        None => matched,
    }
}

/// The pattern of the rule that matches.
fn pattern_of<'r>(rule: &'r Rule, action: &Action) -> Option<&'r Pattern> {
    let (target, text) = subject(action)?;
    let found = rule.matches.iter().find(|(kind, pattern)| *kind == target && pattern.matches(text));
    found.map(|(_, pattern)| pattern)
}

/// At most so many conditions that do not hold are told.
const UNMET_MAX: usize = 3;

/// Which conditions would have to hold.
fn unmet(world: &World, agent: &Agent, service: &str, action: &Action, facts: &Facts<'_>) -> String {
    let rules = world.policy.rules.iter().filter(|rule| grants(rule, agent, service));
    let told: Vec<String> = rules
        .filter_map(|rule| {
            let (pattern, when) = pattern_of(rule, action).zip(rule.when.as_ref())?;
            Some(format!("`{}` of {} matches, but {}", pattern.as_str(), rule.name, when.decided_by(facts)))
        })
        .take(UNMET_MAX)
        .collect();
    format!("silence means no: {}", told.join("; "))
}

/// Whether it gives the agent something on the service, be it after approval.
fn grants(rule: &Rule, agent: &Agent, service: &str) -> bool {
    rule.grants() && rule.role.as_ref() == Some(&agent.role) && rule.service.matches(service)
}

fn refusal(world: &World, agent: &Agent, service: &str, action: &Action, refused: &Refused) -> String {
    let role = &agent.role;
    match refused {
        Refused::NotInScope if !world.services.contains_key(service) => {
            format!("there is no service `{service}`; all: toolgate services list")
        }
        Refused::NotInScope => {
            format!("`{service}` is not in the scope of `{}`, which reaches {}", agent.name, scope(agent))
        }
        Refused::UndefinedRole => format!("the policy defines no role `{role}`, so it has no rights"),
        Refused::DotSegments => {
            "the URI has `.` or `..` in its path, so what is matched may not be what is read".into()
        }
        Refused::UnknownMethod => {
            format!(
                "no supported version of MCP has this method, and `{service}` does not say `unknown_methods: pass`"
            )
        }
        Refused::HeldBack(held) => {
            format!("{}; look at it: toolgate services tools {service}", held.reason())
        }
        Refused::Denied { .. } | Refused::Unmet { .. } | Refused::Silence => {
            silence(world, agent, service, action)
        }
    }
}

fn scope(agent: &Agent) -> String {
    if agent.scope.is_empty() {
        return "no service".into();
    }
    let names: Vec<_> = agent.scope.iter().map(|name| name.as_str()).collect();
    names.join(", ")
}

/// Which patterns there are, when none of them matches.
fn silence(world: &World, agent: &Agent, service: &str, action: &Action) -> String {
    let role = &agent.role;
    let rules: Vec<_> = world.policy.rules.iter().filter(|rule| grants(rule, agent, service)).collect();
    let count = match rules.len() {
        0 => return format!("silence means no: role `{role}` has no rule for {service}"),
        1 => "1 rule".to_owned(),
        more => format!("{more} rules"),
    };
    let (target, _) = subject(action).unzip();
    let patterns: Vec<String> = rules
        .iter()
        .flat_map(|rule| &rule.matches)
        .filter(|(kind, _)| Some(*kind) == target)
        .map(|(_, pattern)| format!("`{}`", pattern.as_str()))
        .collect();
    let tried = match (patterns.len(), rules.len()) {
        (0, 1) => format!("it names no {}", target.map_or("", Target::key)),
        (0, _) => format!("none names {}", target.map_or("", Target::key)),
        (1, _) => format!("{} does not match", patterns.concat()),
        (2..=6, _) => format!("{} do not match", patterns.join(", ")),
        (more, _) => format!("none of {more} patterns matches"),
    };
    format!("silence means no: role `{role}` has {count} for {service}, and {tried}")
}

fn limits(world: &World, service: &str, action: &Action) -> Vec<LimitLine> {
    let limits = world.policy.limits();
    let line = |quota, counts: &str| LimitLine { quota, counts: counts.to_owned() };
    if subject(action).is_none() {
        return vec![line(limits.housekeeping, "housekeeping per key")];
    }
    let mut lines = vec![line(limits.per_key, "per key")];
    let special = limits.overrides.iter().filter(|special| special.matches(service, action));
    lines
        .extend(special.map(|special| line(special.quota, &format!("for {special} on {}", special.service))));
    if lines.len() == 1 {
        lines.push(line(limits.per_tool, "per tool"));
    }
    lines
}

#[cfg(test)]
mod tests;
