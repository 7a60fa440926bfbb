//! Ends an open stream when its caller loses the right to it: key revoked, key or token expired, agent disabled,
//! service removed or taken out of its scope, role removed from the policy; when the kill switch is turned on; and
//! when the store does not confirm within the lease that none of this has happened.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use domain::{
    call::Action,
    clock::Clock,
    policy::{Args, Verdict, judge},
};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;

use super::{Broken, Flow};
use crate::{arrival::Caller, freshness::Freshness};

/// Ends the body with [`Broken::Stopped`], [`Broken::Withdrawn`] or [`Broken::Unconfirmed`] as soon as it may not go on.
pub(crate) struct Leash {
    inner: Flow,
    ended: Pin<Box<dyn Future<Output = Broken> + Send>>,
    stopping: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Leash {
    /// `stopping` is for streams that only listen: they have no end of their own, so they end when it turns true.
    pub(crate) fn new(
        inner: Flow,
        freshness: Arc<Freshness>,
        clock: Arc<dyn Clock>,
        caller: Caller,
        service: String,
        stopping: Option<watch::Receiver<bool>>,
    ) -> Self {
        let stopping = stopping.map(|mut stopping| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(async move {
                // An error means that nobody is left who could say so, which is the same.
                let _ = stopping.wait_for(|stopping| *stopping).await;
            })
        });
        Self { inner, ended: Box::pin(ended(freshness, clock, caller, service)), stopping }
    }
}

/// Resolves when `caller` may no longer reach `service`, with why.
async fn ended(freshness: Arc<Freshness>, clock: Arc<dyn Clock>, caller: Caller, service: String) -> Broken {
    let mut changes = freshness.subscribe();
    loop {
        let now = clock.now();
        let world = freshness.current();
        if world.check_kill_switch().is_err() {
            return Broken::Stopped;
        }
        if !freshness.is_confirmed(now) {
            return Broken::Unconfirmed;
        }
        let Ok((agent, end)) = caller.still(&world, now) else { return Broken::Withdrawn };
        if !matches!(judge(&world, agent, &service, &Action::Service, Args::Unknown), Verdict::Allow { .. }) {
            return Broken::Withdrawn;
        }
        let time_left = end.map(|end| end.duration_since(now.wall).unsigned_abs());
        let expiry = async {
            match time_left {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Broken::Withdrawn },
            () = expiry => {}
        }
    }
}

impl Body for Leash {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // The leash first: a stream that never pauses must not outrun it.
        if let Poll::Ready(broken) = self.ended.as_mut().poll(context) {
            return Poll::Ready(Some(Err(broken)));
        }
        if self.stopping.as_mut().is_some_and(|stopping| stopping.as_mut().poll(context).is_ready()) {
            self.inner = super::whole(Bytes::new());
            self.stopping = None;
            return Poll::Ready(None);
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
