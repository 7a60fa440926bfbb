//! Where the gateway or the console listens, and how that is protected.

use std::{net::SocketAddr, path::PathBuf};

use super::{Choices, Faults};

/// A listener's address and how it is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address and port.
    pub listen: SocketAddr,
    /// How others reach it, without a slash at the end; `None`: by the address itself.
    pub public_url: Option<String>,
    /// Certificate and key, when it speaks TLS itself.
    pub tls: Option<TlsFiles>,
    /// Plain HTTP on an address that others can reach, said out loud.
    pub insecure: bool,
    /// Host names it answers to, besides its address and its public URL.
    pub allowed_hosts: Vec<String>,
}

/// PEM files of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Listener {
    pub(super) fn build(
        choices: &Choices,
        area: &str,
        path: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, Faults> {
        let (cert, key) = (path(&format!("{area}.tls.cert")), path(&format!("{area}.tls.key")));
        let tls = match (cert, key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => return Err(half(area, "cert", "key")),
            (None, Some(_)) => return Err(half(area, "key", "cert")),
        };
        let listener = Self {
            listen: choices.address(&format!("{area}.listen")),
            public_url: choices.text(&format!("{area}.public_url")).map(str::to_owned),
            tls,
            insecure: choices.is_true(&format!("{area}.insecure")),
            allowed_hosts: choices.list(&format!("{area}.allowed_hosts")),
        };
        if !listener.listen.ip().is_loopback() && listener.tls.is_none() && !listener.insecure {
            return Err(Faults::One(format!(
                "{} is reachable from other machines without TLS ({area}.listen); set {area}.tls.cert and \
                 {area}.tls.key, or say {area}.insecure: true when a proxy in front speaks TLS",
                listener.listen
            )));
        }
        Ok(listener)
    }

    /// How others reach this listener.
    #[must_use]
    pub fn url(&self) -> String {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.listen)
    }
}

fn half(area: &str, given: &str, missing: &str) -> Faults {
    Faults::One(format!("TLS needs both files ({area}.tls.{given}); set {area}.tls.{missing} too"))
}
