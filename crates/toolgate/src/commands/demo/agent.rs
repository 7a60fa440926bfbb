//! The demo's agent: an MCP client and an HTTP client as small as they can be, over real HTTP.

use anyhow::Context as _;
use bytes::Bytes;
use domain::service::{HttpUpstream, Network, UpstreamUrl};
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use pipeline::dial::{Connector, Dialler, Versions};
use serde_json::{Value, json};

/// Talks to one endpoint, with or without a key.
pub(super) struct Agent {
    client: Client<Connector, Full<Bytes>>,
    url: UpstreamUrl,
    key: Option<HeaderValue>,
}

/// What came back.
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// What the gateway says that it did.
    pub(super) proxy_status: Option<String>,
    /// The body's bytes.
    pub(super) body: Bytes,
}

impl Agent {
    pub(super) fn new(url: impl AsRef<str>, key: Option<&str>) -> anyhow::Result<Self> {
        let url = UpstreamUrl::parse(url.as_ref())?;
        let upstream = HttpUpstream { url: url.clone(), network: Network::Private, ca_pem: None };
        let client = Client::builder(TokioExecutor::new()).build(Dialler::new().connector(
            &upstream,
            Versions::Http1,
            None,
        )?);
        let key = key.map(|key| HeaderValue::try_from(format!("Bearer {key}"))).transpose()?;
        Ok(Self { client, url, key })
    }

    pub(super) async fn call_tool(&self, name: &str, arguments: &Value) -> anyhow::Result<Answer> {
        self.send("tools/call", &json!({ "name": name, "arguments": arguments })).await
    }

    /// The names of the tools that it is shown.
    pub(super) async fn list_tools(&self) -> anyhow::Result<Vec<String>> {
        let answer = self.send("tools/list", &json!({})).await?;
        let document: Value = serde_json::from_slice(&answer.body).context("the list is no JSON")?;
        let tools =
            document.pointer("/result/tools").and_then(Value::as_array).context("the answer has no tools")?;
        Ok(tools.iter().filter_map(|tool| tool["name"].as_str()).map(str::to_owned).collect())
    }

    async fn send(&self, method: &str, params: &Value) -> anyhow::Result<Answer> {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.request(Method::POST, "", Some(&message)).await
    }

    /// Asks an HTTP API for `path`, which is put behind the agent's own address.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .body(Full::new(Bytes::from(body)))?;
        if let Some(key) = &self.key {
            request.headers_mut().insert(header::AUTHORIZATION, key.clone());
        }
        let response = self.client.request(request).await.context("the demo's own server does not answer")?;
        let status = response.status().as_u16();
        let proxy_status = response.headers().get("x-proxy-status");
        let proxy_status = proxy_status.and_then(|status| status.to_str().ok()).map(str::to_owned);
        Ok(Answer { status, proxy_status, body: response.into_body().collect().await?.to_bytes() })
    }
}

impl Answer {
    /// The JSON-RPC error's code, if it is one.
    pub(super) fn code(&self) -> Option<i64> {
        serde_json::from_slice::<Value>(&self.body).ok()?.pointer("/error/code")?.as_i64()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it is the answer to a call that was approved, given again.
    pub(super) fn is_of_an_approved_call(&self) -> bool {
        self.status == 200 && self.proxy_status.as_deref() == Some("executed-approved")
    }

    /// The code that was answered, and what it means.
    pub(super) fn verdict(&self, meaning: &str) -> String {
        match self.code() {
            Some(code) => format!("{code} {meaning}"),
            None if self.status == 200 => "200 forwarded".into(),
            None => format!("{} {meaning}", self.status),
        }
    }
}
