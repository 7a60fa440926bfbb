//! The one judge. Calls and lists ask the same [`Rights`], so that what is listed and what may be called cannot
//! disagree. Order: service in scope, role defined, deny, approve, allow; silence means no. A condition that cannot
//! be answered counts against the caller: a deny or an approve with it matches, an allow does not.

mod found;
mod may_hold;
mod may_request;
mod reach;

use std::borrow::Cow;

use wire::mcp::ListKind;

use self::found::{Found, Passed};
use super::{
    Facts, Failure, Pattern, Role, RuleName, RuleRisk, Wants,
    index::ServiceRules,
    rule::{Rule, Target, subject},
    uri,
};
use crate::{
    agent::Agent,
    call::Action,
    names::RoleName,
    service::{Service, UnknownMethods},
    stop::Refusal,
    tools::{Catalogue, HeldBack},
    world::World,
};

/// May this agent do this?
#[must_use]
pub fn judge(world: &World, agent: &Agent, service: &str, action: &Action, args: Args<'_>) -> Verdict {
    match Rights::of(world, agent, service) {
        Ok(rights) => rights.judge(action, args),
        Err(refused) => Verdict::Never(refused),
    }
}

/// May this agent see an element of a list? Exactly if [`judge`] would not refuse its use whatever the arguments
/// are; a resource template, if it may expand to something that is not refused.
///
/// For a whole list, make the [`Rights`] once and ask them.
#[must_use]
pub fn may_list(world: &World, agent: &Agent, service: &str, kind: ListKind, element: &str) -> bool {
    Rights::of(world, agent, service).is_ok_and(|rights| rights.may_list(kind, element))
}

/// What is known of the call that is judged.
#[derive(Debug, Clone, Copy)]
pub enum Args<'a> {
    /// Everything that a condition can ask about.
    Known(&'a Facts<'a>),
    /// Nothing but the action: a list is made, or the body was not read yet.
    Unknown,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allow {
        /// The rule that allows it; none for what every role may do on a service in its scope.
        rule: Option<RuleName>,
        /// Why, in few words.
        reason: &'static str,
        /// What the rules that allow it say about risk.
        risk: RuleRisk,
    },
    /// Yes, once people have approved it.
    Ask(Box<Wants>),
    /// No. With [`Args::Unknown`]: whatever the arguments are.
    Never(Refused),
    /// A condition decides: about yes and no, about who must approve, or about the risk. Only an answer to
    /// [`Args::Unknown`].
    Depends,
}

/// Why the policy says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The service does not exist or is not in the agent's scope.
    NotInScope,
    /// The policy does not define the agent's role.
    UndefinedRole,
    /// A deny rule matches.
    Denied {
        /// Which.
        rule: RuleName,
        /// Whether it binds every role, or only this one.
        everywhere: bool,
        /// Its condition could not be answered, which counts as a match.
        failure: Option<Failure>,
    },
    /// The URI has `.` or `..` in its path: what is matched may not be what is read.
    DotSegments,
    /// No supported version of MCP knows the method, and the service does not let such methods pass.
    UnknownMethod,
    /// Only rules with a condition would allow it, be it after approval, and none of these holds.
    Unmet {
        /// The first of them; of those that allow, where there are any.
        rule: RuleName,
        /// Its condition could not be answered; else it is false.
        failure: Option<Failure>,
    },
    /// Nothing allows it.
    Silence,
    /// The policy allows it, and the tool's definition is not the one that is pinned.
    HeldBack(HeldBack),
}

impl Refused {
    /// Why, in few words, fit for the agent: nothing of its arguments, nothing of a condition's text.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::NotInScope => "not in scope".into(),
            Self::UndefinedRole => "the policy does not define this role".into(),
            Self::Denied { rule, failure: Some(_), .. } => {
                format!("the condition of rule `{rule}` has no answer for this call, which counts as a match")
                    .into()
            }
            Self::Denied { everywhere: true, .. } => "a deny binds every role".into(),
            Self::Denied { everywhere: false, .. } => "a deny rule matches".into(),
            Self::DotSegments => "the URI has `.` or `..` in its path".into(),
            Self::UnknownMethod => "unknown method".into(),
            Self::Unmet { rule, failure: None } => format!("the condition of rule `{rule}` is false").into(),
            Self::Unmet { rule, failure: Some(_) } => {
                format!("the condition of rule `{rule}` has no answer for this call").into()
            }
            Self::Silence => "silence means no".into(),
            Self::HeldBack(held) => held.reason().into(),
        }
    }

    /// The rule that said no, where one did.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleName> {
        match self {
            Self::Denied { rule, .. } => Some(rule),
            _ => None,
        }
    }

    /// The refusal that an agent of this role is answered.
    #[must_use]
    pub fn into_refusal(self, role: &RoleName) -> Refusal {
        match self {
            Self::NotInScope => Refusal::NotInScope,
            Self::HeldBack(held) => Refusal::ToolHeldBack(held),
            other => Refusal::Forbidden {
                role: role.clone(),
                reason: other.reason().into_owned(),
                rule: other.rule().cloned(),
            },
        }
    }
}

/// What one agent may do on one service: the rules that matter, looked up once.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'w> {
    service: &'w Service,
    tools: &'w Catalogue,
    /// The policy's file, for those who are told where a rule stands.
    file: &'w str,
    /// Denies for every role.
    deny: ServiceRules<'w>,
    /// Denies for this role.
    role_deny: ServiceRules<'w>,
    /// What needs people, whatever the role.
    approve: ServiceRules<'w>,
    /// What this role may do once people have approved it.
    role_approve: ServiceRules<'w>,
    allow: ServiceRules<'w>,
}

impl<'w> Rights<'w> {
    /// The rights of an agent on a service.
    ///
    /// # Errors
    /// [`Refused::NotInScope`] or [`Refused::UndefinedRole`]: it may do nothing there.
    pub fn of(world: &'w World, agent: &Agent, service: &str) -> Result<Self, Refused> {
        // The scope comes first and both give the same answer: nobody learns which services exist.
        let in_scope = agent.scope.contains(service);
        let service = world.services.get(service).filter(|_| in_scope).ok_or(Refused::NotInScope)?;
        let policy = &*world.policy;
        let role: &Role = policy.roles.get(&agent.role).ok_or(Refused::UndefinedRole)?;
        let name = service.name.as_str();
        Ok(Self {
            service,
            tools: &world.tools,
            file: policy.file.rsplit('/').next().unwrap_or_default(),
            deny: policy.deny.about(name),
            role_deny: role.deny.about(name),
            approve: policy.approve.about(name),
            role_approve: role.approve.about(name),
            allow: role.allow.about(name),
        })
    }

    /// What the policy says to an action. What it says to [`Args::Unknown`] holds for all arguments, unless it is
    /// [`Verdict::Depends`]. What is allowed allocates nothing, except for a URI with escapes and where a condition is
    /// asked. Of several resources the strictest answer counts for all.
    #[must_use]
    pub fn judge(&self, action: &Action, args: Args<'_>) -> Verdict {
        let verdict = match action {
            Action::Tool(name) => self.judge_text(Target::Tool, name, args).and_then(|passed| {
                // Whoever may not use a tool is not told what became of it.
                self.tools
                    .held_back(self.service, name)
                    .map_or(Ok(passed), |held| Err(Refused::HeldBack(held)))
            }),
            Action::Prompt(name) => self.judge_text(Target::Prompt, name, args),
            Action::Request(request) => self.judge_text(Target::Request, request, args),
            Action::Resource(uri) => self.judge_uri(uri, args),
            Action::Resources(uris) => {
                uris.iter().try_fold(Passed::Open, |passed, uri| Ok(passed.and(self.judge_uri(uri, args)?)))
            }
            Action::List(_) | Action::Service => Ok(Passed::Open),
            Action::Unknown => match self.service.unknown_methods {
                UnknownMethods::Pass => Ok(Passed::Open),
                UnknownMethods::Refuse => Err(Refused::UnknownMethod),
            },
        };
        match verdict {
            Ok(Passed::Open) => {
                Verdict::Allow { rule: None, reason: "open to every role", risk: RuleRisk::default() }
            }
            Ok(Passed::By(rule, risk)) => {
                Verdict::Allow { rule: Some(rule.name.clone()), reason: "an allow rule matches", risk }
            }
            Ok(Passed::Asked(asking, risk)) => {
                let facts = match args {
                    Args::Known(facts) => Some(facts),
                    Args::Unknown => None,
                };
                Verdict::Ask(Box::new(asking.wants(risk, self.file, facts)))
            }
            Ok(Passed::Perhaps) => Verdict::Depends,
            Err(refused) => Verdict::Never(refused),
        }
    }

    /// Whether the verdict on a tool, prompt, resource or request can depend on its arguments, so that a body must be
    /// read before it is judged.
    #[must_use]
    pub fn needs_args(&self, action: &Action) -> bool {
        let Some((target, text)) = subject(action) else { return false };
        let reads = |rule: &&Rule| rule.when.as_ref().is_some_and(|when| when.reads_args());
        [self.deny, self.role_deny, self.approve, self.role_approve, self.allow]
            .iter()
            .any(|rules| rules.conditional(target, text).iter().any(reads))
    }

    /// Whether an element of a list may be seen: a tool's or prompt's name, a resource's URI, a URI template.
    #[must_use]
    pub fn may_list(&self, kind: ListKind, element: &str) -> bool {
        match kind {
            ListKind::Tools => {
                self.judge_text(Target::Tool, element, Args::Unknown).is_ok()
                    && self.tools.held_back(self.service, element).is_none()
            }
            ListKind::Prompts => self.judge_text(Target::Prompt, element, Args::Unknown).is_ok(),
            ListKind::Resources => self.judge_uri(element, Args::Unknown).is_ok(),
            ListKind::ResourceTemplates => self.may_list_template(element),
        }
    }

    fn judge_uri(&self, uri: &str, args: Args<'_>) -> Result<Passed<'w>, Refused> {
        let plain = uri::plain_spelling(uri);
        if uri::has_dot_segments(uri) || plain.as_deref().is_some_and(uri::has_dot_segments) {
            return Err(Refused::DotSegments);
        }
        let passed = self.judge_text(Target::Resource, uri, args)?;
        match plain {
            Some(plain) => Ok(self.judge_text(Target::Resource, &plain, args)?.and(passed)),
            None => Ok(passed),
        }
    }

    /// What the rules say to a text. Never `Open`.
    ///
    /// Rules without a condition come first: they decide most calls, and of the rules with one only those are asked
    /// that can still change the answer.
    fn judge_text(&self, target: Target, text: &str, args: Args<'_>) -> Result<Passed<'w>, Refused> {
        let denies = [(self.deny, true), (self.role_deny, false)];
        for (rules, everywhere) in denies {
            if let Some(rule) = rules.first(target, text) {
                return Err(Refused::Denied { rule: rule.name.clone(), everywhere, failure: None });
            }
        }
        let mut found = Found::default();
        self.allow.each(target, text).for_each(|rule| found.allow(rule));
        for rules in [self.role_approve, self.approve] {
            rules.each(target, text).for_each(|rule| found.ask(rule));
        }
        let allow_when = self.allow.conditional(target, text);
        let role_approve_when = self.role_approve.conditional(target, text);
        let approve_when = self.approve.conditional(target, text);
        if !found.grants() && allow_when.is_empty() && role_approve_when.is_empty() {
            return Err(Refused::Silence);
        }
        let allowed = found.allow.is_some();
        let matters = |rule: &Rule, floor| !allowed || rule.risk.floor > floor;
        let Args::Known(facts) = args else {
            let open = denies.iter().any(|(rules, _)| !rules.conditional(target, text).is_empty())
                || !role_approve_when.is_empty()
                || !approve_when.is_empty()
                || allow_when.iter().any(|rule| matters(rule, found.floor));
            return if open { Ok(Passed::Perhaps) } else { found.passed().ok_or(Refused::Silence) };
        };
        for (rules, everywhere) in denies {
            for rule in rules.conditional(target, text) {
                let failure = match rule.holds(facts) {
                    Ok(false) => continue,
                    Ok(true) => None,
                    Err(failure) => Some(failure),
                };
                return Err(Refused::Denied { rule: rule.name.clone(), everywhere, failure });
            }
        }
        let mut unmet = None;
        for rule in allow_when {
            if !matters(rule, found.floor) {
                continue;
            }
            let held = rule.holds(facts);
            match held {
                Ok(true) if !allowed => found.allow(rule),
                Ok(false) => {}
                // Without an answer it does not allow, but what it says against the caller counts.
                Ok(true) | Err(_) => found.raise_floor(rule),
            }
            unmet = unmet.or_else(|| Some(Refused::Unmet { rule: rule.name.clone(), failure: held.err() }));
        }
        for rule in role_approve_when {
            if rule.holds(facts) == Ok(false) {
                unmet = unmet.or_else(|| Some(Refused::Unmet { rule: rule.name.clone(), failure: None }));
            } else {
                found.ask(rule);
            }
        }
        if !found.grants() {
            return Err(unmet.unwrap_or(Refused::Silence));
        }
        approve_when
            .into_iter()
            .filter(|rule| rule.holds(facts) != Ok(false))
            .for_each(|rule| found.ask(rule));
        found.passed().ok_or(Refused::Silence)
    }

    /// A template is hidden when no rule that grants reaches what it may expand to, or one deny rule reaches all of it.
    fn may_list_template(&self, template: &str) -> bool {
        let template = Pattern::of_template(template);
        let target = Target::Resource;
        let mut denies = self.deny.patterns(target).chain(self.role_deny.patterns(target));
        let mut grants = [self.allow, self.role_approve]
            .into_iter()
            .flat_map(|rules| rules.patterns(target).chain(rules.conditional_patterns(target)));
        grants.any(|grant| grant.overlaps(&template)) && !denies.any(|deny| deny.covers(&template))
    }
}

#[cfg(test)]
mod tests;
