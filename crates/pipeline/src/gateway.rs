//! What the walk needs, gathered once at start-up.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use counters::Counters;
use domain::{
    clock::Clock,
    names::{AgentName, CallId, ServiceName},
    service::Service,
    stop::Fault,
};
use jiff::Timestamp;
use store::Store;
use tokio::sync::watch;
use vault::Pepper;

use crate::{
    approvals::Approvals,
    arrival::{Arrival, Presented},
    budget::BodyBudget,
    credentials::Credentials,
    freshness::Freshness,
    gates::g70_record::Recording,
    idempotency::IdempotencyKeys,
    issuers::Issuers,
    lists::Lists,
    recorder::Recorder,
    risk::Risk,
    session::SessionTokens,
    timings::Timings,
    tools::Tools,
    traces::{Trace, Traces},
    upstreams::Upstreams,
};

/// Everything a walk reads or writes, shared by all walks.
pub struct Gateway {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Makes call ids.
    pub ids: CallIds,
    /// Hashes presented keys.
    pub pepper: Pepper,
    /// Whose access tokens are taken beside keys.
    pub issuers: Arc<Issuers>,
    /// Keys, agents, services and policy.
    pub freshness: Arc<Freshness>,
    /// What survives a restart.
    pub store: Arc<Store>,
    /// The limits' state.
    pub counters: Arc<Counters>,
    /// What is learned of tools.
    pub tools: Arc<Tools>,
    /// The trail.
    pub recorder: Arc<Recorder>,
    /// The services' ends.
    pub upstreams: Upstreams,
    /// Session ids of the older protocol.
    pub sessions: SessionTokens,
    /// Calls that are made under an idempotency key.
    pub idempotency: Arc<IdempotencyKeys>,
    /// What upstreams have said about their lists.
    pub lists: Arc<Lists>,
    /// How risky calls are.
    pub risk: Risk,
    /// Held calls.
    pub approvals: Arc<Approvals>,
    /// What goes into requests.
    pub credentials: Credentials,
    /// Bodies that are held.
    pub bodies: BodyBudget,
    /// Sizes and times.
    pub bounds: Bounds,
    /// What the trail keeps.
    pub recording: Recording,
    /// Where the time of calls goes.
    pub timings: Arc<Timings>,
    /// Where their spans go; `None`: calls are not traced.
    pub traces: Option<Arc<Traces>>,
    /// Turns true when the gateway is about to stop: calls finish, streams that only listen end.
    pub stopping: watch::Receiver<bool>,
}

/// Sizes and times that hold for every call.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The largest body, each way (bytes).
    pub body_bytes_max: u64,
    /// Until the first byte of an answer, and until the last one where it is no stream.
    pub upstream_timeout: Duration,
}

impl Gateway {
    /// Whether a key or a token is good now, as far as the current snapshot knows. For bounds on what is read, not
    /// for decisions: those belong to gate 10.
    pub async fn knows(&self, presented: &Presented) -> bool {
        if let Presented::Token(token, resource) = presented {
            // What is wrong is found out again in gate 10; here the issuer's keys are fetched, should they be missing.
            let _ = self.issuers.examine(token, resource, self.clock.now()).await;
        }
        self.agent_of(presented).is_some()
    }

    /// Whose key or token this is, as far as is known without asking anybody: to find what is theirs, not for
    /// decisions.
    #[must_use]
    pub fn agent_of(&self, presented: &Presented) -> Option<AgentName> {
        let (world, now) = (self.freshness.current(), self.clock.now());
        let agent = match presented {
            Presented::One(key) => world.holder(&self.pepper.mac(key), now).ok()?.1,
            Presented::Token(token, resource) => {
                world.active(&self.issuers.recall(token, resource, now)?.grant.agent)?
            }
            Presented::Missing | Presented::Misshapen | Presented::Several => return None,
        };
        Some(agent.name.clone())
    }

    /// The trace of a call that has just arrived, where calls are traced.
    pub(crate) fn begin_trace(&self, arrival: &Arrival) -> Option<Trace> {
        self.traces.as_ref()?.begin(&arrival.call, &arrival.headers, arrival.at.wall)
    }

    /// What agents may read about these services, by name.
    ///
    /// # Errors
    /// [`Fault::StoreUnavailable`].
    pub async fn documentation(
        &self,
        services: &[Arc<Service>],
    ) -> Result<BTreeMap<ServiceName, String>, Fault> {
        let mut texts = BTreeMap::new();
        for service in services.iter().filter(|service| service.documentation.is_some()) {
            let text = self.store.documentation(&service.name).await;
            if let Some(text) = text.map_err(|_| Fault::StoreUnavailable)? {
                texts.insert(service.name.clone(), text);
            }
        }
        Ok(texts)
    }

    /// Whether the gateway could let a call through now: fresh authorization and a trail that can be written.
    ///
    /// # Errors
    /// The [`Fault`] that calls would meet.
    pub async fn ready(&self) -> Result<(), Fault> {
        self.freshness.world(self.clock.now()).await?;
        if self.counters.shared().is_some_and(|server| !server.admits()) {
            return Err(Fault::CountersUnavailable);
        }
        if self.recorder.is_healthy() { Ok(()) } else { Err(Fault::AuditUnavailable) }
    }
}

/// Makes call ids that no other call of this process has, and that tell nothing about how many there were.
pub struct CallIds {
    process: u32,
    stride: u32,
    next: AtomicU32,
}

impl CallIds {
    /// Ten of the random bits tell processes apart, the others scatter the counter.
    #[must_use]
    pub fn new(random: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = random;
        Self {
            process: u32::from_be_bytes([a, b, c, d]) & 0x3ff,
            // An odd stride visits every value of the counter's 20 bits before it repeats one.
            stride: u32::from_be_bytes([e, f, g, h]) | 1,
            next: AtomicU32::new(u32::from_be_bytes([i, j, k, l])),
        }
    }

    /// A new id.
    #[must_use]
    pub fn next(&self, at: Timestamp) -> CallId {
        let counter = self.next.fetch_add(1, Ordering::Relaxed).wrapping_mul(self.stride) & 0xf_ffff;
        CallId::new(u64::try_from(at.as_second()).unwrap_or(0), (self.process << 20) | counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_makes_a_million_different_ids_within_one_second() {
        let ids = CallIds::new([7, 1, 9, 200, 3, 5, 8, 13, 255, 255, 255, 250]);
        let all: std::collections::HashSet<_> =
            (0..1 << 20).map(|_| ids.next(Timestamp::UNIX_EPOCH)).collect();
        assert_eq!(all.len(), 1 << 20);
    }
}
