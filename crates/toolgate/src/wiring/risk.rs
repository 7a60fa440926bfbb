//! The model that risk is assessed with.

use std::sync::Arc;

use anyhow::anyhow;
use domain::clock::Clock;
use pipeline::{
    dial::Dialler,
    risk::{BadModel, Model, ModelSettings},
};
use vault::Secret;

use crate::{
    settings::{self, RiskModel},
    unlock::variable,
};

/// The model of the settings, where there is one.
///
/// # Errors
/// One sentence when it can never be asked.
pub fn model(
    settings: &settings::Risk,
    dialler: &Dialler,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<Model>> {
    let Some(RiskModel { url, name, key_env, style, timeout }) = &settings.model else { return Ok(None) };
    let key = match key_env {
        None => None,
        Some(name) => {
            let text = variable(name).ok_or_else(|| {
                anyhow!("the risk model has no key (${name} is not set, risk.model.key_env); set it, and start again")
            })?;
            Some(Secret::new(text.as_bytes().to_vec()))
        }
    };
    let (url, name) = (url.clone(), name.clone());
    let settings = ModelSettings { url, name, style: *style, key, timeout: *timeout };
    let model = Model::new(&settings, dialler, Arc::clone(clock)).map_err(|bad| {
        let (setting, next) = match &bad {
            BadModel::Unencrypted(_) => ("risk.model.url", "use https://"),
            BadModel::Key => ("risk.model.key_env", "set that variable to the key alone"),
            BadModel::Address(_) | BadModel::Dial(_) => ("risk.model.url", "use another address"),
        };
        anyhow!("the risk model cannot be asked: {bad} ({setting}); {next}")
    })?;
    Ok(Some(model))
}
