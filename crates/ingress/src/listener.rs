//! Listening: accepts connections, with or without TLS, and ends them politely.

mod guard;
mod patience;
mod streams;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::system::system_words;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use guard::{Guarded, Verdict, is_stand_in};
use patience::Patient;
use streams::{Found, LOOK_EVERY, Streams};

use crate::{Entrance, receive};

/// How many connections may be open at once on one listener.
const CONNECTIONS_MAX: usize = 8_192;
/// How long a client may take to send the head of a request.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How many headers a request may have.
const HEADERS_MAX: usize = 100;
/// How large the head of a request may be (bytes).
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How much of an HTTP/2 request's body may come ahead of its reader (bytes).
const STREAM_BYTES_MAX: u32 = 256 * 1024;

/// Why there is no listener.
#[derive(Debug, Error)]
pub enum ListenerFault {
    /// The port is in use.
    #[error("port {0} is taken")]
    Taken(u16),
    /// The system does not let us listen there.
    #[error("{address} cannot be listened on ({})", system_words(error))]
    Refused {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("{why} ({})", path.display())]
    BadTls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// A certificate chain and its key.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Reads PEM files. TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`ListenerFault::BadTls`] names the file and what is wrong with it.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, ListenerFault> {
        let bad = |path: &Path, why: String| ListenerFault::BadTls { path: path.to_owned(), why };
        let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect)
            .map_err(|error| bad(cert, format!("no certificate can be read, {}", pem_words(&error))))?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| bad(key, format!("no private key can be read, {}", pem_words(&error))))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(cert, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| bad(cert, error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

/// Why a PEM file gave nothing.
fn pem_words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => system_words(error),
        pem::Error::NoItemsFound => "there is none in the file".to_owned(),
        _ => "the file is not PEM".to_owned(),
    }
}

/// A bound socket that has not begun to serve.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Tls>,
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// [`ListenerFault::Taken`], [`ListenerFault::Refused`].
    pub fn bind(address: SocketAddr, tls: Option<Tls>) -> Result<Self, ListenerFault> {
        let bind = || -> io::Result<TcpListener> {
            let domain = socket2::Domain::for_address(address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(1_024)?;
            TcpListener::from_std(socket.into())
        };
        match bind() {
            Ok(socket) => Ok(Self { socket, tls }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(ListenerFault::Taken(address.port()))
            }
            Err(error) => Err(ListenerFault::Refused { address, error }),
        }
    }

    /// The address that was bound; its port when 0 was asked for.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `drain` turns true, then waits for the requests under way, at most `grace`.
    ///
    /// Returns how many connections were still open at the end of the grace.
    pub async fn serve(
        self,
        entrance: Arc<Entrance>,
        mut drain: watch::Receiver<bool>,
        grace: Duration,
    ) -> usize {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = drained(&mut drain) => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: give others time to close some.
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!("{CONNECTIONS_MAX} connections are open, one more was closed");
                continue;
            };
            let (entrance, tls, drain) = (Arc::clone(&entrance), self.tls.clone(), drain.clone());
            connections.spawn(async move {
                connection(stream, peer, tls, entrance, drain).await;
                drop(place);
            });
        }
        drop(self.socket);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(grace, all_ended).await;
        let left = connections.len();
        connections.shutdown().await;
        left
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
    entrance: Arc<Entrance>,
    drain: watch::Receiver<bool>,
) {
    // Without it small answers wait for Nagle's algorithm, tens of milliseconds each.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let stream = Patient::new(stream);
    match tls {
        None => http1(stream, peer, entrance, drain).await,
        Some(Tls(acceptor)) => {
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await else {
                return;
            };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http2(stream, peer, entrance, drain).await;
            } else {
                http1(stream, peer, entrance, drain).await;
            }
        }
    }
}

/// Resolves when the listener is to end its work.
async fn drained(drain: &mut watch::Receiver<bool>) {
    // An error means that nobody can say so any more, which is the same.
    let _ = drain.wait_for(|drain| *drain).await;
}

async fn http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    entrance: Arc<Entrance>,
    mut drain: watch::Receiver<bool>,
) {
    let verdict = Verdict::default();
    let stream = Guarded::new(stream, HEAD_BYTES_MAX, Arc::clone(&verdict));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let entrance = Arc::clone(&entrance);
        let fault = verdict.get().filter(|_| is_stand_in(&request)).copied();
        async move { Ok::<_, Infallible>(receive(&entrance, peer, request, fault).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // How a connection ended is its client's business.
        _ = connection.as_mut() => return,
        () = drained(&mut drain) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    entrance: Arc<Entrance>,
    mut drain: watch::Receiver<bool>,
) {
    let streams = Streams::default();
    let requests = streams.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (entrance, under_way) = (Arc::clone(&entrance), requests.begin());
        async move {
            let answer = receive(&entrance, peer, request, None).await;
            Ok::<_, Infallible>(answer.map(|body| under_way.watch(body)))
        }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(64 * 1024)
        .max_concurrent_streams(256)
        .initial_stream_window_size(STREAM_BYTES_MAX)
        .max_send_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    // A machine that stood still must not be taken for clients that did.
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut draining, mut is_ending) = (false, false);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = drained(&mut drain), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => match streams.look() {
                Found::InOrder => is_ending = false,
                // Politely first, as a request may be on its way.
                Found::Idle if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                Found::Idle | Found::Stalled => return,
            },
        }
    }
}

#[cfg(test)]
mod tests;
