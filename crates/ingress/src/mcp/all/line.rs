//! How a member is reached for a client: in the client's own era where the member speaks it, otherwise in the other
//! one. A member of the older protocol gets a session that declares no capabilities, so it has nothing to ask.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    names::ServiceName,
    service::{Service, Upstream},
};
use http::{HeaderValue, Response};
use pipeline::{Exchange, session::OwnSession};
use wire::{
    Limits, Message, Raw,
    mcp::{Era, Version},
};

use super::{
    client::{Client, SESSION_ID, Unanswered, implementation, is_no_session},
    kept::{Line, Seat},
};

/// A session that was not used for so long is asked whether it is still there before a call goes out on it: nobody may
/// send a call twice because the first answer was 404.
const ASK_AFTER: Duration = Duration::from_secs(30);

/// How long a member may take to say whether it speaks the newest protocol.
const SAY_BY: Duration = Duration::from_secs(5);

/// The way to a member, for one request.
pub(super) struct Lease {
    client: Arc<Client>,
    pub(super) service: ServiceName,
    pub(super) line: Line,
    hold: Hold,
}

/// What is to be done about its session afterwards.
enum Hold {
    /// Nothing: there is none, or it was seen to.
    Nothing,
    /// It is the client's own, for all its requests.
    Seat(OwnSession, Arc<Seat>),
    /// It is for one request at a time: clients without sessions number their requests alike.
    Alone,
}

/// Why there is no way to a member.
pub(super) enum Closed {
    /// The gateway itself said no, or says what is wrong.
    Told(Box<Response<Bytes>>),
    /// The member does not open up. For operators.
    Shut(String),
    /// It does not speak the older protocol. For operators.
    Unspoken(String),
}

impl Lease {
    /// The answer is there: the session is good for the next request.
    pub(super) fn done(mut self) {
        if let Hold::Alone = std::mem::replace(&mut self.hold, Hold::Nothing) {
            let (holder, now) = (&self.client.holder, self.client.now());
            if let Some(too_many) =
                self.client.members().put_spare(holder, &self.service, self.line.clone(), now)
            {
                self.client.end(&self.service, &too_many);
            }
        }
    }

    /// The member knows the session no more.
    pub(super) fn lost(mut self) {
        if let Hold::Seat(own, seat) = std::mem::replace(&mut self.hold, Hold::Nothing) {
            self.client.members().forget(own.number, &self.service, &seat);
        }
    }

    /// Its request goes on whatever becomes of the client.
    pub(super) fn leave(&mut self) {
        if let Hold::Alone = self.hold {
            self.hold = Hold::Nothing;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The client has hung up, which cancels a request of the newest protocol: with its session it ends.
        if let Hold::Alone = self.hold {
            self.client.end(&self.service, &self.line);
        }
    }
}

impl Client {
    /// The way to a member. It may have to be opened first, which goes on when nobody waits for it any more.
    pub(super) async fn line(self: &Arc<Self>, service: &Arc<Service>) -> Result<Lease, Closed> {
        let (client, service) = (Arc::clone(self), Arc::clone(service));
        let opening = tokio::spawn(async move { client.lease(&service).await });
        opening.await.unwrap_or_else(|panicked| Err(Closed::Shut(panicked.to_string())))
    }

    async fn lease(self: &Arc<Self>, service: &Arc<Service>) -> Result<Lease, Closed> {
        if let Upstream::Api(_) = service.upstream {
            // What the gateway makes of it speaks every version.
            let version = self.own.map_or(Version::V2026_07_28, |own| own.version);
            return Ok(self.leased(service, stateless(version), Hold::Nothing));
        }
        let mut eras = self.members().eras(service);
        if self.era() == Era::Legacy && eras.legacy != Some(false) {
            match self.session_at(service).await {
                Err(Closed::Unspoken(why)) => {
                    tracing::debug!("`{}` opened no session: {why}", service.name);
                    eras = self.members().learn(service, |eras| eras.legacy = Some(false));
                }
                opened => return opened,
            }
        }
        let is_modern = match eras.modern {
            Some(known) => Some(known),
            None => self.is_modern(service).await?,
        };
        match self.era() {
            _ if is_modern == Some(true) => {
                Ok(self.leased(service, stateless(Version::V2026_07_28), Hold::Nothing))
            }
            Era::Modern => {
                let opened = self.session_at(service).await?;
                self.members().learn(service, |eras| eras.modern = Some(false));
                Ok(opened)
            }
            Era::Legacy => Err(Closed::Unspoken("it speaks no version that is spoken here".into())),
        }
    }

    /// A session with a member: the client's own where it has one with us, else one that nobody else uses now.
    async fn session_at(self: &Arc<Self>, service: &Arc<Service>) -> Result<Lease, Closed> {
        let name = &service.name;
        let Some(own) = self.own else {
            let (found, old) = self.members().take_spare(&self.holder, name, self.now());
            for line in old {
                self.end(name, &line);
            }
            let line = match found {
                Some((line, idle)) if idle <= ASK_AFTER || self.is_alive(name, &line).await => line,
                _ => self.greeted(service).await?,
            };
            return Ok(self.leased(service, line, Hold::Alone));
        };
        let (mut seat, idle) = self.members().seat(own.number, name, self.now());
        if let Some(line) = seat.line.get()
            && idle > ASK_AFTER
            && !self.is_alive(name, line).await
        {
            self.members().forget(own.number, name, &seat);
            seat = self.members().seat(own.number, name, self.now()).0;
        }
        let line = seat.line.get_or_try_init(|| self.greeted(service)).await?.clone();
        Ok(self.leased(service, line, Hold::Seat(own, seat)))
    }

    fn leased(self: &Arc<Self>, service: &Service, line: Line, hold: Hold) -> Lease {
        Lease { client: Arc::clone(self), service: service.name.clone(), line, hold }
    }

    async fn greeted(self: &Arc<Self>, service: &Arc<Service>) -> Result<Line, Closed> {
        let line = self.greet(&service.name).await?;
        self.members().learn(service, |eras| eras.legacy = Some(true));
        Ok(line)
    }

    /// Opens a session with a member (MCP 2025-11-25, lifecycle).
    async fn greet(self: &Arc<Self>, service: &ServiceName) -> Result<Line, Closed> {
        let version = self.own.map_or(Version::V2025_11_25, |own| own.version);
        let initialize = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{}}}}}"#,
            self.new_id(),
            implementation()
        );
        // The version is what this finds out.
        let mut line = Line { era: Era::Legacy, version: None, session: None };
        let answered = self.ask(service, &line, initialize).await?;
        let session = answered.head.headers.get(SESSION_ID).and_then(|token| token.to_str().ok());
        line.session = session.map(str::to_owned);
        let spoken = answered.result().and_then(|result| {
            let spoken = result.get("protocolVersion").and_then(Raw::as_str);
            let spoken = spoken.and_then(|version| HeaderValue::try_from(&*version).ok());
            spoken.ok_or_else(|| "it names no version".to_owned())
        });
        match spoken {
            Ok(spoken) => line.version = Some(spoken),
            Err(why) => {
                self.end(service, &line);
                let is_down = answered.head.status.is_server_error();
                return Err(if is_down { Closed::Shut(why) } else { Closed::Unspoken(why) });
            }
        }
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned();
        let status = self.ask(service, &line, initialized).await?.head.status;
        if status.is_success() {
            Ok(line)
        } else {
            Err(Closed::Shut(format!("it answered {} to `notifications/initialized`", status.as_u16())))
        }
    }

    /// Whether a session can still be used. A member that is too busy to say is taken at its word.
    async fn is_alive(&self, service: &ServiceName, line: &Line) -> bool {
        if line.session.is_none() {
            return true;
        }
        let ping = format!(r#"{{"jsonrpc":"2.0","id":{},"method":"ping"}}"#, self.new_id());
        match self.ask(service, line, ping).await {
            Ok(answered) => !answered.knows_no_session(),
            Err(Unanswered::Told(told)) => !is_no_session(told.status()),
            Err(Unanswered::Useless(_)) => true,
        }
    }

    /// Asks a member whether it speaks the newest protocol (MCP 2026-07-28, versioning). None when it does not say: some
    /// children of the older protocol are silent until they are greeted.
    async fn is_modern(&self, service: &Arc<Service>) -> Result<Option<bool>, Closed> {
        let discover = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"server/discover","params":{{"_meta":{{{}}}}}}}"#,
            self.new_id(),
            self.about
        );
        let line = stateless(Version::V2026_07_28);
        let asked = tokio::time::timeout(SAY_BY, self.ask(&service.name, &line, discover));
        let Ok(answered) = asked.await else { return Ok(None) };
        let answered = answered?;
        if answered.head.status.is_server_error() {
            return Err(Closed::Shut(format!("it answered {}", answered.head.status.as_u16())));
        }
        let is_modern = answered.result().is_ok_and(|result| {
            let mut versions = result.get("supportedVersions").into_iter().flat_map(Raw::elements);
            versions.any(|version| version.as_str().as_deref() == Some(Version::V2026_07_28.as_str()))
        });
        self.members().learn(service, |eras| eras.modern = Some(is_modern));
        Ok(Some(is_modern))
    }

    /// What we answer to a member that asks a client which is not to be asked.
    pub(super) fn decline(self: &Arc<Self>, lease: &Lease, answer: String) {
        let limits = Limits::of_bytes(answer.len());
        if let Ok(message) = Message::read(answer.into(), &limits) {
            self.aside(&lease.service, &lease.line, Exchange::Post(message));
        }
    }
}

impl From<Unanswered> for Closed {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Told(told) => Self::Told(told),
            Unanswered::Useless(why) => Self::Shut(why),
        }
    }
}

/// A way without a session.
pub(super) fn stateless(version: Version) -> Line {
    let era = version.era();
    Line { era, version: Some(HeaderValue::from_static(version.as_str())), session: None }
}
