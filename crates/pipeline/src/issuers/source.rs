//! Where an issuer's keys are: its metadata (RFC 8414, OpenID Connect Discovery) says so, and must name the issuer
//! itself. Every address is dialled as an upstream's is; redirects are not followed.

use bytes::Bytes;
use domain::{
    foreign,
    service::{HttpUpstream, UpstreamUrl},
};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use wire::{Limits, Raw, json};

use super::jwks::{self, NamedKey};
use crate::dial::{self, DialError, Dialler, Versions};

/// The largest document that is read (bytes).
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// One issuer's address.
pub(super) struct Source {
    issuer: String,
    at: HttpUpstream,
    dialler: Dialler,
}

impl Source {
    /// # Errors
    /// [`DialError`] when its trust anchor cannot be read.
    pub(super) fn new(issuer: String, at: HttpUpstream, dialler: Dialler) -> Result<Self, DialError> {
        dialler.connector(&at, Versions::Http1, None)?;
        Ok(Self { issuer, at, dialler })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Fetches the keys.
    ///
    /// # Errors
    /// In words for operators, why there are none.
    pub(super) async fn keys(&self) -> Result<Vec<NamedKey>, String> {
        let at = self.jwks_address().await?;
        let document = self.document(&at).await.map_err(|why| format!("its key set: {why}"))?;
        jwks::read(&document).map_err(str::to_owned)
    }

    /// The first metadata that is there must be the issuer's own: another one's keys prove nothing.
    async fn jwks_address(&self) -> Result<UpstreamUrl, String> {
        let mut last = String::new();
        for at in self.metadata_addresses()? {
            match self.document(&at).await {
                Ok(document) => return self.jwks_in(&document),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// As RFC 8414 §3.1 puts it, between host and path; then as OpenID Connect Discovery §4 does, behind the path; then
    /// the latter's name in the former's place (RFC 8414 §5).
    fn metadata_addresses(&self) -> Result<Vec<UpstreamUrl>, String> {
        let uri = self.at.url.uri();
        let (scheme, host) =
            (uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |at| at.as_str()));
        let (origin, path) = (format!("{scheme}://{host}"), uri.path().trim_end_matches('/'));
        let mut addresses = vec![
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
            format!("{origin}{path}/.well-known/openid-configuration"),
        ];
        if !path.is_empty() {
            addresses.push(format!("{origin}/.well-known/openid-configuration{path}"));
        }
        addresses.iter().map(|text| UpstreamUrl::parse(text).map_err(|bad| bad.to_string())).collect()
    }

    fn jwks_in(&self, document: &[u8]) -> Result<UpstreamUrl, String> {
        let metadata = json::read(document, &Limits::of_bytes(document.len()))
            .map_err(|_| "its metadata cannot be read".to_owned())?;
        let text = |name: &str| metadata.get(name).and_then(Raw::as_str);
        let named = text("issuer").unwrap_or_default();
        if named != self.issuer {
            return Err(format!(
                "its metadata is of `{}`; write the issuer exactly so, if that is who is meant",
                foreign::escape_foreign(&named)
            ));
        }
        let uri = text("jwks_uri").ok_or("its metadata has no `jwks_uri`")?;
        let uri = UpstreamUrl::parse(&uri).map_err(|bad| format!("its `jwks_uri`: {}", bad.why()))?;
        // Whoever can change the keys on their way makes tokens.
        if self.at.url.is_tls() && !uri.is_tls() {
            return Err("its `jwks_uri` is not https://".to_owned());
        }
        Ok(uri)
    }

    async fn document(&self, at: &UpstreamUrl) -> Result<Bytes, String> {
        let upstream =
            HttpUpstream { url: at.clone(), network: self.at.network, ca_pem: self.at.ca_pem.clone() };
        let connector =
            self.dialler.connector(&upstream, Versions::Http1, None).map_err(|error| error.to_string())?;
        let http: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = at.uri().clone();
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let answer = http.request(request).await.map_err(|error| {
            dial::behind(&error).map_or_else(|| "it broke off".to_owned(), ToString::to_string)
        })?;
        let status = answer.status();
        if status != StatusCode::OK {
            let redirect = if status.is_redirection() { ", and redirects are not followed" } else { "" };
            return Err(format!("it answered {}{redirect}", status.as_u16()));
        }
        let body = Limited::new(answer.into_body(), DOCUMENT_BYTES_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|_| format!("its answer broke off, or is over {} KiB", DOCUMENT_BYTES_MAX / 1_024))
    }
}

#[cfg(test)]
mod tests {
    use domain::service::Network;

    use super::*;

    fn source(issuer: &str) -> Source {
        let at =
            HttpUpstream { url: UpstreamUrl::parse(issuer).unwrap(), network: Network::Public, ca_pem: None };
        Source::new(issuer.to_owned(), at, Dialler::new()).unwrap()
    }

    #[test]
    fn metadata_is_looked_for_where_the_standards_put_it() {
        let addresses = |issuer: &str| -> Vec<String> {
            source(issuer).metadata_addresses().unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            addresses("https://login.example.com/"),
            [
                "https://login.example.com/.well-known/oauth-authorization-server",
                "https://login.example.com/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            addresses("https://login.example.com/realms/a"),
            [
                "https://login.example.com/.well-known/oauth-authorization-server/realms/a",
                "https://login.example.com/realms/a/.well-known/openid-configuration",
                "https://login.example.com/.well-known/openid-configuration/realms/a"
            ]
        );
    }

    #[test]
    fn metadata_of_another_issuer_or_without_tls_leads_nowhere() {
        let source = source("https://login.example.com");
        let keys = r#""jwks_uri":"https://keys.example.com/jwks""#;
        let read = |document: String| source.jwks_in(document.as_bytes()).map(|url| url.to_string());
        let good = r#""issuer":"https://login.example.com""#;
        assert_eq!(read(format!("{{{good},{keys}}}")).unwrap(), "https://keys.example.com/jwks");
        for bad in [
            format!(r#"{{"issuer":"https://login.example.com/",{keys}}}"#),
            format!(r#"{{"issuer":"https://evil.example",{keys}}}"#),
            format!(r#"{{{good},"issuer":"x",{keys}}}"#),
            format!("{{{keys}}}"),
            format!("{{{good}}}"),
            format!(r#"{{{good},"jwks_uri":"http://login.example.com/jwks"}}"#),
            format!(r#"{{{good},"jwks_uri":"file:///etc/passwd"}}"#),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
