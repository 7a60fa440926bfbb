//! What is known of a risk before there is a call, for those who ask in advance.

use super::Thresholds;

/// Thresholds, and who has a say.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownRisk {
    /// From where on risk has consequences.
    pub thresholds: Thresholds,
    /// Whether a model has a say in each call: what it will say is not known.
    pub has_model: bool,
}
