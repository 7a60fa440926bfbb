//! The setting `gateway.issuers`: whose access tokens are taken for agents, and on which terms.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use domain::{
    names::AgentName,
    oauth::{AgentRule, Terms},
    service::{Network, UpstreamUrl},
    yaml::{Key, Node},
};

use super::entries::{Fault, fault, in_one_line, unknown, word};

/// More issuers are nobody's intention.
const ISSUERS_MAX: usize = 20;
/// More names in one table belong into the agents' own names.
const NAMES_MAX: usize = 1_000;
const KEYS: [&str; 8] = ["issuer", "agent", "agent_claim", "agents", "audience", "scope", "network", "ca"];
const EXAMPLE: &str = "write it like `[{issuer: https://login.example.com, agent_claim: client_id}]`";

/// One issuer, as it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// On which terms its tokens are taken.
    pub terms: Terms,
    /// The same identifier as an address.
    pub url: UpstreamUrl,
    /// Whether it may be on a private network.
    pub network: Network,
    /// The file with its trust anchor.
    pub ca: Option<PathBuf>,
}

impl Issuer {
    /// With a path that starts at `home`.
    #[must_use]
    pub fn in_home(self, home: &Path) -> Self {
        Self { ca: self.ca.map(|ca| home.join(ca)), ..self }
    }
}

/// As it is written in a settings file.
impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Terms { issuer, agent, audience, scope } = &self.terms;
        write!(f, "{{issuer: {issuer}")?;
        match agent {
            AgentRule::Fixed(agent) => write!(f, ", agent: {agent}")?,
            AgentRule::Claim { claim, names } => {
                write!(f, ", agent_claim: {claim}")?;
                if let Some(names) = names {
                    let names: Vec<_> =
                        names.iter().map(|(name, agent)| format!("{name:?}: {agent}")).collect();
                    write!(f, ", agents: {{{}}}", names.join(", "))?;
                }
            }
        }
        for (name, value) in [("audience", audience), ("scope", scope)] {
            if let Some(value) = value {
                write!(f, ", {name}: {value}")?;
            }
        }
        if let Some(ca) = &self.ca {
            write!(f, ", ca: {}", ca.display())?;
        }
        if self.network == Network::Private {
            f.write_str(", network: private")?;
        }
        f.write_str("}")
    }
}

/// Reads the list from the environment or `--set`: one line of YAML, which JSON is too.
///
/// # Errors
/// What is wrong and what to write instead.
pub fn parse(text: &str) -> Result<Vec<Issuer>, (String, String)> {
    in_one_line("gateway.issuers", "issuers", text, EXAMPLE, read)
}

/// Reads the list from the settings file.
///
/// # Errors
/// Every fault, with its place.
pub fn read(node: &Node) -> Result<Vec<Issuer>, Vec<Fault>> {
    let Some(list) = node.as_list() else {
        let what = format!("`gateway.issuers` is a list, this is {}", node.kind());
        return Err(vec![fault(node.place, what, EXAMPLE)]);
    };
    let (mut issuers, mut faults) = (Vec::<Issuer>::new(), Vec::new());
    if list.len() > ISSUERS_MAX {
        faults.push(fault(node.place, format!("there are more than {ISSUERS_MAX} issuers"), "name fewer"));
    }
    for entry in list {
        let Some(issuer) = issuer(entry, &mut faults) else { continue };
        if issuers.iter().any(|known| known.terms.issuer == issuer.terms.issuer) {
            let what = format!("the issuer `{}` was named before", issuer.terms.issuer);
            faults.push(fault(entry.place, what, "name it once; several agents are a claim, and `agents`"));
        }
        issuers.push(issuer);
    }
    if faults.is_empty() { Ok(issuers) } else { Err(faults) }
}

/// One entry; what is wrong with it is told.
fn issuer(entry: &Node, faults: &mut Vec<Fault>) -> Option<Issuer> {
    let Some(members) = entry.as_map() else {
        let what = format!("an issuer is a mapping, this is {}", entry.kind());
        faults.push(fault(entry.place, what, "write `{issuer: …, agent_claim: …}`"));
        return None;
    };
    let before = faults.len();
    let (mut url, mut agent, mut claim, mut names) = (None, None, None, None);
    let (mut audience, mut scope, mut ca, mut network) = (None, None, None, Network::Public);
    for (key, value) in members {
        match key.text.as_str() {
            _ if value.is_null() => {}
            "issuer" => url = address(value, faults),
            "agent" => agent = agent_name(value, faults),
            "agent_claim" => claim = text(key, value, faults),
            "agents" => names = table(value, faults),
            "audience" => audience = text(key, value, faults),
            "scope" => scope = scope_token(value, faults),
            "ca" => ca = text(key, value, faults).map(PathBuf::from),
            "network" => {
                if word(value, &["public", "private"], faults) == Some("private") {
                    network = Network::Private;
                }
            }
            _ => faults.push(unknown(key, &KEYS)),
        }
    }
    if faults.len() > before {
        return None;
    }
    let mut lacks = |what: &str, instead: &str| faults.push(fault(entry.place, what.to_owned(), instead));
    let rule = match (agent, claim) {
        (Some(agent), None) if names.is_none() => Some(AgentRule::Fixed(agent)),
        (None, Some(claim)) => Some(AgentRule::Claim { claim, names }),
        (Some(_), _) => {
            lacks(
                "an issuer has both `agent` and a claim",
                "keep `agent`, or `agent_claim` with its `agents`",
            );
            None
        }
        (None, None) => {
            lacks(
                "an issuer does not say whose its tokens are",
                "add `agent_claim: client_id`, or `agent: NAME`",
            );
            None
        }
    };
    let Some((issuer, url)) = url else {
        lacks("an entry has no `issuer`", "write it exactly as its tokens say it in `iss`");
        return None;
    };
    if !url.is_tls() && network == Network::Public {
        let what = format!("the issuer `{issuer}` is reached without TLS");
        let instead =
            "write `https://…`; one of your own on this machine or network takes `network: private`";
        faults.push(fault(entry.place, what, instead));
        return None;
    }
    Some(Issuer { terms: Terms { issuer, agent: rule?, audience, scope }, url, network, ca })
}

/// An issuer's identifier (RFC 8414 §2): a URL without query and fragment, kept exactly as it is written.
fn address(value: &Node, faults: &mut Vec<Fault>) -> Option<(String, UpstreamUrl)> {
    let written = value.as_text().unwrap_or_default();
    let wrong = match UpstreamUrl::parse(written) {
        Ok(url) if url.uri().query().is_none() && quotable(written) => {
            return Some((written.to_owned(), url));
        }
        Ok(_) => "it has a query, or a quotation mark",
        Err(bad) => bad.why(),
    };
    let what = format!("an `issuer` cannot be used: {wrong}");
    faults.push(fault(value.place, what, "write it like `https://login.example.com`"));
    None
}

fn agent_name(value: &Node, faults: &mut Vec<Fault>) -> Option<AgentName> {
    match AgentName::parse(value.as_text().unwrap_or_default()) {
        Ok(agent) => Some(agent),
        Err(bad) => {
            faults.push(fault(value.place, bad.to_string(), "name an agent; all: toolgate agents list"));
            None
        }
    }
}

/// What a claim says, to the agent's name.
fn table(value: &Node, faults: &mut Vec<Fault>) -> Option<BTreeMap<String, AgentName>> {
    let members = value.as_map().filter(|members| !members.is_empty() && members.len() <= NAMES_MAX);
    let Some(members) = members else {
        let what = format!("`agents` is a table of 1 to {NAMES_MAX} names");
        faults.push(fault(value.place, what, "write it like `{ada@example.com: laptop}`"));
        return None;
    };
    let named = |(key, value): &(Key, Node)| Some((key.text.clone(), agent_name(value, faults)?));
    // A name that is wrong has been told; half a table is no table.
    let table: Vec<_> = members.iter().map(named).collect();
    table.into_iter().collect()
}

fn text(key: &Key, value: &Node, faults: &mut Vec<Fault>) -> Option<String> {
    let text = value.as_text().filter(|text| !text.is_empty() && text.len() <= 512);
    if text.is_none() {
        let what = format!("`{}` is a text, this is {}", key.text, value.kind());
        faults.push(fault(value.place, what, "write one of 1 to 512 bytes"));
    }
    text.map(str::to_owned)
}

/// One scope (RFC 6749 §3.3).
fn scope_token(value: &Node, faults: &mut Vec<Fault>) -> Option<String> {
    let text = value.as_text().filter(|text| !text.is_empty() && text.len() <= 128 && quotable(text));
    if text.is_none() {
        let what = "`scope` is one word that a token must have among its scopes".to_owned();
        faults.push(fault(value.place, what, "write it like `toolgate`"));
    }
    text.map(str::to_owned)
}

/// Whether a text can stand in quotation marks in a header as it is.
fn quotable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::{super::sources::Sources, *};

    fn told(entry: &str) -> String {
        let text = format!("gateway:\n  issuers:\n    - {entry}\n");
        Sources { file: Some(("toolgate.yaml", &text)), ..Sources::default() }
            .choose()
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_issuer_reads_as_it_is_written() {
        for text in [
            "[{issuer: https://login.example.com/, agent_claim: client_id}]",
            "[{issuer: https://a.example/realms/x, agent: laptop, audience: https://gate.example.com, scope: tools}]",
            r#"[{issuer: http://127.0.0.1:9, agent_claim: sub, agents: {"8f1c": laptop}, ca: ca.pem, network: private}]"#,
        ] {
            let issuers = parse(text).unwrap();
            assert_eq!(format!("[{}]", issuers[0]), text);
        }
        assert_eq!(parse("[]").unwrap(), []);
        let json = r#"[{"issuer":"https://a.example","agent_claim":"roles","agents":{"r":"reader"}}]"#;
        let rule = &parse(json).unwrap()[0].terms.agent;
        assert!(
            matches!(rule, AgentRule::Claim { claim, names: Some(names) } if claim == "roles" && names.len() == 1)
        );
    }

    #[test]
    fn what_cannot_work_is_refused_at_its_place() {
        for (entry, part) in [
            ("{ isuer: https://a.example }", "3:9: error: unknown key `isuer`; did you mean `issuer`?"),
            ("{ issuer: https://a.example }", "does not say whose its tokens are"),
            ("{ agent_claim: sub }", "has no `issuer`"),
            ("{ issuer: https://a.example, agent: a, agent_claim: sub }", "both `agent` and a claim"),
            ("{ issuer: https://a.example, agent: a, agents: { x: y } }", "both `agent` and a claim"),
            ("{ issuer: https://a.example, agent: A B }", "is no agent name"),
            ("{ issuer: https://a.example, agent_claim: sub, agents: { x: Y } }", "is no agent name"),
            ("{ issuer: https://a.example, agent_claim: sub, agents: {} }", "a table of 1 to 1000 names"),
            ("{ issuer: https://a.example, agent_claim: sub, scope: a b }", "`scope` is one word"),
            ("{ issuer: https://a.example?x, agent_claim: sub }", "it has a query"),
            ("{ issuer: http://a.example, agent_claim: sub }", "without TLS"),
            ("{ issuer: https://a.example, agent_claim: sub, network: privat }", "did you mean `private`?"),
            ("{ issuer: [a], agent_claim: sub }", "an `issuer` cannot be used"),
            ("https://a.example", "an issuer is a mapping"),
            (
                "{ issuer: https://a.example, agent: a }\n    - { issuer: https://a.example, agent: b }",
                "was named before",
            ),
        ] {
            let told = told(entry);
            assert!(told.contains(part) && told.starts_with("toolgate.yaml:"), "{entry}: {told}");
        }
        assert!(parse("x").is_err() && parse("[{").is_err());
    }
}
