//! A real store and vault on a temporary folder, a clock that the test moves, and services with values.

use std::{collections::HashMap, sync::Arc};

use domain::{
    agent::{Agent, AgentState},
    audit::{Event, Kind},
    clock::Clock,
    credential::{CredentialKind, CredentialSlot},
    key::{KeyId, KeyMac, Proof},
    names::{AgentName, CredentialName, RoleName, ServiceName},
    policy::{self, Policy},
    service::{
        ApiUpstream, HttpUpstream, Network, OddPaths, Pins, RefusalForm, Service, UnknownMethods, Upstream,
        UpstreamUrl,
    },
    world::World,
};
use jiff::Timestamp;
use store::{Applied, Birth, Change, Entry, Store, StoreOptions, Sync};
use tempfile::TempDir;
use vault::{RootKey, Vault};

use super::super::{Credentials, label};
use crate::{arrival::Caller, clock::test_clock::TestClock, dial::Dialler, freshness::Freshness};

pub struct Bench {
    pub store: Arc<Store>,
    pub vault: Arc<Vault>,
    pub clock: Arc<TestClock>,
    pub credentials: Credentials,
    _folder: TempDir,
}

impl Bench {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::<TestClock>::default();
        let birth = Birth { install: [7; 16], now: clock.now().wall };
        let path = folder.path().join("toolgate.db");
        let options = StoreOptions { place: path.into(), sync: Sync::Os, create: Some(birth) };
        let store = Arc::new(Store::open(&options).await.unwrap());
        let (vault, _first) = Vault::birth(&RootKey::generate(), *store.install());
        let vault = Arc::new(vault);
        let credentials = another(&store, &vault, &clock);
        Self { store, vault, clock, credentials, _folder: folder }
    }

    /// Another gateway on the same store.
    pub fn another_gateway(&self) -> Credentials {
        another(&self.store, &self.vault, &self.clock)
    }

    /// An HTTP API with these slots, in the store and as the world has it.
    pub async fn api(&self, url: &str, slots: &[(&str, CredentialKind)]) -> Arc<Service> {
        let service = service(Upstream::Api(api(url)), slots);
        self.put(service.clone(), None).await;
        Arc::new(service)
    }

    pub async fn put(&self, service: Service, replaces: Option<i64>) {
        let keeps = service.credentials.iter().map(|slot| slot.name.clone()).collect();
        let change = Change::PutService { service, replaces, documentation: None, keeps };
        assert!(self.change(change).await);
    }

    /// Sets a value as an operator does; the version is one above the last.
    pub async fn set(&self, service: &Service, name: &str, value: &[u8]) -> bool {
        let name = CredentialName::parse(name).unwrap();
        let stored = self.store.credentials(&service.name).await.unwrap();
        let last = stored.into_iter().find(|one| one.name == name);
        let version = last.as_ref().map_or(1, |last| last.version + 1);
        let old = last.filter(|last| last.has_value).map(|last| last.version);
        let origin = service.upstream.origin();
        let sealed = self.vault.seal(&label(service, &origin, &name, version), value);
        let kind = service.credentials.iter().find(|slot| slot.name == name).unwrap().kind.clone();
        let (service, at) = (service.name.clone(), self.clock.now().wall);
        self.change(Change::PutCredential { service, origin, name, kind, version, replaces: old, sealed, at })
            .await
    }

    /// Makes the service another one; its values are dropped, as an operator's change of where they go does.
    pub async fn move_away(&self, service: Service) {
        let replaces = Some(self.store.load_services().await.unwrap()[0].revision);
        let keeps = std::collections::BTreeSet::new();
        assert!(self.change(Change::PutService { service, replaces, documentation: None, keeps }).await);
    }

    pub async fn change(&self, change: Change) -> bool {
        let event = Event::new(self.clock.now().wall, Kind::Operator);
        let applied = self.store.append(&[Entry { change: Some(change), event }]).await.unwrap();
        matches!(applied[..], [Applied::Done])
    }

    /// What keeps the world fresh, with the store as it is now.
    pub async fn freshness(&self) -> Arc<Freshness> {
        let (store, clock, vault) =
            (Arc::clone(&self.store), Arc::clone(&self.clock), Arc::clone(&self.vault));
        Freshness::load(store, clock, no_policy(), vault).await.unwrap()
    }

    /// The world as the store has it now.
    pub async fn world(&self) -> World {
        let snapshot = self.store.snapshot().await.unwrap();
        let services: HashMap<ServiceName, Arc<Service>> =
            snapshot.services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect();
        World {
            revision: snapshot.revision,
            confirmed_at: self.clock.now().monotonic,
            policy: no_policy(),
            services: Arc::new(services),
            tools: Arc::default(),
            agents: Arc::default(),
            credentials: Arc::new(snapshot.credentials),
            keys: Arc::default(),
            kill: snapshot.kill,
        }
    }
}

fn no_policy() -> Arc<Policy> {
    Arc::new(policy::parse("policy.yaml", "version: 1").unwrap().0)
}

fn another(store: &Arc<Store>, vault: &Arc<Vault>, clock: &Arc<TestClock>) -> Credentials {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    Credentials::new(Arc::clone(vault), Arc::clone(store), clock, Dialler::new())
}

/// Somebody who may ask.
pub fn caller() -> Caller {
    let agent = Agent {
        name: AgentName::parse("laptop").unwrap(),
        role: RoleName::parse("admin").unwrap(),
        scope: [ServiceName::parse("billing").unwrap()].into(),
        state: AgentState::Active,
        created_at: Timestamp::UNIX_EPOCH,
    };
    Caller {
        agent: Arc::new(agent),
        key: KeyId::parse("7kq2m9xd").unwrap(),
        proof: Proof::Key(KeyMac([0; 32])),
    }
}

pub fn service(upstream: Upstream, slots: &[(&str, CredentialKind)]) -> Service {
    let slot = |(name, kind): &(&str, CredentialKind)| CredentialSlot {
        name: CredentialName::parse(name).unwrap(),
        kind: kind.clone(),
    };
    Service {
        name: ServiceName::parse("billing").unwrap(),
        upstream,
        unknown_methods: UnknownMethods::Refuse,
        refusals: RefusalForm::Error,
        trust_annotations: false,
        pins: Pins::default(),
        credentials: slots.iter().map(slot).collect(),
        documentation: None,
    }
}

pub fn api(url: &str) -> ApiUpstream {
    ApiUpstream { http: upstream(url), stream: false, idempotency_header: None, odd_paths: OddPaths::Refuse }
}

pub fn upstream(url: &str) -> HttpUpstream {
    HttpUpstream { url: UpstreamUrl::parse(url).unwrap(), network: Network::Private, ca_pem: None }
}
