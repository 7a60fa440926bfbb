//! A small world for the tests of this module.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::parse;
use crate::{
    agent::{Agent, AgentState},
    names::{AgentName, RoleName, ServiceName},
    service::{HttpUpstream, Network, Pins, RefusalForm, Service, UnknownMethods, Upstream, UpstreamUrl},
    world::{Revision, World},
};

/// A Monday.
pub const NOON: &str = "2026-11-23T12:00:00Z";

/// A world with this policy and these services; the one called `lenient` lets unknown methods pass.
pub fn world(policy: &str, services: &[&str]) -> World {
    let (policy, _) = parse("policy.yaml", policy).unwrap_or_else(|problems| panic!("{problems:?}"));
    let services: HashMap<_, _> =
        services.iter().map(|name| (service_name(name), Arc::new(service(name)))).collect();
    World {
        revision: Revision(1),
        confirmed_at: Duration::ZERO,
        policy: Arc::new(policy),
        services: Arc::new(services),
        tools: Arc::default(),
        agents: Arc::default(),
        credentials: Arc::default(),
        keys: Arc::default(),
        kill: None,
    }
}

pub fn agent(role: &str, scope: &[&str]) -> Agent {
    Agent {
        name: AgentName::parse("tester").unwrap(),
        role: RoleName::parse(role).unwrap(),
        scope: scope.iter().map(|name| service_name(name)).collect(),
        state: AgentState::Active,
        created_at: "2026-11-23T00:00:00Z".parse().unwrap(),
    }
}

pub fn service_name(name: &str) -> ServiceName {
    ServiceName::parse(name).unwrap()
}

fn service(name: &str) -> Service {
    let url = UpstreamUrl::parse("https://upstream.test/mcp").unwrap();
    Service {
        name: service_name(name),
        upstream: Upstream::Http(HttpUpstream { url, network: Network::Public, ca_pem: None }),
        unknown_methods: if name == "lenient" { UnknownMethods::Pass } else { UnknownMethods::Refuse },
        refusals: RefusalForm::Error,
        trust_annotations: false,
        pins: Pins::default(),
        credentials: Vec::new(),
        documentation: None,
    }
}
