//! What the demo plays on: a temporary home, the upstream, and a gateway in this process.

use std::{
    collections::HashSet,
    fmt,
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use admin::{ActingOperator, Actor, Admin, NewKey};
use anyhow::Context as _;
use domain::{
    approval::{Approval, Status},
    audit::Kind,
    names::{AgentName, CredentialName, RoleName, ServiceName},
    operator::{Email, OperatorRole},
    service::parse_declarations,
};
use store::{ApprovalQuery, Query, Store, StoreOptions};
use vault::{RootKey, Secret};

use super::{billing::Billing, notes, password::password, stopped, temporary_home, upstream::Upstream};
use crate::{
    commands::{Context, ends::Ends},
    settings::{Settings, Sources},
    wiring::{self, Running},
};

/// What the demo's agent may do.
const POLICY: &str = "\
version: 1
roles:
  user:
    allow:
      - { service: notes, tools: [\"list_*\", \"read_*\", \"search_*\"] }
      - { service: billing, requests: [\"GET /v1/**\"] }
    approve:
      - { name: big refunds, service: billing, requests: [\"POST /v1/refunds\"], when: args.amount > 1000 }
      - { service: billing, requests: [\"POST /v1/refunds\"], when: args.amount == 5002, decide_within: 1s }
deny:
  - { service: \"*\", tools: [\"delete_*\"] }
limits:
  per_tool: 20/1h
";

/// A home, an upstream and a gateway, all of them real.
pub(super) struct Stage {
    pub(super) notes: Upstream,
    pub(super) billing: Billing,
    secret: String,
    home: PathBuf,
    running: Running,
    key: String,
    /// The password of the demo's one operator.
    password: String,
}

/// The demo's operator.
const OWNER: &str = "owner@demo.test";
/// How long something that must happen soon is waited for.
const SOON: Duration = Duration::from_secs(20);

impl Stage {
    pub(super) async fn set(context: &Context, ends: &mut Ends) -> anyhow::Result<Self> {
        let home = temporary_home(vault::random::bytes());
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&home)
            .with_context(|| format!("no temporary home can be made ({}); check TMPDIR", home.display()))?;
        let set = tokio::select! {
            set = Self::set_in(&home, context) => set,
            () = ends.next() => Err(stopped()),
        };
        match set {
            Ok(stage) => Ok(stage),
            Err(error) => {
                // Half a home is of no use to anybody.
                let _ = std::fs::remove_dir_all(&home);
                Err(error)
            }
        }
    }

    async fn set_in(home: &Path, context: &Context) -> anyhow::Result<Self> {
        let cannot_listen = "the demo's upstreams cannot listen on 127.0.0.1";
        let secret = random_secret(vault::random::bytes());
        let notes = notes::start().await.context(cannot_listen)?;
        let billing = Billing::start(&secret).await.context(cannot_listen)?;
        let text = format!(
            "gateway: {{ listen: \"{}\", hold: 200ms }}\nconsole: {{ listen: \"{}\" }}\n",
            free_address(8484)?,
            free_address(8485)?
        );
        std::fs::write(home.join("toolgate.yaml"), &text)?;
        std::fs::write(home.join("policy.yaml"), POLICY)?;
        let file = Some(("toolgate.yaml", text.as_str()));
        let choices = Sources { file, dotenv: None, environment: Vec::new(), set: &[] }.choose()?;
        let settings = Settings::build(&choices, home)?;
        RootKey::create(&home.join("vault.key"))?;

        let (policy, _) = wiring::read_policy(&settings.policy_file, &context.invocation)?;
        let running = wiring::start(&settings, &context.invocation, policy, None, Box::new(|_| ())).await?;
        let now = context.now().wall;
        let admin = Admin::new(Arc::clone(&running.store));
        let actor = Actor::os_user("demo");
        let services = format!(
            "services:\n  - {{ name: notes, kind: mcp, url: \"{}/mcp\", network: private }}\n  \
             - {{ name: billing, kind: http, url: \"{}\", network: private, \
             credentials: [{{ name: secret_key, kind: bearer }}] }}\n",
            notes.origin(),
            billing.upstream.origin()
        );
        let declared = parse_declarations("services.yaml", &services)
            .map_err(|faults| anyhow::anyhow!("the demo's own service is not accepted: {faults:?}"))?;
        let declared: Vec<_> = declared.into_iter().map(|declared| declared.service.into()).collect();
        admin.apply_services(&actor, now, declared).await?;
        let (service, name) = ("billing", CredentialName::parse("secret_key")?);
        let value = Secret::new(secret.clone().into_bytes());
        admin.set_credential(&actor, now, &running.vault, (service, &name), None, &value).await?;
        let new = NewKey {
            agent: AgentName::parse("demo-agent")?,
            role: Some(RoleName::parse("user")?),
            scope: Some([ServiceName::parse("notes")?, ServiceName::parse("billing")?].into()),
            expires_at: None,
        };
        let created = admin.create_key(&actor, now, &running.gateway.pepper, new).await?;
        let key = created.key.reveal().to_owned();
        let password = password(vault::random::bytes());
        admin.create_operator(&actor, now, Email::parse(OWNER)?, OperatorRole::Owner, &password).await?;
        // The gateway would notice within a moment; the demo does not wait.
        running.gateway.freshness.refresh().await?;
        Ok(Self { notes, billing, secret, home: home.to_owned(), running, key, password })
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.running.gateway_address
    }

    /// Where the console is, and who logs in there with which password.
    pub(super) fn console(&self) -> (SocketAddr, &str, &str) {
        (self.running.console_address, OWNER, &self.password)
    }

    /// How many held calls wait for a person.
    pub(super) async fn waiting(&self) -> anyhow::Result<u64> {
        Ok(self.admin().count_waiting().await?)
    }

    /// An endpoint of the gateway.
    pub(super) fn url(&self, endpoint: &str) -> String {
        format!("http://{}/{endpoint}", self.running.gateway_address)
    }

    /// Where the notes really are.
    pub(super) fn notes_address(&self) -> String {
        format!("{}/mcp", self.notes.origin())
    }

    /// What only the HTTP API and the vault should ever see.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// How often the secret is in an answer, or in any file of the home: store, trail, settings.
    pub(super) fn secret_elsewhere(&self, answer: &[u8]) -> anyhow::Result<usize> {
        let count = |bytes: &[u8]| memchr::memmem::find_iter(bytes, self.secret.as_bytes()).count();
        let mut found = count(answer);
        for entry in std::fs::read_dir(&self.home)? {
            let path = entry?.path();
            if path.is_file() {
                found += count(&std::fs::read(&path)?);
            }
        }
        Ok(found)
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.running.store))
    }

    /// The operator, who has proven who they are.
    pub(super) async fn owner(&self, context: &Context) -> anyhow::Result<ActingOperator> {
        Ok(self.admin().sign_in(context.now().wall, &Email::parse(OWNER)?, &self.password).await?)
    }

    /// The held call that waits for a decision, the newest if there are several.
    pub(super) async fn pending(&self) -> anyhow::Result<Option<Approval>> {
        let query = ApprovalQuery { status: Some(Status::Pending), ..ApprovalQuery::default() };
        Ok(self.running.store.approvals(&query, 1).await?.pop())
    }

    /// A held call once it has come to its end.
    pub(super) async fn ended(&self, approval: &Approval) -> anyhow::Result<Approval> {
        let (agent, id) = (&approval.held.agent, &approval.held.id);
        let gateway = &self.running.gateway;
        let ended = gateway.approvals.wait(agent, id, SOON, gateway.stopping.clone()).await;
        ended.map_err(|stop| anyhow::anyhow!("the held call is lost: {stop:?}"))
    }

    /// Verifies the trail, then alters one byte of a copy of the store and verifies that.
    pub(super) async fn prove_the_trail(&self, context: &Context) -> anyhow::Result<Proof> {
        let calls = self.forwarded_calls().await?;
        let sound = self.running.store.verify(|_, _| ()).await?;
        let found_at = self.tamper_with_a_copy(context).await?;
        Ok(Proof { events: sound.events, sound: sound.ok, calls, found_at })
    }

    /// Calls that were sent, as the trail tells: an intent and an outcome each. The last ones are written with the next
    /// group, a moment after their answers: they are waited for, at most two seconds.
    async fn forwarded_calls(&self) -> anyhow::Result<usize> {
        let mut both = 0;
        for _ in 0..100 {
            let intents = self.calls_with(Kind::Intent).await?;
            both = self.calls_with(Kind::Outcome).await?.intersection(&intents).count();
            if both == intents.len() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(both)
    }

    async fn calls_with(&self, kind: Kind) -> anyhow::Result<HashSet<String>> {
        let query = Query { kind: Some(kind.as_str().into()), limit: Some(10_000), ..Query::default() };
        Ok(self.running.store.events(&query).await?.into_iter().filter_map(|row| row.call_id).collect())
    }

    async fn tamper_with_a_copy(&self, context: &Context) -> anyhow::Result<Option<i64>> {
        let folder = self.home.join("tampered");
        std::fs::create_dir(&folder)?;
        let copy = folder.join("toolgate.db");
        for suffix in ["", "-wal"] {
            let name = format!("toolgate.db{suffix}");
            std::fs::copy(self.home.join(&name), folder.join(&name))?;
        }
        let options = StoreOptions { place: copy.clone().into(), sync: store::Sync::Os, create: None };
        // Opening and closing brings the log into the file, where the byte is altered.
        Store::open(&options).await?.close().await;
        let mut bytes = std::fs::read(&copy)?;
        let victim = b"\"action\":\"delete_note\"";
        // SQLite may leave stale copies of a record in unused parts of its pages: alter every one.
        let places: Vec<usize> = memchr::memmem::find_iter(&bytes, victim).collect();
        anyhow::ensure!(!places.is_empty(), "the refused deletion is not in the store");
        for place in places {
            if let Some(byte) = bytes.get_mut(place + victim.len() - 2) {
                *byte = b'a';
            }
        }
        std::fs::write(&copy, bytes)?;

        let store = Store::open(&options).await?;
        let broken = store.verify(|_, _| ()).await?.first_broken;
        store.close().await;
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("{} cannot be removed", context.invocation.path(&folder)))?;
        Ok(broken.map(|broken| broken.seq))
    }

    /// Stops the gateway and removes the home.
    pub(super) async fn clear(self) -> anyhow::Result<()> {
        let home = self.keep().await;
        std::fs::remove_dir_all(&home)
            .with_context(|| format!("the demo's home cannot be removed ({}); remove it", home.display()))
    }

    /// Stops the gateway and leaves the home.
    pub(super) async fn keep(self) -> PathBuf {
        if let Err(error) = self.running.stop().await {
            tracing::warn!("{error}");
        }
        self.home
    }
}

/// What was found out about the trail.
pub(super) struct Proof {
    pub(super) events: u64,
    pub(super) calls: usize,
    sound: bool,
    found_at: Option<i64>,
}

impl Proof {
    pub(super) fn holds(&self, calls: u64) -> bool {
        self.sound && self.calls as u64 == calls && self.found_at.is_some()
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.sound { "verified; " } else { "does not verify; " })?;
        match self.found_at {
            Some(seq) => write!(f, "1 altered byte found at event {seq}"),
            None => f.write_str("an altered byte was not found"),
        }
    }
}

/// A secret that was never used before.
fn random_secret(random: [u8; 16]) -> String {
    let mut secret = String::from("sk_demo_");
    domain::audit::push_hex(&mut secret, &random);
    secret
}

/// The port that people expect, else a free one.
fn free_address(port: u16) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", port)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    Ok(listener.context("no port of 127.0.0.1 is free")?.local_addr()?)
}
