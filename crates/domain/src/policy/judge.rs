//! The one judge. Calls and lists ask the same [`Rights`], so that what is listed and what may be called cannot
//! disagree. Order: service in scope, role defined, deny, allow; silence means no.

use wire::mcp::ListKind;

use super::{
    Pattern, Role, RuleName,
    index::TargetSets,
    rule::{Rule, Target},
    uri,
};
use crate::{
    agent::Agent,
    call::Action,
    names::RoleName,
    service::{Service, UnknownMethods},
    stop::Refusal,
    world::World,
};

/// May this agent do this?
#[must_use]
pub fn judge(world: &World, agent: &Agent, service: &str, action: &Action) -> Verdict {
    match Rights::of(world, agent, service) {
        Ok(rights) => rights.judge(action),
        Err(refused) => Verdict::Never(refused),
    }
}

/// May this agent see an element of a list? Exactly if [`judge`] would not refuse its use; a resource template,
/// if it may expand to something that is not refused.
///
/// For a whole list, make the [`Rights`] once and ask them.
#[must_use]
pub fn may_list(world: &World, agent: &Agent, service: &str, kind: ListKind, element: &str) -> bool {
    Rights::of(world, agent, service).is_ok_and(|rights| rights.may_list(kind, element))
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
    },
    /// No, whatever the arguments are.
    Never(Refused),
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
    },
    /// The URI has `.` or `..` in its path: what is matched may not be what is read.
    DotSegments,
    /// No supported version of MCP knows the method, and the service does not let such methods pass.
    UnknownMethod,
    /// Nothing allows it.
    Silence,
}

impl Refused {
    /// Why, in few words, fit for the agent.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotInScope => "not in scope",
            Self::UndefinedRole => "the policy does not define this role",
            Self::Denied { everywhere: true, .. } => "a deny binds every role",
            Self::Denied { everywhere: false, .. } => "a deny rule matches",
            Self::DotSegments => "the URI has `.` or `..` in its path",
            Self::UnknownMethod => "unknown method",
            Self::Silence => "silence means no",
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
            other => Refusal::Forbidden {
                role: role.clone(),
                reason: other.reason().to_owned(),
                rule: other.rule().cloned(),
            },
        }
    }
}

/// What one agent may do on one service: the rules that matter, looked up once.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'w> {
    service: &'w Service,
    /// Denies for every role.
    deny: [Option<&'w TargetSets>; 2],
    /// Denies for this role.
    role_deny: [Option<&'w TargetSets>; 2],
    allow: [Option<&'w TargetSets>; 2],
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
            deny: policy.deny.about(name),
            role_deny: role.deny.about(name),
            allow: role.allow.about(name),
        })
    }

    /// What the policy says to an action. Allocates nothing, except for a URI with escapes.
    #[must_use]
    pub fn judge(&self, action: &Action) -> Verdict {
        let verdict = match action {
            Action::Tool(name) => self.judge_text(Target::Tool, name),
            Action::Prompt(name) => self.judge_text(Target::Prompt, name),
            Action::Request(request) => self.judge_text(Target::Request, request),
            Action::Resource(uri) => self.judge_uri(uri),
            Action::Resources(uris) => {
                let mut rule = None;
                uris.iter().try_for_each(|uri| self.judge_uri(uri).map(|last| rule = last)).map(|()| rule)
            }
            Action::List(_) | Action::Service => Ok(None),
            Action::Unknown => match self.service.unknown_methods {
                UnknownMethods::Pass => Ok(None),
                UnknownMethods::Refuse => Err(Refused::UnknownMethod),
            },
        };
        match verdict {
            Ok(None) => Verdict::Allow { rule: None, reason: "open to every role" },
            Ok(Some(rule)) => {
                Verdict::Allow { rule: Some(rule.name.clone()), reason: "an allow rule matches" }
            }
            Err(refused) => Verdict::Never(refused),
        }
    }

    /// Whether an element of a list may be seen: a tool's or prompt's name, a resource's URI, a URI template.
    #[must_use]
    pub fn may_list(&self, kind: ListKind, element: &str) -> bool {
        match kind {
            ListKind::Tools => self.judge_text(Target::Tool, element).is_ok(),
            ListKind::Prompts => self.judge_text(Target::Prompt, element).is_ok(),
            ListKind::Resources => self.judge_uri(element).is_ok(),
            ListKind::ResourceTemplates => self.may_list_template(element),
        }
    }

    fn judge_uri(&self, uri: &str) -> Result<Option<&'w Rule>, Refused> {
        let plain = uri::plain_spelling(uri);
        if uri::has_dot_segments(uri) || plain.as_deref().is_some_and(uri::has_dot_segments) {
            return Err(Refused::DotSegments);
        }
        let verdict = self.judge_text(Target::Resource, uri);
        match plain {
            Some(plain) if verdict.is_ok() => self.judge_text(Target::Resource, &plain).and(verdict),
            _ => verdict,
        }
    }

    /// The rule that allows the text. Never `Ok(None)`.
    fn judge_text(&self, target: Target, text: &str) -> Result<Option<&'w Rule>, Refused> {
        for (sets, everywhere) in [(self.deny, true), (self.role_deny, false)] {
            if let Some(rule) = first_match(sets, target, text) {
                return Err(Refused::Denied { rule: rule.name.clone(), everywhere });
            }
        }
        first_match(self.allow, target, text).map(Some).ok_or(Refused::Silence)
    }

    /// A template is hidden when no allow rule reaches what it may expand to, or one deny rule reaches all of it.
    fn may_list_template(&self, template: &str) -> bool {
        let template = Pattern::of_template(template);
        let mut denies = self
            .deny
            .iter()
            .chain(&self.role_deny)
            .flatten()
            .flat_map(|sets| sets.of(Target::Resource).patterns());
        let mut allows = self.allow.iter().flatten().flat_map(|sets| sets.of(Target::Resource).patterns());
        allows.any(|allow| allow.overlaps(&template)) && !denies.any(|deny| deny.covers(&template))
    }
}

/// The first rule of the file that matches.
fn first_match<'w>(sets: [Option<&'w TargetSets>; 2], target: Target, text: &str) -> Option<&'w Rule> {
    sets.into_iter().flatten().filter_map(|sets| sets.of(target).find(text)).min_by_key(|rule| rule.order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::fixture::{agent, world};

    const POLICY: &str = r#"version: 1
roles:
  admin: { allow: ["*"] }
  user:
    allow:
      - { service: files, tools: ["read_*", write_file], resources: ["file:///srv/**"], prompts: [help] }
    deny:
      - { service: files, tools: [read_secrets] }
  readonly: {}
  auditor:
    allow: [{ service: notes, tools: ["**"] }]
deny:
  - { name: no deletes, service: "*", tools: ["delete_*"] }
  - { service: files, resources: ["file:///etc/**"] }
"#;

    fn verdict(role: &str, service: &str, action: Action) -> Result<String, Refused> {
        let world = world(POLICY, &["files", "notes", "lenient"]);
        match judge(&world, &agent(role, &["files", "lenient", "gone"]), service, &action) {
            Verdict::Allow { rule, .. } => Ok(rule.map_or(String::new(), |rule| rule.to_string())),
            Verdict::Never(refused) => Err(refused),
        }
    }

    fn tool(name: &str) -> Action {
        Action::Tool(name.to_owned())
    }

    fn resource(uri: &str) -> Action {
        Action::Resource(uri.to_owned())
    }

    #[test]
    fn silence_means_no() {
        assert_eq!(verdict("user", "files", tool("read_file")).unwrap(), "roles.user.allow[0]");
        assert_eq!(verdict("user", "files", tool("write_file")).unwrap(), "roles.user.allow[0]");
        assert_eq!(verdict("user", "files", tool("write_files")), Err(Refused::Silence));
        // A name is compared with the patterns of its own kind only.
        assert_eq!(verdict("user", "files", Action::Prompt("read_file".into())), Err(Refused::Silence));
        assert_eq!(verdict("readonly", "files", tool("read_file")), Err(Refused::Silence));
        // A rule for one service says nothing about another.
        assert_eq!(verdict("user", "lenient", tool("read_file")), Err(Refused::Silence));
    }

    #[test]
    fn deny_beats_allow_and_binds_admin() {
        let deletes = || Refused::Denied { rule: RuleName::new("no deletes"), everywhere: true };
        assert_eq!(verdict("admin", "files", tool("anything/at/all")).unwrap(), "roles.admin.allow[0]");
        assert_eq!(verdict("admin", "files", tool("delete_file")), Err(deletes()));
        let of_role = Refused::Denied { rule: RuleName::new("roles.user.deny[0]"), everywhere: false };
        assert_eq!(verdict("user", "files", tool("read_secrets")), Err(of_role));
        assert_eq!(verdict("admin", "files", tool("read_secrets")).unwrap(), "roles.admin.allow[0]");
    }

    #[test]
    fn a_service_out_of_scope_is_like_one_that_does_not_exist() {
        for action in [tool("read_file"), Action::Service, Action::List(ListKind::Tools), Action::Unknown] {
            assert_eq!(verdict("admin", "notes", action.clone()), Err(Refused::NotInScope), "not in scope");
            assert_eq!(
                verdict("admin", "gone", action.clone()),
                Err(Refused::NotInScope),
                "in scope, removed"
            );
            assert_eq!(verdict("admin", "nowhere", action), Err(Refused::NotInScope));
        }
    }

    #[test]
    fn a_role_that_the_policy_does_not_define_may_not_even_knock() {
        for action in [tool("read_file"), Action::Service, Action::List(ListKind::Tools)] {
            assert_eq!(verdict("intruder", "files", action), Err(Refused::UndefinedRole));
        }
        assert_eq!(verdict("readonly", "files", Action::Service).unwrap(), "", "always there");
    }

    #[test]
    fn housekeeping_is_open_and_unknown_methods_are_not() {
        assert_eq!(verdict("user", "files", Action::List(ListKind::Prompts)).unwrap(), "");
        assert_eq!(verdict("user", "files", Action::Unknown), Err(Refused::UnknownMethod));
        assert_eq!(verdict("user", "lenient", Action::Unknown).unwrap(), "");
    }

    #[test]
    fn of_several_resources_each_must_be_allowed() {
        let all = |uris: &[&str]| Action::Resources(uris.iter().map(|uri| (*uri).to_owned()).collect());
        assert!(verdict("user", "files", all(&["file:///srv/a", "file:///srv/b/c"])).is_ok());
        assert_eq!(
            verdict("user", "files", all(&["file:///srv/a", "file:///home/b"])),
            Err(Refused::Silence)
        );
        assert!(verdict("user", "files", all(&[])).is_ok());
    }

    #[test]
    fn another_spelling_of_a_uri_opens_nothing() {
        for uri in ["file:///srv/../etc/passwd", "file:///srv/%2e%2e/etc/passwd", "file:///srv/a/./b"] {
            assert_eq!(verdict("admin", "files", resource(uri)), Err(Refused::DotSegments), "{uri}");
        }
        for uri in ["file:///etc/passwd", "file:///%65tc/passwd", "FILE:///etc/passwd"] {
            assert!(matches!(verdict("admin", "files", resource(uri)), Err(Refused::Denied { .. })), "{uri}");
        }
        assert!(verdict("user", "files", resource("file:///srv/a%20b")).is_ok());
        assert_eq!(verdict("user", "files", resource("file:///%73rv/a")), Err(Refused::Silence));
    }

    #[test]
    fn a_template_is_listed_when_something_it_expands_to_is_allowed() {
        let world = world(POLICY, &["files"]);
        let shown = |role, template| {
            may_list(&world, &agent(role, &["files"]), "files", ListKind::ResourceTemplates, template)
        };
        assert!(
            shown("user", "file:///srv/{path}") && shown("user", "file:///{+path}") && shown("user", "{x}")
        );
        assert!(!shown("user", "note://{id}") && !shown("readonly", "file:///srv/{path}"));
        assert!(!shown("admin", "file:///etc/{path}") && shown("admin", "file:///{path}"));
    }

    #[test]
    fn refusals_carry_what_the_agent_is_told() {
        let role = RoleName::parse("user").unwrap();
        let denied = Refused::Denied { rule: RuleName::new("x"), everywhere: true };
        let told = Refusal::Forbidden {
            role: role.clone(),
            rule: Some(RuleName::new("x")),
            reason: "a deny binds every role".into(),
        };
        assert_eq!(denied.into_refusal(&role), told);
        assert_eq!(Refused::NotInScope.into_refusal(&role), Refusal::NotInScope);
    }

    fn patterns() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[ab*/]{1,4}", 1..5)
    }

    proptest! {
        /// Against the definition: deny beats allow, silence means no; and lists agree with calls.
        #[test]
        fn the_judge_agrees_with_the_definition_and_with_lists(
            allow in patterns(), role_deny in patterns(), deny in patterns(),
            denies in 0..4u8, name in "[ab/]{1,4}", template in "[ab/]{0,2}\\{x\\}[ab/]{0,2}", expansion in "[ab/]{0,3}",
        ) {
            let quoted = |patterns: &[String]| serde_json::to_string(patterns).unwrap();
            let rule = |patterns: &[String]| {
                let list = quoted(patterns);
                format!("[{{ service: files, tools: {list}, resources: {list}, prompts: {list} }}]")
            };
            let (deny, role_deny) = (
                if denies & 1 == 1 { deny } else { Vec::new() },
                if denies & 2 == 2 { role_deny } else { Vec::new() },
            );
            let list = |patterns: &[String]| if patterns.is_empty() { "[]".to_owned() } else { rule(patterns) };
            let text = format!(
                "version: 1\nroles:\n  user:\n    allow: {}\n    deny: {}\ndeny: {}\n",
                rule(&allow), list(&role_deny), list(&deny)
            );
            let world = world(&text, &["files"]);
            let agent = agent("user", &["files"]);
            let any = |patterns: &[String], text: &str| patterns.iter().any(|pattern| Pattern::new(pattern).matches(text));
            let expected = any(&allow, &name) && !any(&role_deny, &name) && !any(&deny, &name);
            for (action, kind) in [
                (Action::Tool(name.clone()), ListKind::Tools),
                (Action::Prompt(name.clone()), ListKind::Prompts),
                (Action::Resource(name.clone()), ListKind::Resources),
            ] {
                let allowed = matches!(judge(&world, &agent, "files", &action), Verdict::Allow { .. });
                prop_assert_eq!(allowed, expected, "{:?}", action);
                prop_assert_eq!(may_list(&world, &agent, "files", kind, &name), expected, "{:?}", kind);
            }
            let uri = template.replace("{x}", &expansion);
            let readable = matches!(judge(&world, &agent, "files", &Action::Resource(uri.clone())), Verdict::Allow { .. });
            if readable {
                let listed = may_list(&world, &agent, "files", ListKind::ResourceTemplates, &template);
                prop_assert!(listed, "`{}` may be read, `{}` is not listed", uri, template);
            }
        }
    }
}
