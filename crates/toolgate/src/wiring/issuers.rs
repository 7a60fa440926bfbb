//! From the setting `gateway.issuers` to issuers that can be asked for their keys: trust anchors are read.

use anyhow::anyhow;
use domain::service::HttpUpstream;
use pipeline::issuers::IssuerSettings;

use crate::settings::Issuer;

/// The issuers of an install.
///
/// # Errors
/// One sentence when a trust anchor cannot be read.
pub fn issuers(issuers: &[Issuer]) -> anyhow::Result<Vec<IssuerSettings>> {
    issuers.iter().enumerate().map(|(index, issuer)| one(index, issuer)).collect()
}

fn one(index: usize, issuer: &Issuer) -> anyhow::Result<IssuerSettings> {
    let Issuer { terms, url, network, ca } = issuer.clone();
    let read = |file: std::path::PathBuf| {
        std::fs::read_to_string(&file).map_err(|error| {
            let file = file.display();
            anyhow!("{file} cannot be read: {error} (gateway.issuers[{index}].ca); give a PEM certificate")
        })
    };
    let ca_pem = ca.map(read).transpose()?;
    Ok(IssuerSettings { terms, at: HttpUpstream { url, network, ca_pem } })
}
