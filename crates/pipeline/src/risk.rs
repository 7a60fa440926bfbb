//! What gate 50 works with: thresholds, what tools say about themselves, and perhaps a model. The arithmetic is
//! `domain::risk`'s.

mod answer;
mod anthropic;
mod breaker;
mod hints;
mod model;
mod openai;
mod prompt;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use domain::risk::Thresholds;

pub use hints::Hints;
pub use model::{BadModel, Model, ModelSettings, Style};
pub(crate) use prompt::Question;

/// How risk is assessed here.
pub struct Risk {
    /// From where on it has consequences.
    pub thresholds: Thresholds,
    /// The model that is asked, where one is.
    pub model: Option<Model>,
    /// What tools say about themselves.
    pub hints: Arc<Hints>,
}
