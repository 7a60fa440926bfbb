//! One request: its head, its body read whole and within bounds, who asks, and what stands in its path and query.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    approval::{Approval, HeldCall},
    clock::Now,
};
use http::{HeaderValue, Method, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use pipeline::changes_since;
use serde::de::DeserializeOwned;

use crate::{Desk, problem::Problem, route::Route, who::Who};

/// What operators may send (bytes): a service with its documentation fits.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// What somebody may send of whom nothing is known.
const STRANGER_BYTES_MAX: usize = 16 * 1024;
/// How long a body may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);
/// How deep a JSON body may nest.
const DEPTH_MAX: u32 = 32;

/// A request, as handlers see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) desk: Arc<Desk>,
    /// When it came.
    pub(crate) now: Now,
    /// Where it came from.
    pub(crate) source: IpAddr,
    pub(crate) head: Arc<Parts>,
    /// Who asks; on routes for anyone there may be nobody.
    pub(crate) who: Option<Who>,
    pub(crate) route: Option<&'static Route>,
    pub(crate) captures: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// Cookies of a login that was renewed on the way.
    pub(crate) renewed: Vec<HeaderValue>,
}

impl Asked {
    pub(crate) fn new(desk: Arc<Desk>, source: IpAddr, head: Parts) -> Self {
        let now = desk.clock.now();
        Self {
            desk,
            now,
            source,
            head: Arc::new(head),
            who: None,
            route: None,
            captures: Vec::new(),
            body: Bytes::new(),
            renewed: Vec::new(),
        }
    }

    /// Says what has changed since a call was held, by the world as it is.
    pub(crate) fn second_look(&self) -> impl Fn(&Approval, HeldCall) -> Vec<String> + Sync + use<> {
        let (world, now) = (self.desk.freshness.current(), self.now);
        move |approval, call| changes_since(approval, call, &world, now)
    }

    pub(crate) fn method(&self) -> &Method {
        &self.head.method
    }

    pub(crate) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// Whether JSON is spoken here; else it is HTML.
    pub(crate) fn is_api(&self) -> bool {
        let path = self.path();
        path == "/api" || path.starts_with("/api/") || path == "/metrics"
    }

    /// Who asks.
    ///
    /// # Errors
    /// 401 on a route for anyone where nobody is logged in.
    pub(crate) fn who(&self) -> Result<&Who, Problem> {
        self.who.as_ref().ok_or_else(Problem::no_session)
    }

    /// What stands in the place of `{name}` in the path.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.captures.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text)
    }

    /// A header, where it is there once and readable.
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The pairs of the query, escapes undone.
    ///
    /// # Errors
    /// 400 when it cannot be read, or says something twice.
    pub(crate) fn query(&self) -> Result<Pairs, Problem> {
        let text = self.head.uri.query().unwrap_or_default();
        let bad = || {
            Problem::invalid(
                "the query cannot be read, or says something twice; write each name once, percent-encoded",
            )
        };
        wire::form::pairs(text).map(Pairs).ok_or_else(bad)
    }

    /// The pairs of a form (`application/x-www-form-urlencoded`), as pages send them.
    ///
    /// # Errors
    /// 400, 415.
    pub(crate) fn form(&self) -> Result<Pairs, Problem> {
        if !self.is_of_type("application/x-www-form-urlencoded") {
            return Err(Problem::media_type("application/x-www-form-urlencoded"));
        }
        let text = std::str::from_utf8(&self.body).ok();
        let bad = || Problem::invalid("the form cannot be read, or says something twice; reload the page");
        text.and_then(wire::form::pairs).map(Pairs).ok_or_else(bad)
    }

    /// The JSON body: one object, read strictly; a member that is not known is refused by `T`.
    ///
    /// # Errors
    /// 400, 415.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if !self.is_of_type("application/json") {
            return Err(Problem::media_type("application/json"));
        }
        let limits = wire::json::Limits { bytes: BYTES_MAX, depth: DEPTH_MAX };
        let raw = wire::json::read(&self.body, &limits)
            .map_err(|malformed| Problem::invalid(format!("the body cannot be read: {malformed}")))?;
        // Structs of serde take arrays too.
        if !raw.is_object() {
            return Err(Problem::invalid("the body is no JSON object; send one object"));
        }
        serde_json::from_str(raw.text()).map_err(|error| {
            let said = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let said = said.strip_suffix(&place).unwrap_or(&said);
            Problem::invalid(format!(
                "the body does not fit (line {}, column {}): {said}; /api/openapi.json says what it must be",
                error.line(),
                error.column()
            ))
        })
    }

    /// The JSON body, where there is one.
    ///
    /// # Errors
    /// As [`json`](Self::json).
    pub(crate) fn json_if_any<T: DeserializeOwned>(&self) -> Result<Option<T>, Problem> {
        if self.body.is_empty() { Ok(None) } else { self.json().map(Some) }
    }

    pub(crate) fn is_of_type(&self, wanted: &str) -> bool {
        let given = self.header(header::CONTENT_TYPE).unwrap_or_default();
        given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
    }

    /// Reads the body.
    ///
    /// # Errors
    /// 400, 413.
    pub(crate) async fn read(&mut self, body: Incoming) -> Result<(), Problem> {
        let bytes_max = if self.who.is_some() { BYTES_MAX } else { STRANGER_BYTES_MAX };
        let whole = Limited::new(body, bytes_max).collect();
        self.body = match tokio::time::timeout(ARRIVAL_MAX, whole).await {
            Ok(Ok(whole)) => whole.to_bytes(),
            Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
                return Err(Problem::too_large(bytes_max));
            }
            Ok(Err(_)) | Err(_) => {
                return Err(Problem::invalid("the body did not arrive whole and in time; send it again"));
            }
        };
        Ok(())
    }
}

/// Names and values, each name once.
pub(crate) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// A value; an empty one counts as absent, as empty fields of forms do.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    /// All of them, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether the name is there, and nothing behind it.
    pub(crate) fn is_empty(&self, name: &str) -> bool {
        self.0.iter().any(|(known, value)| known == name && value.is_empty())
    }

    /// The first name that is none of these.
    pub(crate) fn stranger(&self, known: &[&str]) -> Option<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).find(|name| !known.contains(name))
    }
}
