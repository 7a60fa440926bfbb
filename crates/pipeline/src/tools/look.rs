//! Fetches a service's list of tools on the gateway's own account, for a call that cannot be judged without it: no
//! list was seen yet, the server says that its list has changed, or the tool is in no list. One fetch at a time, of
//! the whole list, bounded in pages, bytes and time.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use domain::{
    names::ServiceName,
    service::{Pins, Service, Upstream},
    stop::{Fault, Stop},
    tools::{Extent, TOOLS_MAX},
    world::World,
};
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::sync::{Mutex, Semaphore};
use wire::{Limits, Message, Raw, canonical, json, mcp};

use super::Tools;
use crate::{
    arrival::{Caller, Exchange},
    flow::Mask,
    gateway::Gateway,
    leave::Leave,
    session::Session,
    upstreams::Outbound,
};

/// The most pages of one list.
const PAGES_MAX: usize = 64;
/// How long a server that says that it has changed is taken at its word without another look.
const AFTER_NEWS: Duration = Duration::from_secs(5);
/// How long a tool that stands in no list is refused without another look.
const AFTER_UNKNOWN: Duration = Duration::from_secs(60);

/// How many calls of one service may wait for a look at the same time.
const WAITING_MAX: usize = 256;

/// Who the client is, in `_meta` of the newest protocol.
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";

/// The looks at one service.
pub(super) struct Look {
    /// Whether its server has said that its tools are others by now.
    news: AtomicBool,
    turn: Mutex<Last>,
    /// How many calls may wait for one.
    waiting: Semaphore,
}

impl Default for Look {
    fn default() -> Self {
        Self { news: AtomicBool::default(), turn: Mutex::default(), waiting: Semaphore::new(WAITING_MAX) }
    }
}

/// How the last look went.
#[derive(Default)]
struct Last {
    at: Option<Duration>,
    failure: Option<String>,
}

/// The call on whose way it is.
pub(crate) struct Asking<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) service: &'a Arc<Service>,
    pub(crate) tool: &'a str,
    pub(crate) session: Option<&'a Session>,
    /// What it tells of its client, as members of `_meta`.
    pub(crate) told: String,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) modern: bool,
}

impl Look {
    pub(super) fn note_news(&self) {
        self.news.store(true, Ordering::Relaxed);
    }

    pub(super) fn forget_news(&self) {
        self.news.store(false, Ordering::Relaxed);
    }

    /// Whether a look could change what is known of the tool, apart from how long ago the last one was.
    fn could_help(&self, service: &Service, tool: &str, world: &World) -> bool {
        let known = world.tools.service(service.name.as_str());
        !known.is_some_and(|known| known.listed && known.tools.contains_key(tool))
            || self.news.load(Ordering::Relaxed)
    }

    /// Whether it is time for one.
    fn is_due(&self, last: &Last, asking: &Asking<'_>, world: &World, now: Duration) -> bool {
        let Some(at) = last.at else { return true };
        let listed = world.tools.service(asking.service.name.as_str()).is_some_and(|known| known.listed);
        let passed = now.saturating_sub(at);
        !listed
            || (self.news.load(Ordering::Relaxed) && passed >= AFTER_NEWS)
            || (world.tools.known(asking.service.name.as_str(), asking.tool).is_none()
                && passed >= AFTER_UNKNOWN)
    }
}

impl Tools {
    pub(super) fn look_of(&self, service: &ServiceName) -> Arc<Look> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        match looks.get(service) {
            Some(look) => Arc::clone(look),
            None => Arc::clone(looks.entry(service.clone()).or_default()),
        }
    }

    /// Whether a call of this tool cannot be judged without a look, as far as is known.
    pub(crate) fn wants_look(&self, service: &Service, tool: &str, world: &World) -> bool {
        let has_pins = service.pins != Pins::Off && !matches!(service.upstream, Upstream::Api(_));
        has_pins && self.look_of(&service.name).could_help(service, tool, world)
    }

    /// Looks at the service's tools where it is time to. Nothing of the call is sent.
    ///
    /// # Errors
    /// [`Fault::UpstreamUnreachable`] when there is no list to be had; what a call would meet without its credential.
    pub(crate) async fn look_first(&self, asking: &Asking<'_>, gateway: &Gateway) -> Result<(), Stop> {
        let look = self.look_of(&asking.service.name);
        // Whoever waits here holds a place in the trail's queue, which all services share.
        let Ok(_place) = look.waiting.try_acquire() else { return Err(Fault::UpstreamBusy.into()) };
        let waited = look.turn.try_lock().is_err();
        let mut last = look.turn.lock().await;
        let world = gateway.freshness.current();
        if !look.could_help(asking.service, asking.tool, &world) {
            return Ok(());
        }
        if let (true, Some(why)) = (waited, &last.failure) {
            // Whoever waited for a look that failed does not wait for another one.
            return Err(Fault::UpstreamUnreachable(why.clone()).into());
        }
        let now = gateway.clock.now().monotonic;
        if !look.is_due(&last, asking, &world, now) {
            return Ok(());
        }
        // What it says while we look is no news any more, unless it says it again.
        let had_news = look.news.swap(false, Ordering::Relaxed);
        let patience = gateway.bounds.upstream_timeout;
        let listed = tokio::time::timeout(patience, list(asking, &world, gateway)).await;
        let listed = listed.unwrap_or_else(|_| {
            Err(Fault::UpstreamUnreachable(format!("no answer within {} s", patience.as_secs())).into())
        });
        last.at = Some(gateway.clock.now().monotonic);
        match listed {
            Ok(list) => {
                last.failure = None;
                let list = json::read(list.as_bytes(), &Limits::of_bytes(list.len()));
                let known = self.learn(asking.service, list.map_err(|_| Fault::Internal)?, Extent::Whole);
                known.map(|_| ()).ok_or_else(|| Fault::StaleAuthorization.into())
            }
            Err(stop) => {
                if had_news {
                    look.note_news();
                }
                let stop = unsent(stop);
                last.failure = match &stop {
                    Stop::Fault(Fault::UpstreamUnreachable(why)) => Some(why.clone()),
                    _ => None,
                };
                Err(stop)
            }
        }
    }
}

/// Nothing of the call was sent, whatever went wrong here.
fn unsent(stop: Stop) -> Stop {
    match stop {
        Stop::Fault(fault) if fault.may_have_happened() => {
            Fault::UpstreamUnreachable(format!("its tools could not be listed: {}", fault.cause())).into()
        }
        Stop::Fault(Fault::UpstreamUnreachable(why)) => {
            Fault::UpstreamUnreachable(format!("its tools could not be listed: {why}")).into()
        }
        other => other,
    }
}

/// What a call tells of its client in the newest protocol, as members of `_meta`: a request of ours tells the same.
pub(crate) fn told_of_client(exchange: &Exchange) -> String {
    let Exchange::Post(message) = exchange else { return String::new() };
    let meta = message.params().and_then(|params| params.get("_meta"));
    let told = meta.into_iter().flat_map(Raw::members).filter(|(key, _)| {
        [mcp::meta::PROTOCOL_VERSION, mcp::meta::CLIENT_CAPABILITIES, CLIENT_INFO]
            .iter()
            .any(|known| *key == **known)
    });
    let told: Vec<String> = told.map(|(key, value)| format!("{}:{}", key.raw(), value.text())).collect();
    told.join(",")
}

/// All pages of the list, as one array.
async fn list(asking: &Asking<'_>, world: &World, gateway: &Gateway) -> Result<String, Stop> {
    let broken = |why: &str| Stop::from(Fault::UpstreamBroken(why.to_owned()));
    let bytes_max = usize::try_from(gateway.bounds.body_bytes_max).unwrap_or(usize::MAX);
    let mut headers = asking.headers.clone();
    let ours: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with(mcp::header::PARAM_PREFIX)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    headers.remove(mcp::header::NAME);
    let (mut all, mut count, mut cursor) = (String::from("["), 0, None);
    for _ in 0..PAGES_MAX {
        let message = request(asking, cursor.as_deref())?;
        let injection = gateway.credentials.injection(asking.service, world).await?;
        let outbound = Outbound {
            caller: asking.caller,
            exchange: Exchange::Post(message),
            session: asking.session.cloned(),
            headers: headers.clone(),
            modern: asking.modern,
            leave: Leave::of_us(&gateway.freshness),
        };
        let answer = gateway
            .upstreams
            .exchange_detached(asking.service, outbound, &injection, &gateway.bounds)
            .await?;
        let status = answer.response.status();
        let mut body = answer.response.into_body();
        if let Some(masker) = &injection.masker {
            body = Mask::new(body, masker.clone()).boxed_unsync();
        }
        let bytes: Bytes = body.collect().await.map_err(|error| broken(&error.to_string()))?.to_bytes();
        let page = json::read(&bytes, &Limits::of_bytes(bytes_max));
        let Ok(page) = page else { return Err(broken(&format!("it answered {}", status.as_u16()))) };
        let Some(result) = page.get("result") else {
            let code = page.get("error").and_then(|error| error.get("code")).map(Raw::text);
            // Who lists no tools has none that could be pinned; it is no list that others are held to.
            if code == Some(&mcp::code::METHOD_NOT_FOUND.to_string()) {
                return Err(broken("it lists no tools"));
            }
            return Err(broken(&format!("it answered {}", status.as_u16())));
        };
        let tools = result.get("tools").filter(|tools| tools.kind() == json::Kind::Array);
        for tool in tools.ok_or_else(|| broken("its answer holds no list"))?.elements() {
            count += 1;
            if count > TOOLS_MAX || all.len().saturating_add(tool.text().len()) > bytes_max {
                break;
            }
            if all.len() > 1 {
                all.push(',');
            }
            all.push_str(tool.text());
        }
        cursor = result.get("nextCursor").and_then(Raw::as_str).map(std::borrow::Cow::into_owned);
        if cursor.is_none() || count >= TOOLS_MAX {
            break;
        }
    }
    all.push(']');
    Ok(all)
}

/// The request for one page.
fn request(asking: &Asking<'_>, cursor: Option<&str>) -> Result<Message, Stop> {
    let id = format!("toolgate-{:016x}", u64::from_be_bytes(vault::random::bytes()));
    let mut params = Vec::new();
    if let Some(cursor) = cursor {
        let mut text = Vec::from(&b"\"cursor\":"[..]);
        canonical::write_string(cursor, &mut text);
        params.push(String::from_utf8_lossy(&text).into_owned());
    }
    if !asking.told.is_empty() {
        params.push(format!("\"_meta\":{{{}}}", asking.told));
    }
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"tools/list","params":{{{}}}}}"#, params.join(","));
    let limits = Limits::of_bytes(text.len());
    Message::read(text.into(), &limits).map_err(|_| Fault::Internal.into())
}
