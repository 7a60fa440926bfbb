//! A server of the demo's own on the loopback address, and the count of calls that reached it: what the demo's
//! proofs rest on.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

/// The largest message it reads (bytes).
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A running server. It ends when this is dropped.
pub(super) struct Upstream {
    address: SocketAddr,
    hits: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// What a server makes of a request; `true` beside the answer when it counts as a call.
pub(super) type Handler = Arc<dyn Fn(&Request<Bytes>) -> (Response<Full<Bytes>>, bool) + Send + Sync>;

impl Upstream {
    /// Starts it on a free port.
    pub(super) async fn start(handler: Handler) -> std::io::Result<Self> {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = socket.local_addr()?;
        let hits = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&hits);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (hits, handler) = (Arc::clone(&counted), Arc::clone(&handler));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (hits, handler) = (Arc::clone(&hits), Arc::clone(&handler));
                        async move { Ok::<_, Infallible>(answer(request, &handler, &hits).await) }
                    });
                    // How a connection ended is its client's business.
                    let _ = stream.set_nodelay(true);
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, hits, task })
    }

    /// `http://` and its address.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Calls that reached it since the last reset.
    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::SeqCst)
    }

    pub(super) fn reset(&self) {
        self.hits.store(0, Ordering::SeqCst);
    }

    /// The hits since the last reset, and a reset.
    pub(super) fn take_hits(&self) -> u64 {
        self.hits.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(request: Request<Incoming>, handler: &Handler, hits: &AtomicU64) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MESSAGE_BYTES_MAX).collect().await else {
        return empty(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let (response, counts) = handler(&Request::from_parts(head, body.to_bytes()));
    if counts {
        hits.fetch_add(1, Ordering::SeqCst);
    }
    response
}

pub(super) fn json(body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
