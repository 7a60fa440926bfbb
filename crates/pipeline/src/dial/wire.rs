//! A connection as hyper sees it, with or without TLS.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::HTTP_2;

/// How much is read at one go before other connections have their turn (bytes). The HTTP library goes on reading and
/// parsing as long as something is there: an upstream that sends faster than we read would keep a thread for itself.
const TURN_BYTES_MAX: usize = 64 * 1024;

/// A connection to an upstream, with or without TLS.
pub struct Wire {
    stream: Stream,
    /// What has been read since the reader last had to wait (bytes).
    turn_bytes: usize,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(feature = "simulation")]
    Simulated(tokio::io::DuplexStream),
}

impl Wire {
    /// A connection in the clear.
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self { stream: Stream::Plain(stream), turn_bytes: 0 }
    }

    /// TLS over TCP.
    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), turn_bytes: 0 }
    }

    /// A connection that leads into a simulation.
    #[cfg(feature = "simulation")]
    pub(super) fn simulated(stream: tokio::io::DuplexStream) -> Self {
        Self { stream: Stream::Simulated(stream), turn_bytes: 0 }
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        match &self.stream {
            Stream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) => {
                Connected::new().negotiated_h2()
            }
            _ => Connected::new(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.turn_bytes >= TURN_BYTES_MAX {
            this.turn_bytes = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            #[cfg(feature = "simulation")]
            Stream::Simulated(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        this.turn_bytes = match read {
            Poll::Pending => 0,
            Poll::Ready(_) => this.turn_bytes + buffer.filled().len() - before,
        };
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
            #[cfg(feature = "simulation")]
            Stream::Simulated(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            #[cfg(feature = "simulation")]
            Stream::Simulated(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            #[cfg(feature = "simulation")]
            Stream::Simulated(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, bytes),
            #[cfg(feature = "simulation")]
            Stream::Simulated(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            #[cfg(feature = "simulation")]
            Stream::Simulated(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn whoever_sends_much_gives_others_their_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = 8 * TURN_BYTES_MAX;
        let sender = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&vec![7; bytes]).await.unwrap();
        });
        #[expect(clippy::disallowed_methods, reason = "a test speaks to its own server")]
        let mut wire = Wire::plain(TcpStream::connect(address).await.unwrap());
        let mut piece = vec![0; 16 * 1024];
        let (mut whole, mut at_one_go) = (0, 0);
        while whole < bytes {
            let mut go_on = true;
            std::future::poll_fn(|context| {
                while go_on && whole < bytes {
                    let mut buffer = ReadBuf::new(&mut piece);
                    match Pin::new(&mut wire).poll_read(context, &mut buffer) {
                        Poll::Ready(read) => {
                            read.unwrap();
                            go_on = !buffer.filled().is_empty();
                            assert!(buffer.filled().iter().all(|byte| *byte == 7));
                            whole += buffer.filled().len();
                            at_one_go += buffer.filled().len();
                            assert!(at_one_go <= TURN_BYTES_MAX + 16 * 1024, "{at_one_go} bytes at one go");
                        }
                        Poll::Pending => {
                            at_one_go = 0;
                            return Poll::Pending;
                        }
                    }
                }
                Poll::Ready(())
            })
            .await;
            assert!(go_on, "the sender broke off");
        }
        sender.await.unwrap();
        assert_eq!(wire.read(&mut piece).await.unwrap(), 0, "nothing is lost or doubled");
    }
}
