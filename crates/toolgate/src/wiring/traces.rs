//! From the setting `telemetry.otlp` to spans that reach a collector.

use std::sync::Arc;

use anyhow::anyhow;
use domain::{clock::Clock, service::UpstreamUrl};
use pipeline::{
    dial::Dialler,
    traces::{Exporter, Traces},
};
use tokio::task::JoinHandle;

/// Where spans go, and the task that sends them. It ends when nobody holds the first any more and everything is sent.
type Tracing = (Arc<Traces>, JoinHandle<()>);

/// Starts to send, where there is a collector.
///
/// # Errors
/// One sentence when the collector can never be reached.
pub fn start(
    collector: Option<&UpstreamUrl>,
    dialler: &Dialler,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<Tracing>> {
    let Some(collector) = collector else { return Ok(None) };
    let (traces, inbox) = Traces::new(Arc::clone(clock), vault::random::bytes);
    let exporter = Exporter::new(collector, dialler, &traces, inbox)
        .map_err(|bad| anyhow!("traces cannot be sent: {bad} (telemetry.otlp); use another address"))?;
    Ok(Some((traces, tokio::spawn(exporter.run()))))
}
