//! Why the policy decides as it does, in whole sentences for operators. It asks the judge and only tells more.

use std::{fmt, sync::Arc};

use super::{
    Args, Facts, Pattern, RuleName, Verdict, judge,
    judge::Refused,
    rule::{Rule, Target, subject},
};
use crate::{
    agent::Agent,
    call::Action,
    quota::Quota,
    risk::{Assessment, KnownRisk, RiskVerdict, Thresholds},
    world::World,
};

/// A decision, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What would happen.
    pub effect: Effect,
    /// The rule that decides, and its line in the file.
    pub rule: Option<(RuleName, usize)>,
    /// Why.
    pub reason: String,
    /// The limits that an allowed call is under.
    pub limits: Vec<LimitLine>,
}

/// What would happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The call would be forwarded.
    Allow,
    /// It would be held until people have approved it.
    Hold,
    /// It would be refused.
    Deny,
}

impl Effect {
    /// The word in JSON; in capitals it is the verdict that people read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
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
    match world.services.get(service) {
        Some(service) => with_risk(told, &Assessment::of(known.weight(service, action, method), risk), known),
        None => told,
    }
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
            told.limits.clear();
        }
        (RiskVerdict::Ask, Effect::Allow) => {
            let at = approve_at.unwrap_or_default();
            told.reason = format!(
                "needs 1 operator: it is allowed, and its risk {score} = {made_of} reaches approve_at {at}"
            );
            told.effect = Effect::Hold;
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
    Explanation { effect, rule: rule.map(|rule| (rule.name.clone(), rule.place.line)), reason, limits }
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
mod tests {
    use wire::{Limits, json};

    use super::*;
    use crate::policy::fixture::{NOON, agent, world};
    use crate::risk::RiskScore;

    const POLICY: &str = r#"version: 1
roles:
  user:
    allow:
      - { service: files, tools: ["read_*", "list_*"] }
      - { name: notes, service: notes, tools: ["*"], resources: ["file:///**"] }
deny:
  - { name: no deletes, service: "*", tools: ["delete_*"] }
limits:
  overrides:
    - { service: notes, tools: ["search_*", "find_*"], limit: 5/1m }
"#;

    fn told(service: &str, action: Action) -> String {
        let world = world(POLICY, &["files", "notes", "other"]);
        let agent = agent("user", &["files", "notes"]);
        let facts = Facts::new(&agent, service, "tools/call", &action, NOON.parse().unwrap());
        let explanation =
            explain(&world, &agent, service, (&action, "tools/call"), &facts, &KnownRisk::default());
        let limits: Vec<_> = explanation.limits.iter().map(ToString::to_string).collect();
        let rule = explanation.rule.map_or("none".into(), |(name, line)| format!("{name}:{line}"));
        format!("{} | {rule} | {} | {}", explanation.effect.as_str(), explanation.reason, limits.join(", "))
    }

    fn tool(name: &str) -> Action {
        Action::Tool(name.to_owned())
    }

    #[test]
    fn an_allowed_call_names_its_rule_and_limits() {
        assert_eq!(
            told("files", tool("read_text_file")),
            "allow | roles.user.allow[0]:5 | `read_*` matches; no deny or approve rule does | 60/1m per key, 20/1m per tool"
        );
        assert_eq!(
            told("notes", tool("find_all")),
            "allow | notes:6 | `*` matches; no deny or approve rule does | 60/1m per key, 5/1m for `search_*`, `find_*` on notes"
        );
        assert_eq!(
            told("files", Action::Service),
            "allow | none | open to every role on the services in its scope; lists show only what is allowed | \
             600/1m housekeeping per key"
        );
    }

    #[test]
    fn a_condition_is_told_with_the_values_that_it_saw() {
        let policy = r#"version: 1
roles:
  user:
    allow:
      - { service: billing, tools: [refund], when: args.amount <= 1000 }
      - { service: billing, tools: [refund, pay], when: args.amount <= 10 && args.vip }
deny:
  - { name: strangers, service: "*", tools: [pay], when: 'args.to != "ada"' }
"#;
        let told = |tool_name: &str, args: &str| {
            let (world, agent) = (world(policy, &["billing"]), agent("user", &["billing"]));
            let action = tool(tool_name);
            let args = json::read(args.as_bytes(), &Limits::of_bytes(args.len())).unwrap();
            let facts = Facts::new(&agent, "billing", "tools/call", &action, NOON.parse().unwrap())
                .with_args(Ok(args));
            let told =
                explain(&world, &agent, "billing", (&action, "tools/call"), &facts, &KnownRisk::default());
            let rule = told.rule.map_or("none".into(), |(name, _)| name.to_string());
            format!("{} | {rule} | {}", told.effect.as_str(), told.reason)
        };
        for (tool_name, args, expected) in [
            (
                "refund",
                r#"{"amount":500}"#,
                "allow | roles.user.allow[0] | `refund` matches and `args.amount <= 1000` is true, args.amount = 500; \
                 no deny or approve rule does",
            ),
            (
                "refund",
                r#"{"amount":5000}"#,
                "deny | none | silence means no: `refund` of roles.user.allow[0] matches, but `args.amount <= 1000` is \
                 false, args.amount = 5000; `refund` of roles.user.allow[1] matches, but `args.amount <= 10` is false, \
                 args.amount = 5000",
            ),
            (
                "pay",
                r#"{"to":"eve"}"#,
                "deny | strangers | `pay` matches and `args.to != \"ada\"` is true, args.to = \"eve\"; this deny binds \
                 every role and beats every allow",
            ),
            (
                "pay",
                "{}",
                "deny | strangers | `pay` matches and `args.to != \"ada\"` has no answer: `args.to` is missing, which \
                 counts against the caller; this deny binds every role and beats every allow",
            ),
            (
                "pay",
                r#"{"to":"ada"}"#,
                "deny | none | silence means no: `pay` of roles.user.allow[1] matches, but `args.amount <= 10` has no \
                 answer: `args.amount` is missing; `args.vip` is missing",
            ),
        ] {
            assert_eq!(told(tool_name, args), expected);
        }
    }

    #[test]
    fn a_held_call_says_whom_it_needs_and_why() {
        let policy = r#"version: 1
roles:
  user:
    allow:
      - { service: billing, tools: ["pay*"] }
    approve:
      - name: big refunds
        service: billing
        tools: [refund]
        when: args.amount > 1000
        approvals: 2
approve:
  - { service: "*", tools: ["pay_*"] }
"#;
        let told = |tool_name: &str, args: &str| {
            let (world, agent) = (world(policy, &["billing"]), agent("user", &["billing"]));
            let action = tool(tool_name);
            let args = json::read(args.as_bytes(), &Limits::of_bytes(args.len())).unwrap();
            let facts = Facts::new(&agent, "billing", "tools/call", &action, NOON.parse().unwrap())
                .with_args(Ok(args));
            let told =
                explain(&world, &agent, "billing", (&action, "tools/call"), &facts, &KnownRisk::default());
            let limits = told.limits.len();
            let rule = told.rule.map_or("none".into(), |(name, line)| format!("{name}:{line}"));
            format!("{} | {rule} | {} | {limits}", told.effect.as_str(), told.reason)
        };
        for (tool_name, args, expected) in [
            (
                "refund",
                r#"{"amount":5000}"#,
                "hold | big refunds:7 | needs 2 operators: `args.amount > 1000` is true, args.amount = 5000 | 2",
            ),
            (
                "refund",
                "{}",
                "hold | big refunds:7 | needs 2 operators: `args.amount > 1000` has no answer: `args.amount` is missing, \
                 which counts against the caller | 2",
            ),
            (
                "refund",
                r#"{"amount":500}"#,
                "deny | none | silence means no: `refund` of big refunds matches, but `args.amount > 1000` is false, \
                 args.amount = 500 | 0",
            ),
            ("pay_all", "{}", "hold | approve[0]:13 | needs 1 operator: `pay_*` matches | 2"),
            ("pay", "{}", "allow | roles.user.allow[0]:5 | `pay*` matches; no deny or approve rule does | 2"),
            (
                "sell",
                "{}",
                "deny | none | silence means no: role `user` has 2 rules for billing, and `pay*`, `refund` do not match | 0",
            ),
        ] {
            assert_eq!(told(tool_name, args), expected);
        }
    }

    #[test]
    fn a_refused_call_says_what_is_missing() {
        for (service, action, reason) in [
            (
                "files",
                tool("write_file"),
                "silence means no: role `user` has 1 rule for files, and `read_*`, `list_*` do not match",
            ),
            (
                "files",
                Action::Prompt("x".into()),
                "silence means no: role `user` has 1 rule for files, and it names no prompts",
            ),
            (
                "notes",
                Action::Resource("http://x".into()),
                "silence means no: role `user` has 1 rule for notes, and `file:///**` does not match",
            ),
            (
                "notes",
                Action::Resource("file:///a/../b".into()),
                "the URI has `.` or `..` in its path, so what is matched may not be what is read",
            ),
            ("other", tool("x"), "`other` is not in the scope of `tester`, which reaches files, notes"),
            ("nowhere", tool("x"), "there is no service `nowhere`; all: toolgate services list"),
            (
                "files",
                Action::Unknown,
                "no supported version of MCP has this method, and `files` does not say `unknown_methods: pass`",
            ),
        ] {
            assert_eq!(told(service, action), format!("deny | none | {reason} | "));
        }
        assert_eq!(
            told("notes", tool("delete_note")),
            "deny | no deletes:8 | `delete_*` matches; this deny binds every role and beats every allow | "
        );
    }

    #[test]
    fn risk_has_its_say_about_what_is_allowed() {
        let policy = r#"
version: 1
roles:
  user:
    allow:
      - { service: notes, tools: [plain] }
      - { service: notes, tools: [heavy], risk: 0.6 }
      - { service: notes, tools: [ignored], risk: ignore }
      - { service: notes, tools: [worst], risk: 0.95 }
    approve:
      - { name: asked, service: notes, tools: [asked] }
"#;
        let score = |thousandths| Some(RiskScore::from_thousandths(thousandths));
        let told = |tool_name: &str, approve_at, has_model| {
            let (world, agent) = (world(policy, &["notes"]), agent("user", &["notes"]));
            let action = tool(tool_name);
            let facts = Facts::new(&agent, "notes", "tools/call", &action, NOON.parse().unwrap());
            let thresholds = Thresholds { approve_at, refuse_at: score(900) };
            let known = KnownRisk { thresholds, has_model, ..KnownRisk::default() };
            let told = explain(&world, &agent, "notes", (&action, "tools/call"), &facts, &known);
            format!("{} | {}", told.effect.as_str(), told.reason)
        };
        for (tool_name, approve_at, has_model, expected) in [
            (
                "plain",
                score(500),
                false,
                "allow | `plain` matches; no deny or approve rule does; risk 0.30 stays under approve_at 0.50",
            ),
            (
                "plain",
                score(500),
                true,
                "allow | `plain` matches; no deny or approve rule does; risk 0.30 stays under approve_at 0.50, unless the model raises it",
            ),
            ("plain", None, false, "allow | `plain` matches; no deny or approve rule does"),
            (
                "plain",
                score(300),
                false,
                "hold | needs 1 operator: it is allowed, and its risk 0.30 = tool 0.30 reaches approve_at 0.30",
            ),
            (
                "heavy",
                score(500),
                false,
                "hold | needs 1 operator: it is allowed, and its risk 0.60 = rule 0.60 reaches approve_at 0.50",
            ),
            (
                "ignored",
                score(100),
                false,
                "allow | `ignored` matches; no deny or approve rule does; `risk: ignore` lets it pass however risky it is",
            ),
            ("worst", None, false, "deny | its risk 0.95 = rule 0.95 reaches refuse_at 0.90"),
            ("asked", score(500), false, "hold | needs 1 operator: `asked` matches"),
        ] {
            assert_eq!(told(tool_name, approve_at, has_model), expected);
        }
    }
}
