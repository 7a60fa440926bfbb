//! A gateway that runs in this process, and how it is stopped.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use domain::audit::{Event, Kind};
use pipeline::Gateway;
use store::Store;
use tokio::{sync::watch, task::JoinHandle};
use vault::Vault;

/// How long requests under way are waited for when the gateway stops.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long what they leave behind may take after that to be sent and recorded.
const RECORD_MAX: Duration = Duration::from_secs(5);
/// How long the last spans may take to reach their collector.
const SPANS_MAX: Duration = Duration::from_secs(3);
/// How long children may take to end.
const CHILDREN_MAX: Duration = Duration::from_secs(7);

/// A gateway that runs in this process.
pub struct Running {
    /// Where agents knock; the real port where 0 was asked for.
    pub gateway_address: SocketAddr,
    /// Where people look.
    pub console_address: SocketAddr,
    /// The token of the link for the first operator, where there is none.
    pub welcome: Option<String>,
    /// Everything a walk uses.
    pub gateway: Arc<Gateway>,
    /// What survives restarts.
    pub store: Arc<Store>,
    /// What seals and opens.
    pub vault: Arc<Vault>,
    pub(super) leaving: watch::Sender<bool>,
    pub(super) shutdown_delay: Duration,
    pub(super) drain: watch::Sender<bool>,
    pub(super) listeners: Vec<JoinHandle<usize>>,
    pub(super) helpers: Vec<JoinHandle<()>>,
    pub(super) dispatcher: JoinHandle<()>,
    pub(super) recorder_task: JoinHandle<()>,
    pub(super) exporter: Option<JoinHandle<()>>,
}

/// How a stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections whose requests did not end in time.
    pub cut_off: usize,
    /// Held calls that wait for a decision; none as well when the store did not say.
    pub pending: u64,
}

impl Running {
    /// How long [`leave`](Self::leave) takes.
    #[must_use]
    pub fn shutdown_delay(&self) -> Duration {
        self.shutdown_delay
    }

    /// Says that this gateway is not ready any more, and waits until balancers have seen it. Requests are still taken.
    pub async fn leave(&self) {
        self.leaving.send_replace(true);
        tokio::time::sleep(self.shutdown_delay).await;
    }

    /// Stops: no new connections, requests under way finish within 30 s, children end, the trail is written out. It
    /// takes 45 s at most: units and manifests below `deploy` give it more, and [`leave`](Self::leave) its time before.
    ///
    /// # Errors
    /// When the last event could not be written.
    pub async fn stop(self) -> anyhow::Result<Stopped> {
        let Self { gateway, store, drain, listeners, helpers, dispatcher, recorder_task, exporter, .. } =
            self;
        drain.send_replace(true);
        let mut out_of_time = std::pin::pin!(tokio::time::sleep(DRAIN_MAX + RECORD_MAX));
        let mut cut_off = 0;
        for listener in listeners {
            cut_off += listener.await.unwrap_or(0);
        }
        // What is being sent is sent to its end.
        tokio::select! {
            biased;
            _ = dispatcher => {}
            () = &mut out_of_time => tracing::error!(
                "approved calls were still being sent when the gateway stopped; they become unknown"
            ),
        }
        for helper in helpers {
            helper.abort();
            // Aborted on purpose.
            let _ = helper.await;
        }
        if let Err(error) = gateway.tools.save(&store, gateway.clock.now().wall).await {
            tracing::warn!("what is known of tools could not be kept: {error}");
        }
        gateway.upstreams.stop(CHILDREN_MAX).await;
        gateway.credentials.settle().await;
        let told = system_event(&gateway, "gateway.stop").await;
        // Walks that outlived their connection hold the gateway until they are recorded. Even where the trail could not be
        // written just now, what is left is tried again.
        drop(gateway);
        tokio::select! {
            biased;
            _ = recorder_task => {}
            () = out_of_time => tracing::error!(
                "calls were still under way when the gateway stopped; the trail shows them as intents"
            ),
        }
        // The last spans; a collector that does not answer has had its time.
        if let Some(exporter) = exporter {
            let _ = tokio::time::timeout(SPANS_MAX, exporter).await;
        }
        told?;
        let pending = store.count_waiting().await.unwrap_or_default();
        if let Some(store) = Arc::into_inner(store) {
            store.close().await;
        }
        Ok(Stopped { cut_off, pending })
    }
}

/// Writes an event about the gateway itself, and waits until it is durable.
pub(super) async fn system_event(gateway: &Gateway, action: &str) -> anyhow::Result<()> {
    let mut event = Event::new(gateway.clock.now().wall, Kind::System);
    event.action = Some(action.into());
    let written = gateway.recorder.durable(event).await;
    written
        .map(|_| ())
        .map_err(|_| anyhow!("the trail cannot be written"))
        .with_context(|| "the trail cannot be written (store.url); check the store: toolgate doctor")
}
