//! `risk`: from where on risk has consequences, and the model that is asked.

use std::time::Duration;

use domain::{risk::Thresholds, service::UpstreamUrl};
use pipeline::risk::Style;

use super::{Choices, Faults};

/// How risk is assessed, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    /// From where on people are asked, or calls refused.
    pub thresholds: Thresholds,
    /// The model that is asked.
    pub model: Option<RiskModel>,
}

/// A model that is asked how risky calls are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskModel {
    /// The base of its endpoint.
    pub url: UpstreamUrl,
    /// Its name there.
    pub name: String,
    /// The variable that holds the key.
    pub key_env: Option<String>,
    /// How the endpoint is spoken to.
    pub style: Style,
    /// How long it may take.
    pub timeout: Duration,
}

impl Risk {
    /// Reads what was chosen.
    ///
    /// # Errors
    /// One sentence when half a model is chosen.
    pub(super) fn build(choices: &Choices) -> Result<Self, Faults> {
        let thresholds = Thresholds {
            approve_at: choices.risk("risk.approve_at"),
            refuse_at: choices.risk("risk.refuse_at"),
        };
        let [url, name, key_env] = ["risk.model.url", "risk.model.name", "risk.model.key_env"]
            .map(|path| choices.text(path).map(str::to_owned));
        let lacks = |given: &str, missing: &str| {
            Faults::One(format!("a risk model needs both its URL and its name ({given}); set {missing} too"))
        };
        let model = match (url.as_deref().map(UpstreamUrl::parse), name) {
            (Some(Ok(url)), Some(name)) => {
                let style = match choices.text("risk.model.style") {
                    Some("anthropic") => Style::Anthropic,
                    _ => Style::OpenAi,
                };
                Some(RiskModel { url, name, key_env, style, timeout: choices.duration("risk.model.timeout") })
            }
            (Some(Err(bad)), _) => return Err(Faults::One(format!("{bad} (risk.model.url)"))),
            (Some(Ok(_)), None) => return Err(lacks("risk.model.url", "risk.model.name")),
            (None, Some(_)) => return Err(lacks("risk.model.name", "risk.model.url")),
            (None, None) if key_env.is_some() => {
                return Err(lacks("risk.model.key_env", "risk.model.url and risk.model.name"));
            }
            (None, None) => None,
        };
        Ok(Self { thresholds, model })
    }
}

#[cfg(test)]
mod tests {
    use domain::risk::RiskScore;

    use super::{super::Sources, *};

    fn build(set: &[&str]) -> Result<Risk, Faults> {
        let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
        Risk::build(&Sources { set: &set, ..Sources::default() }.choose()?)
    }

    #[test]
    fn a_risk_model_has_a_url_and_a_name() {
        let risk = build(&[]).unwrap();
        let thresholds = Thresholds { approve_at: Some(RiskScore::from_thousandths(500)), refuse_at: None };
        assert_eq!(risk, Risk { thresholds, model: None });
        assert_eq!(build(&["risk.approve_at=none"]).unwrap().thresholds, Thresholds::default());
        let both = ["risk.model.url=http://127.0.0.1:1/v1", "risk.model.name=small"];
        let model = build(&both).unwrap().model.unwrap();
        assert_eq!((model.style, model.timeout), (Style::OpenAi, Duration::from_secs(10)));
        for half in [&both[..1], &both[1..], &["risk.model.key_env=A"]] {
            let Faults::One(message) = build(half).unwrap_err() else { panic!("one sentence") };
            assert!(message.contains("; set risk.model."), "{message}");
        }
    }
}
