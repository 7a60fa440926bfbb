//! From the setting `notify` to receivers that can be told: their secrets are taken from the environment.

use anyhow::{anyhow, bail};
use pipeline::notify::{Signer, Sink};
use zeroize::Zeroizing;

use crate::settings::{NotifySink, Settings};

/// The receivers of an install.
///
/// # Errors
/// One sentence when a secret is missing or cannot be read.
pub fn sinks(settings: &Settings) -> anyhow::Result<Vec<Sink>> {
    settings.notify.iter().enumerate().map(|(index, sink)| one(index, sink)).collect()
}

fn one(index: usize, sink: &NotifySink) -> anyhow::Result<Sink> {
    let NotifySink { url, secret_env, format, topics } = sink.clone();
    let signer = match &secret_env {
        None => None,
        Some(name) => {
            let Some(secret) = std::env::var(name).ok().filter(|text| !text.is_empty()).map(Zeroizing::new)
            else {
                bail!(
                    "${name} is not set (notify[{index}].secret_env); set it to the secret that signs notifications"
                )
            };
            let signer = Signer::new(&secret).map_err(|bad| {
                anyhow!(
                    "${name} is no secret (notify[{index}].secret_env): {bad}; set it to `whsec_` and base64"
                )
            })?;
            if signer.is_short {
                tracing::warn!(
                    "the secret in ${name} is shorter than 24 bytes (notify[{index}].secret_env); use a longer one"
                );
            }
            Some(signer)
        }
    };
    Ok(Sink { url, format, topics, signer })
}
