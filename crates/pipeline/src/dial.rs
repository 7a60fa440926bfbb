//! The one place that opens outbound sockets: resolves a name once, judges every address, dials one that passed.

mod wire;

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use domain::{
    address,
    service::{HttpUpstream, Network},
};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use wire::Wire;

use crate::credentials::ClientIdentity;

/// How long a connection may take to come up.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What ALPN calls HTTP/2 (RFC 9113 §3.2) and HTTP/1.1.
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// The dialler's own words behind an error of the HTTP library, where there are any.
pub(crate) fn behind<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e DialError> {
    let mut source = Some(error);
    while let Some(cause) = source {
        if let Some(dial) = cause.downcast_ref() {
            return Some(dial);
        }
        source = cause.source();
    }
    None
}

/// Which versions of HTTP a TLS server is offered. Without TLS it is always HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2, or HTTP/1.1 where the server has no HTTP/2.
    Http2OrHttp1,
}

/// Why there is no connection. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DialError {
    /// The name has no address.
    #[error("`{0}` cannot be resolved")]
    Unresolved(String),
    /// The name has an address where this service may not go.
    #[error("`{host}` is {zone}; if that is meant, say `network: private`")]
    Forbidden {
        /// The host as the service names it.
        host: String,
        /// What its address is.
        zone: &'static str,
    },
    /// Nobody answers there.
    #[error("`{host}` does not answer ({why})")]
    Unreachable {
        /// The host as the service names it.
        host: String,
        /// What the system says.
        why: String,
    },
    /// TLS failed.
    #[error("TLS with `{host}` failed: {why}")]
    Tls {
        /// The host as the service names it.
        host: String,
        /// What failed.
        why: String,
    },
    /// The service's own trust anchor cannot be read.
    #[error("the certificate in `ca` cannot be read")]
    BadAnchor,
}

/// Makes connectors. Holds the system's trust anchors, read once.
#[derive(Clone)]
pub struct Dialler {
    roots: Arc<RootCertStore>,
    #[cfg(feature = "simulation")]
    lead: Option<Lead>,
}

/// Where a simulation lets connections lead, and how long they take to come up.
#[cfg(feature = "simulation")]
pub type Lead = Arc<dyn Fn() -> (Duration, tokio::io::DuplexStream) + Send + Sync>;

impl Dialler {
    /// Reads the trust anchors: the system's, and those of the web's root programmes.
    #[must_use]
    pub fn new() -> Self {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let (_added, _ignored) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self {
            roots: Arc::new(roots),
            #[cfg(feature = "simulation")]
            lead: None,
        }
    }

    /// Opens no sockets: every connection in the clear leads there. For `tests/simulation` alone.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn leading(lead: Lead) -> Self {
        Self { roots: Arc::new(RootCertStore::empty()), lead: Some(lead) }
    }

    /// A connector for one service. Over TLS it shows `identity`, where there is one, to a server that asks who it
    /// is talking to.
    ///
    /// # Errors
    /// [`DialError::BadAnchor`], [`DialError::Tls`].
    pub fn connector(
        &self,
        upstream: &HttpUpstream,
        versions: Versions,
        identity: Option<&ClientIdentity>,
    ) -> Result<Connector, DialError> {
        let tls = if upstream.url.is_tls() { Some(self.tls(upstream, versions, identity)?) } else { None };
        Ok(Connector {
            target: Arc::new(Target {
                upstream: upstream.clone(),
                tls,
                #[cfg(feature = "simulation")]
                lead: self.lead.clone(),
            }),
        })
    }

    fn tls(
        &self,
        upstream: &HttpUpstream,
        versions: Versions,
        identity: Option<&ClientIdentity>,
    ) -> Result<Tls, DialError> {
        let roots = match &upstream.ca_pem {
            None => Arc::clone(&self.roots),
            Some(pem) => {
                let mut roots = RootCertStore::clone(&self.roots);
                add_anchors(&mut roots, pem)?;
                Arc::new(roots)
            }
        };
        let host = upstream.url.host().to_owned();
        let failed = |why: String| DialError::Tls { host: host.clone(), why };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => config.with_client_cert_resolver(identity.resolver()),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = match versions {
            Versions::Http1 => vec![HTTP_1.to_vec()],
            Versions::Http2OrHttp1 => vec![HTTP_2.to_vec(), HTTP_1.to_vec()],
        };
        let name = ServerName::try_from(host.clone()).map_err(|error| failed(error.to_string()))?;
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

/// Whether an upstream could be trusted by these certificates in PEM (RFC 7468), one at least.
///
/// # Errors
/// [`DialError::BadAnchor`].
pub fn check_anchors(pem: &str) -> Result<(), DialError> {
    add_anchors(&mut RootCertStore::empty(), pem)
}

fn add_anchors(roots: &mut RootCertStore, pem: &str) -> Result<(), DialError> {
    let before = roots.len();
    for anchor in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let anchor = anchor.map_err(|_| DialError::BadAnchor)?;
        roots.add(anchor).map_err(|_| DialError::BadAnchor)?;
    }
    if roots.len() == before { Err(DialError::BadAnchor) } else { Ok(()) }
}

impl Default for Dialler {
    fn default() -> Self {
        Self::new()
    }
}

/// Connects to one service's host and nothing else.
#[derive(Clone)]
pub struct Connector {
    target: Arc<Target>,
}

struct Target {
    upstream: HttpUpstream,
    tls: Option<Tls>,
    #[cfg(feature = "simulation")]
    lead: Option<Lead>,
}

struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        // The address is the service's, not the request's: nothing an agent sends can choose a host.
        let target = Arc::clone(&self.target);
        Box::pin(async move { connect(&target).await.map(TokioIo::new) })
    }
}

async fn connect(target: &Target) -> Result<Wire, DialError> {
    let url = &target.upstream.url;
    #[cfg(feature = "simulation")]
    if let Some(lead) = &target.lead {
        let (takes, stream) = lead();
        tokio::time::sleep(takes).await;
        return Ok(Wire::simulated(stream));
    }
    let stream = dial(url.host(), url.port(), target.upstream.network).await?;
    match &target.tls {
        None => Ok(Wire::plain(stream)),
        Some(tls) => {
            let failed = |why: String| DialError::Tls { host: url.host().to_owned(), why };
            let handshake = tls.connector.connect(tls.name.clone(), stream);
            match tokio::time::timeout(CONNECT_MAX, handshake).await {
                Ok(Ok(stream)) => Ok(Wire::tls(stream)),
                Ok(Err(error)) => Err(failed(error.to_string())),
                Err(_) => Err(failed("the handshake takes too long".into())),
            }
        }
    }
}

/// Opens a TCP connection to `host`, if every address it has may be dialled.
///
/// # Errors
/// [`DialError`]; nothing was sent.
pub async fn dial(host: &str, port: u16, network: Network) -> Result<TcpStream, DialError> {
    let unreachable = |why: String| DialError::Unreachable { host: host.to_owned(), why };
    let resolved = tokio::time::timeout(CONNECT_MAX, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| DialError::Unresolved(host.to_owned()))?
        .map_err(|_| DialError::Unresolved(host.to_owned()))?;
    let addresses: Vec<SocketAddr> = resolved.collect();
    if addresses.is_empty() {
        return Err(DialError::Unresolved(host.to_owned()));
    }
    let judge = |address: &SocketAddr| {
        address::judge(address.ip(), network)
            .map_err(|zone| DialError::Forbidden { host: host.to_owned(), zone })
    };
    addresses.iter().try_for_each(judge)?;
    let mut last = String::new();
    for address in addresses {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that opens outbound sockets")]
        let attempt = TcpStream::connect(address);
        match tokio::time::timeout(CONNECT_MAX, attempt).await {
            Ok(Ok(stream)) => {
                // Whatever stands between us and the address: who answers is judged as well.
                judge(&stream.peer_addr().map_err(|error| unreachable(error.to_string()))?)?;
                // Without it small answers wait for Nagle's algorithm, tens of milliseconds each.
                stream.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = plain(&error),
            Err(_) => last = "no answer in time".into(),
        }
    }
    Err(unreachable(last))
}

/// The system's words without its number.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
