//! The model that is asked how risky a call is. It is given quoted data and asked for one number. Anything else (no
//! answer, a late one, an unreadable one) is reported as a failure, never as a low number.

use std::{
    borrow::Cow,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    address::is_this_machine,
    audit::push_hex,
    clock::Clock,
    risk::{ModelId, ModelSaid, RiskScore},
    service::{HttpUpstream, Network, UpstreamUrl},
};
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use thiserror::Error;
use tokio::sync::Semaphore;
use vault::Secret;

use super::{
    answer::{self, Miss},
    anthropic,
    breaker::{Breaker, FAILURES_MAX, OPEN_FOR},
    openai,
    prompt::{self, Question},
};
use crate::{
    credentials::sensitive,
    dial::{self, Connector, DialError, Dialler, Versions},
};

/// So many questions are under way at once; further ones wait, within their time.
const QUESTIONS_MAX: usize = 64;
/// Connections that are kept for the next question.
const IDLE_MAX: usize = 8;

/// How an endpoint is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As OpenAI's chat completions.
    OpenAi,
    /// As Anthropic's messages.
    Anthropic,
}

/// Which model is asked, where, and how.
pub struct ModelSettings {
    /// The endpoint's base, up to what the style adds: `https://api.example.com/v1`.
    pub url: UpstreamUrl,
    /// The model's name there.
    pub name: String,
    /// How the endpoint is spoken to.
    pub style: Style,
    /// The key for it, where it wants one.
    pub key: Option<Secret>,
    /// From the question to the last byte of the answer.
    pub timeout: Duration,
}

/// Why a model cannot be asked at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadModel {
    /// Arguments and the key would travel in the clear.
    #[error("`{0}` is reached without TLS, and is not this machine")]
    Unencrypted(String),
    /// The key cannot stand in a header.
    #[error("the key is no text that a header can carry")]
    Key,
    /// The URL and the style make no address.
    #[error("`{0}` makes no address")]
    Address(String),
    /// There can be no connections.
    #[error("{0}")]
    Dial(#[from] DialError),
}

/// A model and the way to it.
pub struct Model {
    http: Client<Connector, Full<Bytes>>,
    uri: Uri,
    style: Style,
    id: ModelId,
    /// The header with the key.
    key: Option<(HeaderName, HeaderValue)>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    breaker: Mutex<Breaker>,
    places: Semaphore,
}

impl Model {
    /// Nobody is contacted before the first question. Where it may be reached is the operator's word, so private
    /// networks are allowed; without TLS only this machine.
    ///
    /// # Errors
    /// [`BadModel`].
    pub fn new(settings: &ModelSettings, dialler: &Dialler, clock: Arc<dyn Clock>) -> Result<Self, BadModel> {
        let url = &settings.url;
        if !url.is_tls() && !is_this_machine(url.host()) {
            return Err(BadModel::Unencrypted(url.host().to_owned()));
        }
        let key = match &settings.key {
            None => None,
            Some(key) => {
                let (name, scheme): (_, &[u8]) = match settings.style {
                    Style::OpenAi => (header::AUTHORIZATION, b"Bearer "),
                    Style::Anthropic => (HeaderName::from_static("x-api-key"), b""),
                };
                Some((name, sensitive(&[scheme, key.reveal()]).map_err(|_| BadModel::Key)?))
            }
        };
        let path = match settings.style {
            Style::OpenAi => openai::PATH,
            Style::Anthropic => anthropic::PATH,
        };
        let base = url.to_string();
        let address = format!("{}{path}", base.trim_end_matches('/'));
        let uri = address.parse().map_err(|_| BadModel::Address(address.clone()))?;
        let upstream = HttpUpstream { url: url.clone(), network: Network::Private, ca_pem: None };
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .build(dialler.connector(&upstream, Versions::Http1, None)?);
        let id = ModelId { name: settings.name.as_str().into(), prompt_hash: prompt::hash().into() };
        Ok(Self {
            http,
            uri,
            style: settings.style,
            id,
            key,
            timeout: settings.timeout,
            clock,
            breaker: Mutex::default(),
            places: Semaphore::new(QUESTIONS_MAX),
        })
    }

    /// Asks how risky a call is. It takes at most the time of the settings.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> ModelSaid {
        let failed = |why| ModelSaid::Failed { why, model: self.id.clone() };
        if !self.breaker().lets_pass(self.clock.now().monotonic) {
            let pause = OPEN_FOR.as_secs();
            return failed(
                format!("it has failed {FAILURES_MAX} times in a row and is left alone for {pause} s").into(),
            );
        }
        let said = match tokio::time::timeout(self.timeout, self.exchange(question)).await {
            Ok(said) => said,
            Err(_) => Err(Miss::Endpoint(format!("it did not answer within {}", shown(self.timeout)).into())),
        };
        match said {
            Ok(score) => {
                self.breaker().succeeded();
                ModelSaid::Answered { score, model: self.id.clone() }
            }
            Err(Miss::Model(why)) => {
                self.breaker().succeeded();
                failed(why.into())
            }
            Err(Miss::Endpoint(why)) => {
                self.breaker().failed(self.clock.now().monotonic);
                tracing::warn!("the risk model `{}` failed: {why}", self.id.name);
                failed(why)
            }
        }
    }

    async fn exchange(&self, question: &Question<'_>) -> Result<RiskScore, Miss> {
        let request = self.request(question)?;
        let closed = |_| Miss::Endpoint("it cannot be asked any more".into());
        let _place = self.places.acquire().await.map_err(closed)?;
        let answer = self.http.request(request).await.map_err(|error| unreached(&error))?;
        let status = answer.status();
        if !status.is_success() {
            let redirect = if status.is_redirection() { ", and redirects are not followed" } else { "" };
            return Err(Miss::Endpoint(format!("it answered {}{redirect}", status.as_u16()).into()));
        }
        let body = Limited::new(answer.into_body(), answer::BYTES_MAX).collect().await.map_err(|error| {
            Miss::Endpoint(if error.is::<LengthLimitError>() {
                format!("its answer is over {} KiB", answer::BYTES_MAX / 1_024).into()
            } else {
                "its answer broke off".into()
            })
        })?;
        match self.style {
            Style::OpenAi => openai::score(&body.to_bytes()),
            Style::Anthropic => anthropic::score(&body.to_bytes()),
        }
    }

    fn request(&self, question: &Question<'_>) -> Result<Request<Full<Bytes>>, Miss> {
        let mut fence = String::with_capacity(32);
        push_hex(&mut fence, &vault::random::bytes::<16>());
        let text = prompt::text(question, &fence);
        let body = match self.style {
            Style::OpenAi => openai::body(&self.id.name, prompt::INSTRUCTIONS, &text),
            Style::Anthropic => anthropic::body(&self.id.name, prompt::INSTRUCTIONS, &text),
        };
        let body = serde_json::to_vec(&body).map_err(|_| Miss::Model("the question cannot be written"))?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if self.style == Style::Anthropic {
            let name = HeaderName::from_static("anthropic-version");
            headers.insert(name, HeaderValue::from_static(anthropic::VERSION));
        }
        if let Some((name, value)) = &self.key {
            headers.insert(name, value.clone());
        }
        Ok(request)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there was no answer at all, in words of ours.
fn unreached(error: &(dyn Error + 'static)) -> Miss {
    let dial = dial::behind(error).map(|dial| Cow::Owned(dial.to_string()));
    Miss::Endpoint(dial.unwrap_or("it broke off".into()))
}

/// `10 s`, `500 ms`.
fn shown(length: Duration) -> String {
    match length.subsec_millis() {
        0 => format!("{} s", length.as_secs()),
        _ => format!("{} ms", length.as_millis()),
    }
}
