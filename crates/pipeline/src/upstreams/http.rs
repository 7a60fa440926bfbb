//! A plain HTTP API behind a base URL. The request is sent as it was judged, with the credential added last.

use bytes::Bytes;
use domain::{
    service::ApiUpstream,
    stop::{Fault, Refusal, Stop, Unreadable},
};
use http::{
    HeaderValue, Request, Uri, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use jiff::Timestamp;

use super::{Answer, Outbound, client, send};
use crate::{
    arrival::{ApiRequest, CallBody, Exchange},
    credentials::Injection,
    dial::{Dialler, Versions},
    flow::{self, Broken, Flow},
};

/// One service's connections.
pub(super) struct Http {
    client: Client<crate::dial::Connector, Flow>,
    uri: Uri,
}

impl Http {
    pub(super) fn new(
        upstream: &ApiUpstream,
        dialler: &Dialler,
        injection: &Injection,
    ) -> Result<Self, Fault> {
        let connector = dialler
            .connector(&upstream.http, Versions::Http2OrHttp1, injection.identity.as_deref())
            .map_err(|error| Fault::UpstreamUnreachable(error.to_string()))?;
        Ok(Self { client: client(connector), uri: without_own_port(upstream.http.url.uri()) })
    }

    pub(super) async fn exchange(
        &self,
        outbound: Outbound<'_>,
        injection: &Injection,
        at: Timestamp,
    ) -> Result<Answer, Stop> {
        let Exchange::Request(ApiRequest { method, target, body, .. }) = outbound.exchange else {
            // Gate 20 lets nothing else through to an HTTP service.
            return Err(Refusal::MethodNotAllowed.into());
        };
        let whole = body.bytes().cloned();
        // The held body's part of the budget is given back when the answer's head is there.
        let (flow, _held) = match body {
            CallBody::Whole(bytes) => (flow::whole(bytes), None),
            CallBody::Held(held) => (flow::whole(held.bytes().clone()), Some(held)),
            CallBody::Flow(flow) => (flow, None),
        };
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = method;
        parts.uri = self.address(&target)?;
        parts.headers = outbound.headers;
        // Nobody but us reads the answer on its way, and we read it uncompressed.
        parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        injection.apply(&mut parts, whole.as_deref(), at)?;

        let response = send(&self.client, Request::from_parts(parts, flow), &outbound.leave).await?;
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(Fault::UpstreamBroken("it switched protocols, unasked".into()).into());
        }
        let response =
            response.map(|body| body.map_err(|error| Broken::Upstream(error.to_string())).boxed_unsync());
        Ok(Answer { response, session: None })
    }

    /// The base URL's scheme, host and path, then the judged target byte for byte.
    fn address(&self, target: &wire::Target) -> Result<Uri, Stop> {
        let base = self.uri.path().trim_end_matches('/');
        let path_and_query = Bytes::from([base, target.as_str()].concat());
        let unfit = || Refusal::Unreadable(Unreadable::Target("the path cannot be sent".into()));
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(path_and_query).map_err(|_| unfit())?);
        Ok(Uri::from_parts(parts).map_err(|_| unfit())?)
    }
}

/// The address without its scheme's own port: HTTP/2's `:authority` then says what HTTP/1.1's `Host` says, which is
/// what a signature covers.
fn without_own_port(uri: &Uri) -> Uri {
    let own = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let mut parts = uri.clone().into_parts();
    if uri.port_u16() == Some(own)
        && let Some(Ok(authority)) = uri.host().map(Authority::try_from)
    {
        parts.authority = Some(authority);
    }
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemes_own_port_is_not_sent() {
        for (written, sent) in [
            ("https://api.example.com:443/v1?a=b", "https://api.example.com/v1?a=b"),
            ("http://api.example.com:80/", "http://api.example.com/"),
            ("https://[::1]:443/", "https://[::1]/"),
            ("https://api.example.com:8443/", "https://api.example.com:8443/"),
            ("http://api.example.com:443/", "http://api.example.com:443/"),
            ("https://api.example.com/", "https://api.example.com/"),
        ] {
            assert_eq!(without_own_port(&written.parse().unwrap()).to_string(), sent);
        }
    }
}
