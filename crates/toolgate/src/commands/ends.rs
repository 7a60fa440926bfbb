//! The signals that end a command which would go on for ever. Whoever listens has them from the beginning to the end,
//! so that none is lost between two waits and nothing is left half done.

use std::{future::poll_fn, task::Poll};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a command listens for.
pub struct Ends(Vec<Signal>);

impl Ends {
    /// SIGTERM and SIGINT, which is Ctrl-C.
    ///
    /// # Errors
    /// When the machine does not let signals be listened for.
    pub fn listen() -> anyhow::Result<Self> {
        Self::to(&[SignalKind::terminate(), SignalKind::interrupt()])
    }

    /// These and SIGHUP: for what nobody needs once its terminal is closed.
    ///
    /// # Errors
    /// When the machine does not let signals be listened for.
    pub fn listen_at_terminal() -> anyhow::Result<Self> {
        Self::to(&[SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()])
    }

    fn to(kinds: &[SignalKind]) -> anyhow::Result<Self> {
        let signals: std::io::Result<_> = kinds.iter().map(|kind| signal(*kind)).collect();
        Ok(Self(signals.context("signals cannot be listened for")?))
    }

    /// Returns with the next one.
    pub async fn next(&mut self) {
        poll_fn(|context| {
            let came = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if came { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
