//! Spans on their way to a collector: OTLP over HTTP, in groups, through the one place that opens outbound sockets.

use std::{
    fmt,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    clock::Clock,
    service::{HttpUpstream, Network, UpstreamUrl},
};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use thiserror::Error;
use tokio::sync::mpsc;

use super::Traces;
use crate::dial::{Connector, DialError, Dialler, Versions};

/// The most spans in one request.
const GROUP_MAX: usize = 512;
/// How long spans wait for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What is read of its answer (bytes).
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How often a collector that does not answer is told of.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// What the base of a collector is followed by (OTLP 1.x, "OTLP/HTTP Request").
const TRACES_PATH: &str = "v1/traces";

/// Why spans cannot be sent anywhere.
#[derive(Debug, Error)]
pub enum BadCollector {
    /// Its address cannot be dialled.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Its address, or a variable of OpenTelemetry, cannot be used.
    #[error("{0}")]
    Unusable(String),
}

/// Sends spans to a collector.
pub struct Exporter {
    exporter: SpanExporter,
    /// Whoever makes spans holds their end of the channel; this one must not keep it open.
    traces: Weak<Traces>,
    clock: Arc<dyn Clock>,
    inbox: mpsc::Receiver<SpanData>,
}

impl Exporter {
    /// For the collector at `base`, to which `v1/traces` is added. Further headers, such as a key, come from
    /// `OTEL_EXPORTER_OTLP_HEADERS`, names of this process from `OTEL_RESOURCE_ATTRIBUTES`.
    ///
    /// # Errors
    /// [`BadCollector`].
    pub fn new(
        base: &UpstreamUrl,
        dialler: &Dialler,
        traces: &Arc<Traces>,
        inbox: mpsc::Receiver<SpanData>,
    ) -> Result<Self, BadCollector> {
        // The operator wrote down where it is, so a private network is fine.
        let upstream = HttpUpstream { url: base.clone(), network: Network::Private, ca_pem: None };
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(dialler.connector(&upstream, Versions::Http1, None)?);
        let unusable = |error: &dyn fmt::Display| BadCollector::Unusable(error.to_string());
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector(http))
            .with_endpoint(format!("{}/{TRACES_PATH}", base.to_string().trim_end_matches('/')))
            .with_timeout(ANSWER_WITHIN)
            .build()
            .map_err(|error| unusable(&error))?;
        let resource = Resource::builder()
            .with_service_name("toolgate")
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        exporter.set_resource(&resource.build());
        Ok(Self { exporter, traces: Arc::downgrade(traces), clock: Arc::clone(&traces.clock), inbox })
    }

    /// Sends until nobody makes spans any more. What a collector does not take is lost, and told.
    pub async fn run(mut self) {
        let mut told: Option<Duration> = None;
        let mut missed = 0;
        loop {
            let mut group = Vec::new();
            if self.inbox.recv_many(&mut group, GROUP_MAX).await == 0 {
                return;
            }
            let gather = async {
                while group.len() < GROUP_MAX {
                    let room = GROUP_MAX - group.len();
                    if self.inbox.recv_many(&mut group, room).await == 0 {
                        return;
                    }
                }
            };
            // No more in time: what is there goes.
            let _ = tokio::time::timeout(GATHER, gather).await;
            let spans = group.len() as u64;
            let why = self.exporter.export(group).await.err().map(|error| error.to_string());
            missed += self.traces.upgrade().map_or(0, |traces| traces.lost.swap(0, Ordering::Relaxed));
            missed += if why.is_some() { spans } else { 0 };
            let now = self.clock.now().monotonic;
            if missed > 0 && told.is_none_or(|told| now.saturating_sub(told) >= TELL_EVERY) {
                let why = why.as_deref().unwrap_or("it is slower than calls come");
                tracing::warn!("the collector did not get {missed} spans (telemetry.otlp): {why}");
                (told, missed) = (Some(now), 0);
            }
        }
    }
}

/// The way to the collector.
struct Collector(Client<Connector, Full<Bytes>>);

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let answer = self.0.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs()).into()),
        }
    }
}
