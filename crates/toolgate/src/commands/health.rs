//! `toolgate health`: asks the running gateway whether it lives, or whether it takes calls. It is what containers are
//! watched with, so it needs nothing but the binary, and opens no store.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use domain::service::Network;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pipeline::dial::{DialError, dial};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{Context, Verdict};
use crate::{
    output::{Mark, escape_foreign},
    settings,
};

/// How long the gateway may take to answer. It asks its store for `--ready`.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// The most that is read of an answer (bytes).
const ANSWER_BYTES_MAX: usize = 1_024;

#[derive(Debug, Args)]
pub struct Options {
    #[arg(long)]
    ready: bool,
}

/// Asks the gateway's own listener.
///
/// # Errors
/// When nobody answers there.
pub fn run(context: &Context, options: &Options) -> anyhow::Result<Verdict> {
    let listener = context.settings()?.gateway.listener;
    let address = own_address(listener.listen);
    if address.port() == 0 {
        bail!("the gateway chooses its port when it starts (gateway.listen); give it a number");
    }
    let path = if options.ready { "/readyz" } else { "/healthz" };
    let asked = context.block_on(async {
        Ok(tokio::time::timeout(ANSWER_MAX, ask(&listener, address, path))
            .await
            .unwrap_or_else(|_| Err(format!("no answer in {} s", ANSWER_MAX.as_secs()))))
    })?;
    let (status, said) = match asked {
        Ok(answer) => answer,
        Err(why) => {
            if context.output.json {
                let word = if options.ready { "ready" } else { "alive" };
                context.output.json(&json!({ word: false, "reason": why }))?;
            }
            let serve = context.invocation.command("serve");
            bail!("the gateway does not answer ({address}, {why}); start it: {serve}");
        }
    };
    let is_well = status == StatusCode::OK;
    let output = &context.output;
    let word = if options.ready { "ready" } else { "alive" };
    let reason = (!is_well).then(|| escape_foreign(said.trim()).into_owned());
    match &reason {
        _ if output.json => output.json(&json!({ word: is_well, "reason": reason }))?,
        None => output.answer_marked(Mark::Done, format!("{word}   {address}"))?,
        Some(reason) => output.answer_marked(Mark::Failed, format!("not {word}   {address}   {reason}"))?,
    }
    Ok(if is_well { Verdict::Done } else { Verdict::No })
}

/// Where this machine reaches a listener: one that takes connections to every address takes them here.
fn own_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The status and the text of an answer.
async fn ask(
    listener: &settings::Listener,
    address: SocketAddr,
    path: &str,
) -> Result<(StatusCode, String), String> {
    let stream = dial(&address.ip().to_string(), address.port(), Network::Private).await.map_err(
        |error| match error {
            DialError::Unreachable { why, .. } => why,
            other => in_words(other),
        },
    )?;
    if listener.tls.is_none() {
        return get(stream, address, path).await;
    }
    let name = ServerName::IpAddress(address.ip().into());
    get(connector()?.connect(name, stream).await.map_err(in_words)?, address, path).await
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    path: &str,
) -> Result<(StatusCode, String), String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(in_words)?;
    // It ends with its sender.
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(in_words)?).await.map_err(in_words)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(in_words)?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

fn in_words(error: impl fmt::Display) -> String {
    escape_foreign(&error.to_string()).into_owned()
}

fn connector() -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(in_words)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes every certificate: the listener's is for a name that leads elsewhere, and may have been replaced since it was
/// read. Nothing is told to who answers, and no more is believed than that somebody listens on this machine's port.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_asked_on_this_machine() {
        for (listen, own) in [
            ("0.0.0.0:8484", "127.0.0.1:8484"),
            ("[::]:8484", "[::1]:8484"),
            ("10.0.0.7:1", "10.0.0.7:1"),
            ("127.0.0.1:2", "127.0.0.1:2"),
        ] {
            assert_eq!(own_address(listen.parse().unwrap()), own.parse().unwrap(), "{listen}");
        }
    }
}
