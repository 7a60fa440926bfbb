//! One receiver of notifications: which of them it wants, and one attempt to deliver.

use std::time::Duration;

use bytes::Bytes;
use domain::service::{HttpUpstream, Network};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};
use jiff::Timestamp;
use store::EventRow;

use super::{Sink, Topic};
use crate::dial::{Connector, DialError, Dialler, Versions};

/// How long one attempt may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What is read of an answer's body, to use the connection again (bytes). Nothing is made of it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long that may take.
const BODY_WITHIN: Duration = Duration::from_secs(1);

/// The headers of Standard Webhooks 1.0.
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// A sink and the way to it.
pub(super) struct Outlet {
    pub(super) sink: Sink,
    http: Client<Connector, Full<Bytes>>,
}

impl Outlet {
    /// The operator wrote down where it is, so a private network is fine.
    pub(super) fn new(sink: Sink, dialler: &Dialler) -> Result<Self, DialError> {
        let upstream = HttpUpstream { url: sink.url.clone(), network: Network::Private, ca_pem: None };
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(dialler.connector(&upstream, Versions::Http1, None)?);
        Ok(Self { sink, http })
    }

    pub(super) fn wants(&self, event: &EventRow) -> bool {
        self.sink.topics.contains(&Topic::of(event))
    }

    /// One attempt. Any 2xx means that it was taken.
    ///
    /// # Errors
    /// Why it was not, in words for operators; without the URL's path.
    pub(super) async fn post(&self, id: &str, now: Timestamp, body: &[u8]) -> Result<(), String> {
        let request =
            self.request(id, now, body).map_err(|_| "it cannot be written as a request".to_owned())?;
        let answered = tokio::time::timeout(ANSWER_WITHIN, self.http.request(request)).await;
        let answer = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(in_words(&error)),
            Err(_) => return Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
        };
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        // It was taken or not by now; a body that does not end only costs its connection.
        let _ = tokio::time::timeout(BODY_WITHIN, body.collect()).await;
        taken(status)
    }

    fn request(&self, id: &str, now: Timestamp, body: &[u8]) -> Result<Request<Full<Bytes>>, http::Error> {
        let timestamp = now.as_second();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.sink.url.uri().clone())
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(header::USER_AGENT, HeaderValue::from_static("toolgate"))
            .header(ID, id)
            .header(TIMESTAMP, timestamp);
        if let Some(signer) = &self.sink.signer {
            request = request.header(SIGNATURE, signer.sign(id, timestamp, body));
        }
        request.body(Full::new(Bytes::copy_from_slice(body)))
    }
}

fn taken(status: StatusCode) -> Result<(), String> {
    if status.is_success() {
        Ok(())
    } else if status.is_redirection() {
        Err(format!("it answered {}, and redirects are not followed", status.as_u16()))
    } else {
        Err(format!("it answered {}", status.as_u16()))
    }
}

fn in_words(error: &Error) -> String {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        match cause.downcast_ref::<DialError>() {
            Some(DialError::Forbidden { host, zone }) => return format!("`{host}` is {zone}, never a sink"),
            Some(dial) => return dial.to_string(),
            None => source = cause.source(),
        }
    }
    "the connection broke off".to_owned()
}
