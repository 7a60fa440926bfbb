//! What an operator says of an issuer: whom its tokens stand for, and what they must say.

use std::{collections::BTreeMap, fmt};

use sha2::{Digest, Sha256};
use wire::{Raw, json::Kind};

use crate::{names::AgentName, packed::push_bytes};

/// The terms on which the tokens of one issuer are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Its identifier, exactly as `iss` says it.
    pub issuer: String,
    /// Whose token is whose.
    pub agent: AgentRule,
    /// What `aud` must name at every endpoint; `None`: the URL of the endpoint that is asked.
    pub audience: Option<String>,
    /// The scope that a token must have.
    pub scope: Option<String>,
}

/// Which agent a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentRule {
    /// All of the issuer's tokens for the same one.
    Fixed(AgentName),
    /// The one that a claim names, by the agent's own name or by a name in a table.
    Claim {
        /// The claim: a text, or a list of which exactly one names an agent.
        claim: String,
        /// What the claim says, to whose it is; `None`: it says the agent's name.
        names: Option<BTreeMap<String, AgentName>>,
    },
}

/// Tells issuers and their terms apart: with other terms it is another one. What was held under it is not sent then.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IssuerId(pub [u8; 32]);

impl fmt::Debug for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssuerId(…)")
    }
}

impl Terms {
    /// A hash of all of them.
    #[must_use]
    pub fn id(&self) -> IssuerId {
        let Self { issuer, agent, audience, scope } = self;
        let mut bytes = Vec::new();
        let mut push = |text: &str| push_bytes(&mut bytes, text.as_bytes());
        push("toolgate issuer v1");
        push(issuer);
        for optional in [audience, scope] {
            push(if optional.is_some() { "some" } else { "none" });
            push(optional.as_deref().unwrap_or_default());
        }
        match agent {
            AgentRule::Fixed(agent) => ["fixed", agent.as_str()].into_iter().for_each(push),
            AgentRule::Claim { claim, names } => {
                push(if names.is_some() { "table" } else { "claim" });
                push(claim);
                for (value, agent) in names.iter().flatten() {
                    push(value);
                    push(agent.as_str());
                }
            }
        }
        IssuerId(Sha256::digest(&bytes).into())
    }
}

impl AgentRule {
    /// The agent that these claims stand for; `None` when there is none, or more than one.
    pub(super) fn agent(&self, claims: Raw<'_>) -> Option<AgentName> {
        let (claim, names) = match self {
            Self::Fixed(agent) => return Some(agent.clone()),
            Self::Claim { claim, names } => (claim, names),
        };
        let value = claims.get(claim)?;
        let named = |text: &str| match names {
            Some(names) => names.get(text).cloned(),
            None => AgentName::parse(text).ok(),
        };
        match value.kind() {
            Kind::String => named(&value.as_str()?),
            Kind::Array => {
                let mut found = value.elements().filter_map(|element| named(&element.as_str()?));
                let first = found.next()?;
                found.all(|other| other == first).then_some(first)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(agent: AgentRule) -> Terms {
        Terms { issuer: "https://login.example.com".into(), agent, audience: None, scope: None }
    }

    fn rule(names: Option<&[(&str, &str)]>) -> AgentRule {
        let name = |&(value, agent): &(&str, &str)| (value.to_owned(), AgentName::parse(agent).unwrap());
        AgentRule::Claim { claim: "who".into(), names: names.map(|names| names.iter().map(name).collect()) }
    }

    #[test]
    fn exactly_one_agent_is_named_or_none() {
        let table = [("8f1c", "laptop"), ("readers", "reader"), ("also-readers", "reader")];
        for (names, claims, agent) in [
            (None, r#"{"who":"laptop"}"#, Some("laptop")),
            (None, r#"{"who":"Laptop"}"#, None),
            (None, r#"{"who":["laptop"]}"#, Some("laptop")),
            (None, r#"{"who":["laptop","other"]}"#, None),
            (None, r#"{"who":{"a":"laptop"}}"#, None),
            (None, r#"{"sub":"laptop"}"#, None),
            (Some(&table[..]), r#"{"who":"8f1c"}"#, Some("laptop")),
            (Some(&table), r#"{"who":"laptop"}"#, None),
            (Some(&table), r#"{"who":["everybody","readers","also-readers",7]}"#, Some("reader")),
            (Some(&table), r#"{"who":["readers","8f1c"]}"#, None),
            (Some(&[]), r#"{"who":"laptop"}"#, None),
        ] {
            let read = wire::json::read(claims.as_bytes(), &wire::Limits::of_bytes(1_000)).unwrap();
            let found = rule(names).agent(read);
            assert_eq!(found.as_ref().map(AgentName::as_str), agent, "{claims}");
        }
    }

    #[test]
    fn other_terms_are_another_issuer() {
        let laptop = AgentName::parse("laptop").unwrap();
        let fixed = terms(AgentRule::Fixed(laptop));
        let all = [
            fixed.clone(),
            Terms { issuer: "https://login.example.com/".into(), ..fixed.clone() },
            Terms { audience: Some("a".into()), ..fixed.clone() },
            Terms { scope: Some("a".into()), ..fixed.clone() },
            terms(rule(None)),
            terms(rule(Some(&[]))),
            terms(rule(Some(&[("a", "b")]))),
            terms(rule(Some(&[("a", "c")]))),
        ];
        let ids: std::collections::HashSet<_> = all.iter().map(Terms::id).collect();
        assert_eq!(ids.len(), all.len());
        assert_eq!(fixed.id(), fixed.clone().id());
    }
}
