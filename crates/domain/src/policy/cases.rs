//! A table of calls and what the policy is expected to say about each, for `policy test`.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::{Explanation, Question, arguments};
use crate::{
    agent::{Agent, AgentState},
    audit::{Effect, write_json_string},
    names::{AgentName, RoleName, ServiceName},
    risk::KnownRisk,
    service::{HttpUpstream, Network, Pins, RefusalForm, Service, UnknownMethods, Upstream, UpstreamUrl},
    world::World,
    yaml::{self, Key, Node, Place, Problem, Source, Value},
};

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its line in the file, from 1.
    pub line: usize,
    who: Who,
    service: ServiceName,
    asked: Asked,
    /// What is expected.
    pub expected: Effect,
    /// The rule that is expected to decide, where one is named.
    pub expected_rule: Option<String>,
    now: Option<Timestamp>,
}

#[derive(Debug, Clone)]
enum Who {
    /// An agent of the home.
    Known(AgentName),
    /// Whoever has this role and this scope.
    Any { name: AgentName, role: RoleName, scope: Vec<ServiceName> },
}

#[derive(Debug, Clone)]
enum Asked {
    Tool(String, Option<String>),
    Resource(String),
    Prompt(String),
    Request(String, Option<String>),
}

/// What came of a case.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Who asked for what: `laptop (user) · files · read_file`.
    pub subject: String,
    /// What the policy says.
    pub told: Explanation,
    /// Whether that was expected.
    pub ok: bool,
}

const CASE_KEYS: [&str; 13] = [
    "agent", "role", "scope", "service", "tool", "args", "resource", "prompt", "request", "body", "expect",
    "rule", "now",
];

/// Reads a table: `cases:` and a list of rows.
///
/// # Errors
/// All problems, in the order of the file.
pub fn read_cases(file: &str, text: &str) -> Result<Vec<Case>, Vec<Problem>> {
    let root = yaml::parse(file, text)?;
    let mut reader = Reader { source: Source { file, text }, problems: Vec::new() };
    let cases = reader.table(&root);
    if reader.problems.is_empty() { Ok(cases) } else { Err(reader.problems) }
}

/// Whether a case names an agent of the home, so that the store must be asked.
#[must_use]
pub fn need_agents(cases: &[Case]) -> bool {
    cases.iter().any(|case| matches!(case.who, Who::Known(_)))
}

/// The world with the services that cases name, so that a policy can be tested where no service is set up.
#[must_use]
pub fn with_services_of(world: World, cases: &[Case]) -> World {
    let mut services: HashMap<ServiceName, Arc<Service>> = (*world.services).clone();
    for name in cases.iter().map(|case| &case.service) {
        if let Some(service) = stand_in(name).filter(|_| !services.contains_key(name)) {
            services.insert(name.clone(), Arc::new(service));
        }
    }
    World { services: Arc::new(services), ..world }
}

/// A service of which only the name matters.
fn stand_in(name: &ServiceName) -> Option<Service> {
    let url = UpstreamUrl::parse("https://localhost/").ok()?;
    Some(Service {
        name: name.clone(),
        upstream: Upstream::Http(HttpUpstream { url, network: Network::Public, ca_pem: None }),
        unknown_methods: UnknownMethods::Refuse,
        refusals: RefusalForm::Error,
        trust_annotations: false,
        pins: Pins::default(),
        credentials: Vec::new(),
        documentation: None,
    })
}

impl Case {
    /// Asks the policy. `now` is the time where the case names none.
    ///
    /// # Errors
    /// A sentence, where nobody can be asked: no such agent, or a request that the gateway would not read.
    pub fn run(&self, world: &World, now: Timestamp, risk: &KnownRisk) -> Result<Tried, String> {
        let agent = self.agent(world)?;
        let service = self.service.as_str();
        let question = match &self.asked {
            Asked::Tool(name, args) => Question::tool(service, name, args.clone()),
            Asked::Resource(uri) => Question::resource(service, uri),
            Asked::Prompt(name) => Question::prompt(service, name),
            Asked::Request(request, body) => Question::request(world, service, request, body.clone())
                .map_err(|bad| format!("{}; {}", bad.what, bad.next))?,
        };
        let told = question.answer(world, &agent, self.now.unwrap_or(now), risk);
        let rule = told.rule.as_ref().map(|(name, _)| name.as_str());
        let ok = told.effect == self.expected
            && self.expected_rule.as_deref().is_none_or(|name| rule == Some(name));
        let subject = format!("{} ({}) · {service} · {}", agent.name, agent.role, question.action_text());
        Ok(Tried { subject, told, ok })
    }

    fn agent(&self, world: &World) -> Result<Arc<Agent>, String> {
        match &self.who {
            Who::Known(name) => world.agents.get(name).cloned().ok_or_else(|| {
                format!("there is no agent `{name}`; name one that there is, or a `role` and its `scope`")
            }),
            Who::Any { name, role, scope } => Ok(Arc::new(Agent {
                name: name.clone(),
                role: role.clone(),
                scope: scope.iter().cloned().collect(),
                state: AgentState::Active,
                created_at: Timestamp::UNIX_EPOCH,
            })),
        }
    }
}

struct Reader<'t> {
    source: Source<'t>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, root: &Node) -> Vec<Case> {
        let Some(members) = root.as_map() else {
            self.error(root.place, "a table of cases must be a mapping with the key cases");
            return Vec::new();
        };
        let mut cases = Vec::new();
        for (key, value) in members {
            if key.text != "cases" {
                self.problems.push(self.source.unknown_key(key, &["cases"]));
            } else if let Some(rows) = value.as_list().filter(|rows| !rows.is_empty()) {
                cases.extend(rows.iter().filter_map(|row| self.case(row)));
            } else {
                self.error(value.place, "`cases` must be a list of at least one case");
            }
        }
        if !members.iter().any(|(key, _)| key.text == "cases") {
            self.error(root.place, "`cases` is missing; write a list of cases");
        }
        cases
    }

    fn case(&mut self, row: &Node) -> Option<Case> {
        let Some(members) = row.as_map() else {
            let example = "{ role: user, service: files, tool: read_file, expect: allow }";
            self.error(row.place, format!("a case must be a mapping such as `{example}`"));
            return None;
        };
        let before = self.problems.len();
        for (key, _) in members {
            if !CASE_KEYS.contains(&key.text.as_str()) {
                self.problems.push(self.source.unknown_key(key, &CASE_KEYS));
            }
        }
        if self.problems.len() > before {
            return None;
        }
        let service = self.name(row, members, "service", ServiceName::parse);
        let who = self.who(row, members, service.as_ref());
        let asked = self.asked(row, members);
        let expected = match self.text(members, "expect") {
            Some("allow") => Some(Effect::Allow),
            Some("hold") => Some(Effect::Hold),
            Some("deny") => Some(Effect::Deny),
            _ => {
                let place = member(members, "expect").map_or(row.place, |node| node.place);
                self.error(place, "`expect` must be allow, hold or deny");
                None
            }
        };
        let expected_rule = self.text(members, "rule").map(str::to_owned);
        let now = self.text(members, "now").map(|text| (text, text.parse::<Timestamp>()));
        if let (Some((text, Err(_))), Some(node)) = (&now, member(members, "now")) {
            let text = text.escape_debug();
            self.error(node.place, format!("`{text}` is no time; write for example 2026-11-23T14:00:00Z"));
        }
        if self.problems.len() > before {
            return None;
        }
        let (line, now) = (row.place.line, now.and_then(|(_, read)| read.ok()));
        Some(Case {
            line,
            who: who?,
            service: service?,
            asked: asked?,
            expected: expected?,
            expected_rule,
            now,
        })
    }

    fn who(&mut self, row: &Node, members: &[(Key, Node)], service: Option<&ServiceName>) -> Option<Who> {
        let named = member(members, "agent").is_some();
        let agent = if named { Some(self.name(row, members, "agent", AgentName::parse)?) } else { None };
        if member(members, "role").is_none() {
            if let Some(scope) = member(members, "scope") {
                self.error(scope.place, "`scope` goes with `role`; an agent of the home has its own");
            }
            if agent.is_none() {
                self.error(row.place, "nobody asks; name an `agent`, or a `role`");
            }
            return agent.map(Who::Known);
        }
        let role = self.name(row, members, "role", RoleName::parse)?;
        let name = agent.or_else(|| AgentName::parse("somebody").ok())?;
        let Some(scope) = member(members, "scope") else {
            return Some(Who::Any { name, role, scope: service.into_iter().cloned().collect() });
        };
        let names: Option<Vec<ServiceName>> = scope.as_list().and_then(|items| {
            items.iter().map(|item| item.as_text().and_then(|text| ServiceName::parse(text).ok())).collect()
        });
        if names.is_none() {
            self.error(scope.place, "`scope` must be a list of services");
        }
        Some(Who::Any { name, role, scope: names? })
    }

    fn asked(&mut self, row: &Node, members: &[(Key, Node)]) -> Option<Asked> {
        let kinds = ["tool", "resource", "prompt", "request"];
        let named: Vec<_> = kinds.into_iter().filter(|kind| member(members, kind).is_some()).collect();
        let [kind] = named[..] else {
            self.error(row.place, "a case names one of tool, resource, prompt and request");
            return None;
        };
        for (key, owner) in [("args", "tool"), ("body", "request")] {
            if let Some(node) = member(members, key).filter(|_| kind != owner) {
                self.error(node.place, format!("`{key}` goes with `{owner}`"));
            }
        }
        let text = self.text(members, kind)?.to_owned();
        let args = self.json(members, if kind == "tool" { "args" } else { "body" });
        Some(match kind {
            "tool" => Asked::Tool(text, args),
            "resource" => Asked::Resource(text),
            "prompt" => Asked::Prompt(text),
            _ => Asked::Request(text, args),
        })
    }

    /// Arguments: written as YAML, or as one text that is JSON.
    fn json(&mut self, members: &[(Key, Node)], key: &str) -> Option<String> {
        let node = member(members, key)?;
        let text = match (&node.value, node.as_text()) {
            (Value::Scalar { plain: false, .. }, Some(text)) => text.to_owned(),
            _ => {
                let mut out = String::new();
                write_json(node, &mut out);
                out
            }
        };
        arguments(&text).map_err(|why| self.error(node.place, format!("`{key}`: {why}"))).ok()
    }

    fn name<T, E: std::fmt::Display>(
        &mut self,
        row: &Node,
        members: &[(Key, Node)],
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Some(node) = member(members, key) else {
            self.error(row.place, format!("`{key}` is missing"));
            return None;
        };
        let text = self.text(members, key)?;
        parse(text).map_err(|bad| self.error(node.place, bad.to_string())).ok()
    }

    fn text<'n>(&mut self, members: &'n [(Key, Node)], key: &str) -> Option<&'n str> {
        let node = member(members, key)?;
        let text = node.as_text().filter(|text| !text.trim().is_empty());
        if text.is_none() {
            self.error(node.place, format!("`{key}` must be a text, not {}", node.kind()));
        }
        text
    }

    fn error(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(self.source.error(place, message));
    }
}

fn member<'n>(members: &'n [(Key, Node)], key: &str) -> Option<&'n Node> {
    members.iter().find(|(member, _)| member.text == key).map(|(_, node)| node)
}

/// YAML as JSON: what stands without quotes and reads as a JSON number, `true`, `false` or `null` is that.
fn write_json(node: &Node, out: &mut String) {
    let separate = |out: &mut String, index: usize| {
        if index > 0 {
            out.push(',');
        }
    };
    match &node.value {
        Value::Scalar { .. } if node.is_null() => out.push_str("null"),
        Value::Scalar { text, plain: true }
            if !text.starts_with(['[', '{', '"']) && arguments(text).is_ok() =>
        {
            out.push_str(text);
        }
        Value::Scalar { text, .. } => write_json_string(out, text),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(out, index);
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Map(members) => {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                separate(out, index);
                write_json_string(out, &key.text);
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::fixture::{NOON, world},
        yaml::render_all,
    };

    const POLICY: &str = r#"version: 1
roles:
  user:
    allow:
      - { name: small, service: billing, requests: ["POST /v1/refunds"], when: args.amount <= 1000 }
      - { service: files, tools: ["read_*"], when: 'args.path.startsWith("/srv/") && now.getHours() > 6' }
    approve:
      - { name: big, service: billing, requests: ["POST /v1/refunds"], when: args.amount > 100000 }
deny:
  - { service: "*", tools: ["delete_*"] }
"#;

    fn run(text: &str) -> Vec<String> {
        let cases =
            read_cases("cases.yaml", text).unwrap_or_else(|problems| panic!("{}", render_all(&problems)));
        let world = with_services_of(world(POLICY, &[]), &cases);
        let tried = cases.iter().map(|case| case.run(&world, NOON.parse().unwrap(), &KnownRisk::default()));
        tried
            .map(|tried| match tried {
                Ok(Tried { subject, told, ok }) => {
                    format!("{ok} {subject}: {} {}", told.effect.as_str(), told.reason)
                }
                Err(sentence) => sentence,
            })
            .collect()
    }

    #[test]
    fn a_table_is_compared_with_what_the_policy_says() {
        let told = run(r#"cases:
  - { role: user, service: billing, request: "POST /v1/refunds?dry=1", body: { amount: 500 }, expect: allow, rule: small }
  - { role: user, service: billing, request: POST /v1/refunds, body: { amount: 5000 }, expect: hold }
  - { role: user, service: billing, request: POST /v1/refunds, body: '{"amount":5e2}', expect: allow, rule: other }
  - { role: user, service: billing, request: POST /v1/refunds, body: { amount: "500" }, expect: hold, rule: big }
  - { role: user, service: files, tool: read_file, args: { path: /srv/a }, expect: allow }
  - { role: user, service: files, tool: read_file, args: { path: /srv/a }, now: 2026-11-23T03:00:00Z, expect: deny }
  - { role: user, scope: [other], service: files, tool: read_file, expect: deny }
  - { agent: ada, role: readonly, service: files, tool: delete_it, expect: deny, rule: "deny[0]" }
  - { agent: ada, service: files, tool: delete_it, expect: deny }
  - { role: user, service: billing, request: POST /v1/refunds, body: { amount: 200000 }, expect: hold, rule: big }
  - { role: user, service: billing, request: POST /v1/refunds, body: { amount: 200000 }, expect: allow }
"#);
        let ok: Vec<bool> = told.iter().map(|line| line.starts_with("true ")).collect();
        assert_eq!(ok, [true, false, false, true, true, true, true, true, false, true, false], "{told:#?}");
        assert!(
            told[1].starts_with("false somebody (user) · billing · POST /v1/refunds: deny silence means no"),
            "{}",
            told[1]
        );
        let told_of = |line: &str, rule: &str| assert!(line.contains(rule), "{line}");
        told_of(&told[1], "of small matches, but `args.amount <= 1000` is false, args.amount = 5000; ");
        told_of(&told[3], "hold needs 1 operator: `args.amount > 100000` compares a text with");
        assert_eq!(told[8], "there is no agent `ada`; name one that there is, or a `role` and its `scope`");
    }

    #[test]
    fn faults_of_a_table_are_shown_at_their_place() {
        let problems = read_cases(
            "cases.yaml",
            r#"cases:
  - { role: user, service: files, tol: a, expect: allow }
  - { service: files, tool: a, expect: maybe }
  - { role: user, service: files, tool: a, request: GET /, expect: allow }
  - { role: user, service: files, tool: a, body: {}, expect: allow }
  - { role: user, service: files, tool: a, args: '{"a":1,"a":2}', expect: allow }
  - { role: user, service: files, tool: a, now: noon, expect: allow }
"#,
        );
        let said: Vec<_> =
            problems.unwrap_err().into_iter().map(|p| format!("{}: {}", p.place.line, p.message)).collect();
        assert_eq!(
            said,
            [
                "2: unknown key `tol`; did you mean `tool`?",
                "3: nobody asks; name an `agent`, or a `role`",
                "3: `expect` must be allow, hold or deny",
                "4: a case names one of tool, resource, prompt and request",
                "5: `body` goes with `request`",
                "6: `args`: this cannot be read as JSON: duplicate key `a` at byte 7",
                "7: `noon` is no time; write for example 2026-11-23T14:00:00Z",
            ]
        );
        assert!(
            read_cases("c", "cases: []").is_err()
                && read_cases("c", "[]").is_err()
                && read_cases("c", "x: 1").is_err()
        );
    }
}
