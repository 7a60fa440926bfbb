//! Children without a client: an approved call goes to the child of its session while that runs, else to one that is
//! started for it alone and stopped afterwards. The call itself is written once.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::stop::{Refusal, Stop};
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::time::timeout;
use wire::{Limits, Message};

use super::{
    McpStdio, Seat,
    child::Child,
    new_number, post,
    router::{Owner, Reader},
};
use crate::{
    arrival::Exchange,
    gateway::Bounds,
    session::Session,
    upstreams::{
        Answer, Outbound,
        detached::{INITIALIZED, initialize, negotiated, no_session, unsent},
    },
};

impl McpStdio {
    /// Sends an approved call whose client is not there, once, and returns the response alone. What the child asks
    /// meanwhile is declined.
    ///
    /// A handshake takes at most half of the time-out.
    pub(in crate::upstreams) async fn exchange_detached(
        &self,
        outbound: Outbound<'_>,
        bounds: &Bounds,
    ) -> Result<Answer, Stop> {
        let Exchange::Post(message) = outbound.exchange else {
            // Nothing else of MCP is ever held.
            return Err(Refusal::MethodNotAllowed.into());
        };
        let (key, modern) = (outbound.caller.key, outbound.modern);
        // Stops a child that was started for this call, however this ends.
        let mut _started = None;
        let (child, is_new) = if modern && !self.definition.share {
            (self.seated(Seat::Key(key))?, false)
        } else if let Some(child) = self.child_of(outbound.session.as_ref()) {
            (child, false)
        } else if self.definition.share {
            (self.seated(Seat::Shared)?, !modern)
        } else {
            let number = new_number();
            let child = self.start(&mut self.lock(), Seat::Call(number), number)?;
            _started = Some(Started { stdio: self, child: Arc::clone(&child) });
            (child, true)
        };
        child.note_activity(self.clock.now().monotonic);
        let owner = Owner { key, session: outbound.session };
        if is_new {
            greet(&child, &owner, &outbound.headers, bounds.upstream_timeout / 2).await?;
        }
        let answer = post(&child, &message, owner, modern, Reader::Detached).await;
        child.note_activity(self.clock.now().monotonic);
        Ok(Answer { response: answer?, session: None })
    }

    /// The child of a session, while it runs.
    fn child_of(&self, session: Option<&Session>) -> Option<Arc<Child>> {
        let Some(Session::Child(number)) = session else { return None };
        let seat = if self.definition.share { Seat::Shared } else { Seat::Session(*number) };
        let children = self.lock();
        children.running.get(&seat).filter(|child| child.number() == *number && !child.is_dead()).cloned()
    }
}

/// A child that was started for one call. It is stopped when this is dropped.
struct Started<'a> {
    stdio: &'a McpStdio,
    child: Arc<Child>,
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        // One that has ended by itself keeps its seat until it is buried: its early death must count.
        if !self.child.router().is_closed() {
            self.stdio.forget(Seat::Call(self.child.number()));
            self.child.stop();
        }
    }
}

/// Opens a session. Nothing that goes wrong here has to do with the call.
async fn greet(
    child: &Arc<Child>,
    owner: &Owner,
    headers: &HeaderMap,
    patience: Duration,
) -> Result<(), Stop> {
    let say = async |text: String| {
        let limits = Limits::of_bytes(text.len());
        let message = Message::read(text.into(), &limits).map_err(|error| no_session(&error.to_string()))?;
        let answer = post(child, &message, owner.clone(), false, Reader::Detached).await?;
        let body = answer.into_body().collect().await.map_err(|broken| no_session(&broken.to_string()))?;
        Ok::<Bytes, Stop>(body.to_bytes())
    };
    let handshake = async {
        let answer = say(initialize(headers)).await?;
        negotiated(answer).ok_or_else(|| no_session("it did not say which version it speaks"))?;
        say(INITIALIZED.to_owned()).await
    };
    match timeout(patience, handshake).await {
        Ok(done) => done.map(|_| ()).map_err(unsent),
        Err(_) => Err(no_session(&format!("no answer within {} s", patience.as_secs())).into()),
    }
}

#[cfg(test)]
mod tests;
