//! An MCP server behind a URL (Streamable HTTP). Bodies pass byte for byte; the session id and the newest protocol's
//! headers are made anew from what was judged.

mod detached;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use domain::{
    service::HttpUpstream,
    stop::{Fault, Stop},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use jiff::Timestamp;
use wire::{
    Message, Shape,
    mcp::{self, Subject},
};

use super::{Answer, Outbound, client, send};
use crate::{
    arrival::Exchange,
    credentials::Injection,
    dial::{Connector, Dialler, Versions},
    flow::{Broken, Flow},
    leave::Leave,
    session::Session,
};

const SESSION_ID: header::HeaderName = header::HeaderName::from_static(mcp::header::SESSION_ID);
const METHOD: header::HeaderName = header::HeaderName::from_static(mcp::header::METHOD);
const NAME: header::HeaderName = header::HeaderName::from_static(mcp::header::NAME);

/// One service's connections.
#[derive(Clone)]
pub(super) struct McpHttp {
    client: Client<Connector, Full<Bytes>>,
    uri: Uri,
    /// Whether an answer has ever named a session.
    gives_sessions: Arc<AtomicBool>,
}

impl McpHttp {
    pub(super) fn new(
        upstream: &HttpUpstream,
        dialler: &Dialler,
        injection: &Injection,
    ) -> Result<Self, Fault> {
        let connector = dialler
            .connector(upstream, Versions::Http1, injection.identity.as_deref())
            .map_err(|error| Fault::UpstreamUnreachable(error.to_string()))?;
        let (client, uri) = (client(connector), upstream.url.uri().clone());
        Ok(Self { client, uri, gives_sessions: Arc::default() })
    }

    pub(super) async fn exchange(
        &self,
        outbound: Outbound<'_>,
        injection: &Injection,
        at: Timestamp,
    ) -> Result<Answer, Stop> {
        let mut headers = outbound.headers;
        if let Some(Session::Http(id)) = &outbound.session {
            let id = HeaderValue::from_str(id).map_err(|_| domain::stop::Refusal::UnknownSession)?;
            headers.insert(SESSION_ID, id);
        }
        let (method, body) = match outbound.exchange {
            Exchange::Post(message) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                if outbound.modern {
                    name_the_message(&message, &mut headers);
                }
                (Method::POST, message.body().clone())
            }
            Exchange::Listen => (Method::GET, Bytes::new()),
            Exchange::End => (Method::DELETE, Bytes::new()),
            // Gate 20 lets no such request through to an MCP service.
            Exchange::Request(_) => return Err(domain::stop::Refusal::MethodNotAllowed.into()),
        };
        let response = self.send(method, headers, body, injection, at, &outbound.leave).await?;
        let session = response
            .headers()
            .get(SESSION_ID)
            .and_then(|id| id.to_str().ok())
            .map(|id| Session::Http(id.to_owned()));
        Ok(Answer { response, session })
    }

    /// Sends one request with what is to be added to it, unless it may not `leave` any more.
    async fn send(
        &self,
        method: Method,
        mut headers: HeaderMap,
        body: Bytes,
        injection: &Injection,
        at: Timestamp,
        leave: &Leave,
    ) -> Result<Response<Flow>, Stop> {
        // Nobody but us reads the answer on its way, and we read it uncompressed.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = method;
        parts.uri = self.uri.clone();
        parts.headers = headers;
        injection.apply(&mut parts, Some(&body), at)?;

        let request = Request::from_parts(parts, Full::new(body));
        let response = send(&self.client, request, leave).await?;
        if response.headers().contains_key(SESSION_ID) {
            self.gives_sessions.store(true, Ordering::Relaxed);
        }
        Ok(response.map(|body| body.map_err(|error| Broken::Upstream(error.to_string())).boxed_unsync()))
    }

    fn gives_sessions(&self) -> bool {
        self.gives_sessions.load(Ordering::Relaxed)
    }
}

/// `Mcp-Method` and `Mcp-Name` as the body says (2026-07-28). The client's own were compared and dropped.
fn name_the_message(message: &Message, headers: &mut HeaderMap) {
    let (Shape::Request { method, .. } | Shape::Notification { method }) = message.shape() else { return };
    if let Ok(value) = HeaderValue::try_from(mcp::encode_header(method)) {
        headers.insert(METHOD, value);
    }
    let subject = mcp::method(method).and_then(|known| mcp::subject(message, known).ok());
    if let Some(Subject::Tool(name) | Subject::Prompt(name) | Subject::Resource(name) | Subject::Task(name)) =
        subject
        && let Ok(value) = HeaderValue::try_from(mcp::encode_header(&name))
    {
        headers.insert(NAME, value);
    }
}
