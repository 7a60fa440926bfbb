//! The token endpoint (RFC 6749 §3.2): one form is posted, one JSON object is read. Of its answer nothing is shown to
//! anybody but the error codes that the RFC defines.

use std::{borrow::Cow, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use domain::{
    credential::{ClientAuth, OauthClient},
    service::{HttpUpstream, Network, UpstreamUrl},
};
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use serde::Deserialize;
use vault::Secret;
use wire::percent;
use zeroize::Zeroizing;

use super::{
    super::injection::sensitive,
    grant::{Grant, Parts},
};
use crate::dial::{self, Connector, Dialler, Versions};

/// The largest answer (bytes).
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// From the first byte out to the last byte in.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The life of a token whose answer does not say.
const LIFE_UNSAID: Duration = Duration::from_secs(300);
/// The longest life that is believed.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3_600);
const INVALID_GRANT: &str = "invalid_grant";
/// The error codes of RFC 6749 §5.2, and those of §4.1.2.1 that servers send from here as well.
const ERRORS: [&str; 9] = [
    "invalid_request",
    "invalid_client",
    INVALID_GRANT,
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
];

/// Where tokens are asked for.
pub(super) struct Endpoint {
    http: Client<Connector, Full<Bytes>>,
    uri: Uri,
    host: String,
}

/// Why there is no token, in words for operators.
pub(super) enum Failed {
    /// The endpoint may have taken the question, and its answer did not arrive: what was asked with may be used up.
    Unanswered(String),
    /// What was asked with is not good any more (`invalid_grant`, RFC 6749 §5.2).
    Ended(String),
    /// Anything else.
    Otherwise(String),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Otherwise(why)
    }
}

/// An access token and what came with it.
pub(super) struct Token {
    pub(super) access_token: Arc<Secret>,
    pub(super) refresh_token: Option<Arc<Secret>>,
    pub(super) life: Duration,
}

impl Endpoint {
    /// The endpoint is judged as the service itself is: same `network`, same `ca`. Secrets go over TLS, or to a
    /// private network where the service says so.
    pub(super) fn new(url: &UpstreamUrl, service: &HttpUpstream, dialler: &Dialler) -> Result<Self, String> {
        if !url.is_tls() && service.network == Network::Public {
            return Err("its token endpoint is not https://".into());
        }
        let upstream =
            HttpUpstream { url: url.clone(), network: service.network, ca_pem: service.ca_pem.clone() };
        let connector =
            dialler.connector(&upstream, Versions::Http1, None).map_err(|error| error.to_string())?;
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { http, uri: url.uri().clone(), host: url.host().to_owned() })
    }

    /// Asks for one token.
    ///
    /// # Errors
    /// [`Failed`] says why there is none.
    pub(super) async fn ask(&self, client: &OauthClient, grant: &Grant) -> Result<Token, Failed> {
        let request = self.request(client, &grant.parts())?;
        let Ok(answered) = tokio::time::timeout(ANSWER_WITHIN, self.exchange(request)).await else {
            let seconds = ANSWER_WITHIN.as_secs();
            let why = format!("token endpoint `{}` did not answer within {seconds} s", self.host);
            return Err(Failed::Unanswered(why));
        };
        let (status, body) = answered?;
        if status.is_success() { Ok(self.token(&body)?) } else { Err(self.refusal(status, &body)) }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(http::StatusCode, Zeroizing<Vec<u8>>), Failed> {
        let answer = self.http.request(request).await.map_err(|error| match dial::behind(&error) {
            Some(dial) => Failed::Otherwise(format!("token endpoint: {dial}")),
            None => Failed::Unanswered(format!("token endpoint `{}` broke off", self.host)),
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|_| {
            Failed::Unanswered(format!(
                "the answer of token endpoint `{}` broke off, or is over {ANSWER_BYTES_MAX} bytes",
                self.host
            ))
        })?;
        Ok((status, Zeroizing::new(body.to_bytes().into())))
    }

    fn request(&self, client: &OauthClient, parts: &Parts) -> Result<Request<Full<Bytes>>, String> {
        let mut form = Form::default();
        match &parts.refresh_token {
            Some(token) => {
                form.add("grant_type", b"refresh_token");
                form.add("refresh_token", token.reveal());
            }
            None => form.add("grant_type", b"client_credentials"),
        }
        if let Some(scope) = &client.scope {
            form.add("scope", scope.as_bytes());
        }
        if let Some(audience) = &client.audience {
            form.add("audience", audience.as_bytes());
        }
        let secret = || parts.client_secret.as_deref().ok_or("the client's secret is missing from its value");
        let mut authorization = None;
        match client.client_auth {
            ClientAuth::None => form.add("client_id", client.client_id.as_bytes()),
            ClientAuth::Body => {
                form.add("client_id", client.client_id.as_bytes());
                form.add("client_secret", secret()?.reveal());
            }
            ClientAuth::Basic => {
                // Both are form-encoded first (RFC 6749 §2.3.1).
                let (id, secret) =
                    (percent::encode(client.client_id.as_bytes()), percent::encode(secret()?.reveal()));
                let encoded = Zeroizing::new(STANDARD.encode(format!("{id}:{secret}")));
                authorization = Some(sensitive(&[b"Basic ", encoded.as_bytes()])?);
            }
        }
        let mut request = Request::new(Full::new(Bytes::from(form.0)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn token(&self, body: &[u8]) -> Result<Token, String> {
        let unreadable =
            |what: &str| format!("token endpoint `{}` answered {what} instead of a token", self.host);
        let answer: Answer<'_> =
            serde_json::from_slice(body).map_err(|_| unreadable("something unreadable"))?;
        if answer.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(unreadable("another type of token"));
        }
        let fits = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits(&answer.access_token) {
            return Err(unreadable("a text that no header can carry"));
        }
        let refresh_token = answer.refresh_token.filter(|token| !token.is_empty());
        if refresh_token.as_deref().is_some_and(|token| !fits(token)) {
            return Err(unreadable("an unreadable refresh token"));
        }
        let secret = |text: Cow<'_, str>| Arc::new(Secret::new(text.into_owned().into_bytes()));
        let life = answer.expires_in.map_or(Some(LIFE_UNSAID), |life| life.seconds());
        let life = life.filter(|life| !life.is_zero()).ok_or_else(|| unreadable("an expired token"))?;
        Ok(Token {
            access_token: secret(answer.access_token),
            refresh_token: refresh_token.map(secret),
            life: life.min(LIFE_MAX),
        })
    }

    fn refusal(&self, status: http::StatusCode, body: &[u8]) -> Failed {
        let said: Option<Refused<'_>> = serde_json::from_slice(body).ok();
        let code = said.and_then(|said| ERRORS.into_iter().find(|code| *code == said.error));
        let (host, status) = (&self.host, status.as_u16());
        let why = match code {
            Some(code) => format!("token endpoint `{host}` answered {status} {code}"),
            None if (300..400).contains(&status) => {
                format!("token endpoint `{host}` answered {status}, and redirects are not followed")
            }
            None => format!("token endpoint `{host}` answered {status}"),
        };
        if code == Some(INVALID_GRANT) { Failed::Ended(why) } else { Failed::Otherwise(why) }
    }
}

/// A form under construction.
#[derive(Default)]
struct Form(String);

impl Form {
    fn add(&mut self, name: &str, value: &[u8]) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&Zeroizing::new(percent::encode(value)));
    }
}

/// RFC 6749 §5.1, as far as we read it.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    #[serde(borrow, default)]
    token_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    refresh_token: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    expires_in: Option<Life<'a>>,
}

/// Seconds; some servers put them into a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Life<'a> {
    Number(f64),
    Text(#[serde(borrow)] Cow<'a, str>),
}

impl Life<'_> {
    fn seconds(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.parse().ok()?,
        };
        Duration::try_from_secs_f64(seconds.min(LIFE_MAX.as_secs_f64())).ok()
    }
}

/// RFC 6749 §5.2.
#[derive(Deserialize)]
struct Refused<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
}
