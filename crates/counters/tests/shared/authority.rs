//! An authority of a test's own, and certificates that it signs for servers and clients.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};

pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

/// A certificate and its key (PEM).
pub struct Signed {
    pub certificate: String,
    pub key: String,
}

/// When a certificate is good.
#[derive(Clone, Copy)]
pub enum Valid {
    Now,
    Before,
    Later,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        // All have this name, as one has whose key was replaced.
        params.distinguished_name = named("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    /// Its own certificate (PEM), which clients are given.
    pub fn certificate(&self) -> String {
        self.pem.clone()
    }

    /// What somebody has who uses it for a server too.
    pub fn as_server(&self) -> Signed {
        Signed { certificate: self.pem.clone(), key: self.key.serialize_pem() }
    }

    /// A certificate for one name.
    pub fn sign(&self, name: &str, valid: Valid) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = named(name);
        let (from, until) = match valid {
            Valid::Now => (2000, 2100),
            Valid::Before => (2000, 2001),
            Valid::Later => (2099, 2100),
        };
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        Signed { certificate, key: key.serialize_pem() }
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}
