//! The judge against its definition: examples, then properties.

mod approvals;
mod conditions;
mod model;

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
    match judge(&world, &agent(role, &["files", "lenient", "gone"]), service, &action, Args::Unknown) {
        Verdict::Allow { rule, .. } => Ok(rule.map_or(String::new(), |rule| rule.to_string())),
        Verdict::Never(refused) => Err(refused),
        Verdict::Ask(wants) => Ok(format!("asks: {}", wants.rule)),
        Verdict::Depends => panic!("no rule has a condition"),
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
    let deletes = || Refused::Denied { rule: RuleName::new("no deletes"), everywhere: true, failure: None };
    assert_eq!(verdict("admin", "files", tool("anything/at/all")).unwrap(), "roles.admin.allow[0]");
    assert_eq!(verdict("admin", "files", tool("delete_file")), Err(deletes()));
    let of_role =
        Refused::Denied { rule: RuleName::new("roles.user.deny[0]"), everywhere: false, failure: None };
    assert_eq!(verdict("user", "files", tool("read_secrets")), Err(of_role));
    assert_eq!(verdict("admin", "files", tool("read_secrets")).unwrap(), "roles.admin.allow[0]");
}

#[test]
fn a_service_out_of_scope_is_like_one_that_does_not_exist() {
    for action in [tool("read_file"), Action::Service, Action::List(ListKind::Tools), Action::Unknown] {
        assert_eq!(verdict("admin", "notes", action.clone()), Err(Refused::NotInScope), "not in scope");
        assert_eq!(verdict("admin", "gone", action.clone()), Err(Refused::NotInScope), "in scope, removed");
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
    assert_eq!(verdict("user", "files", all(&["file:///srv/a", "file:///home/b"])), Err(Refused::Silence));
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
    assert!(shown("user", "file:///srv/{path}") && shown("user", "file:///{+path}") && shown("user", "{x}"));
    assert!(!shown("user", "note://{id}") && !shown("readonly", "file:///srv/{path}"));
    assert!(!shown("admin", "file:///etc/{path}") && shown("admin", "file:///{path}"));
}

#[test]
fn refusals_carry_what_the_agent_is_told() {
    let role = RoleName::parse("user").unwrap();
    let denied = Refused::Denied { rule: RuleName::new("x"), everywhere: true, failure: None };
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
            let allowed = matches!(judge(&world, &agent, "files", &action, Args::Unknown), Verdict::Allow { .. });
            prop_assert_eq!(allowed, expected, "{:?}", action);
            prop_assert_eq!(may_list(&world, &agent, "files", kind, &name), expected, "{:?}", kind);
        }
        let uri = template.replace("{x}", &expansion);
        let readable = matches!(judge(&world, &agent, "files", &Action::Resource(uri.clone()), Args::Unknown), Verdict::Allow { .. });
        if readable {
            let listed = may_list(&world, &agent, "files", ListKind::ResourceTemplates, &template);
            prop_assert!(listed, "`{}` may be read, `{}` is not listed", uri, template);
        }
    }
}
