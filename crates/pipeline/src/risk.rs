//! What gate 50 works with: thresholds, and a model if there is one. The arithmetic is in `domain::risk`.

mod answer;
mod anthropic;
mod breaker;
mod model;
mod openai;
mod prompt;
#[cfg(test)]
mod tests;

use domain::risk::Thresholds;

pub use model::{BadModel, Model, ModelSettings, Style};
pub(crate) use prompt::Question;

/// How risk is assessed here.
pub struct Risk {
    /// From where on it has consequences.
    pub thresholds: Thresholds,
    /// The model that is asked, where one is.
    pub model: Option<Model>,
}
