//! `client_certificate`: who we are to a TLS server that asks (mTLS, RFC 8446 §4.4.2). The private key never leaves.

use std::sync::Arc;

use domain::service::HttpUpstream;
use rustls::{
    client::ResolvesClientCert,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use vault::Secret;

use super::Injection;

/// A certificate chain and its private key. It signs, and shows the key to nobody.
pub struct ClientIdentity(Arc<CertifiedKey>);

impl ClientIdentity {
    /// Reads the chain, the certificate of the client first, and its key out of PEM (RFC 7468).
    ///
    /// # Errors
    /// What is wrong with them, in words for operators and without a byte of them.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| "its certificates cannot be read")?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "its private key cannot be read")?;
        if chain.is_empty() {
            return Err("it has no certificate".into());
        }
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map(|key| Self(Arc::new(key))).map_err(|error| {
            match error {
                rustls::Error::InconsistentKeys(_) => "its private key does not fit its certificate".into(),
                _ => "its private key is of a kind that is not supported".into(),
            }
        })
    }

    /// Shows this identity to every server that asks, whatever authorities it names.
    pub(crate) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.0)))
    }
}

pub(super) fn add(value: &Secret, upstream: &HttpUpstream, to: &mut Injection) -> Result<(), String> {
    if !upstream.url.is_tls() {
        return Err("a client certificate needs an https:// address".into());
    }
    if to.identity.is_some() {
        return Err("the service has another client certificate already".into());
    }
    // Nothing to mask: the service never sees the private key, so it cannot send it back.
    to.identity = Some(Arc::new(ClientIdentity::from_pem(value.reveal())?));
    Ok(())
}
