//! One call's risk: its weight, what the rules say, what a model said, and what follows from all three.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use super::{RiskScore, Weight};
use crate::policy::RuleRisk;

/// What is added to the weight when a model was asked and did not answer (issue 4, item 2).
const FAILURE_THOUSANDTHS: u16 = 300;

/// From where on risk has consequences: `risk.approve_at` and `risk.refuse_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thresholds {
    /// At or above it people are asked; `None`: risk alone asks nobody.
    pub approve_at: Option<RiskScore>,
    /// At or above it the call is refused; `None`: risk alone refuses nothing.
    pub refuse_at: Option<RiskScore>,
}

/// What follows from a call's risk. The later, the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RiskVerdict {
    /// It may pass.
    Pass,
    /// People must approve it.
    Ask,
    /// It is refused.
    Refuse,
}

/// Which model was asked, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelId {
    /// Its name, as the settings have it.
    pub name: Arc<str>,
    /// SHA-256 of the prompt's template, lower-case hex.
    pub prompt_hash: Arc<str>,
}

/// What a model said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ModelSaid {
    /// None was asked.
    #[default]
    NotAsked,
    /// A number.
    Answered {
        /// The number.
        score: RiskScore,
        /// By which model.
        model: ModelId,
    },
    /// Nothing that can be used.
    Failed {
        /// Why, in words of ours: nothing that the model or its server wrote.
        why: Cow<'static, str>,
        /// Which model.
        model: ModelId,
    },
}

/// How risky a call is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// What it weighs by its kind.
    pub weight: Weight,
    /// What the rules that match it say.
    pub rule: RuleRisk,
    /// What a model said.
    pub model: ModelSaid,
}

impl Assessment {
    /// Without a model.
    #[must_use]
    pub const fn of(weight: Weight, rule: RuleRisk) -> Self {
        Self { weight, rule, model: ModelSaid::NotAsked }
    }

    /// The weight alone.
    #[must_use]
    pub fn heuristic(&self) -> RiskScore {
        self.weight.score()
    }

    /// What it is at least: its weight, or what its rule says where that is more. Nothing lowers it.
    #[must_use]
    pub fn floor(&self) -> RiskScore {
        self.rule.floor.unwrap_or_default().max(self.heuristic())
    }

    /// Model and weight together: 0.7 of the one and 0.3 of the other, rounded up. Without a model the weight; after
    /// one that failed the weight and 0.3, at most 1.
    #[must_use]
    pub fn mixed(&self) -> RiskScore {
        let weight = self.heuristic().thousandths();
        match &self.model {
            ModelSaid::NotAsked => self.heuristic(),
            ModelSaid::Answered { score, .. } => {
                let tenths = u32::from(score.thousandths()) * 7 + u32::from(weight) * 3;
                RiskScore::from_thousandths(u16::try_from(tenths.div_ceil(10)).unwrap_or(u16::MAX))
            }
            ModelSaid::Failed { .. } => RiskScore::from_thousandths(weight + FAILURE_THOUSANDTHS),
        }
    }

    /// The risk that is compared, recorded and shown: never below the floor, so a model can only raise it.
    #[must_use]
    pub fn score(&self) -> RiskScore {
        self.floor().max(self.mixed())
    }

    /// What follows. After a model that failed, whatever the rules do not call a read goes to people, as long as risk
    /// has any threshold at all. `risk: ignore` says that a call needs nobody however risky it is: it passes
    /// `approve_at`, and a failed model too; `refuse_at` still holds.
    #[must_use]
    pub fn decide(&self, thresholds: &Thresholds) -> RiskVerdict {
        let reaches = |at: Option<RiskScore>| at.is_some_and(|at| self.score() >= at);
        let has_any = thresholds.approve_at.is_some() || thresholds.refuse_at.is_some();
        let is_unknown = matches!(self.model, ModelSaid::Failed { .. }) && !self.rule.read && has_any;
        if reaches(thresholds.refuse_at) {
            RiskVerdict::Refuse
        } else if !self.rule.ignore && (reaches(thresholds.approve_at) || is_unknown) {
            RiskVerdict::Ask
        } else {
            RiskVerdict::Pass
        }
    }

    /// What the score is made of, as people read it behind `0.30 = `: `POST 0.30; no model asked`.
    #[must_use]
    pub fn parts(&self) -> String {
        self.text(8)
    }

    /// The same for the trail: the prompt's hash is whole.
    #[must_use]
    pub fn recorded_parts(&self) -> String {
        self.text(64)
    }

    fn text(&self, hash_digits: usize) -> String {
        let (name, weight) = (self.weight.name(), self.heuristic());
        let mut text = match &self.model {
            ModelSaid::NotAsked => format!("{name} {weight}"),
            ModelSaid::Answered { score, model } => {
                format!("0.7 × {score} by model {} + 0.3 × {name} {weight}", shown(model, hash_digits))
            }
            ModelSaid::Failed { .. } => {
                format!("{name} {weight} + {}", RiskScore::from_thousandths(FAILURE_THOUSANDTHS))
            }
        };
        let floor = self.floor();
        if floor > self.mixed() {
            let by = if floor > weight { "its rule" } else { name };
            // Writing to a `String` cannot fail.
            let _ = write!(text, "; at least {floor} by {by}");
        }
        match &self.model {
            ModelSaid::NotAsked => text.push_str("; no model asked"),
            ModelSaid::Answered { .. } => {}
            ModelSaid::Failed { why, model } => {
                let _ = write!(text, "; model {} failed: {why}", shown(model, hash_digits));
            }
        }
        text
    }
}

/// `` `small` (prompt 1f2e3d4c…) ``.
fn shown(model: &ModelId, hash_digits: usize) -> String {
    let hash = model.prompt_hash.get(..hash_digits).unwrap_or(&model.prompt_hash);
    let cut = if hash.len() < model.prompt_hash.len() { "…" } else { "" };
    format!("`{}` (prompt {hash}{cut})", model.name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WEIGHTS: [Weight; 13] = [
        Weight::Delete,
        Weight::Put,
        Weight::Patch,
        Weight::Post,
        Weight::Get,
        Weight::Head,
        Weight::Options,
        Weight::OtherMethod,
        Weight::Tool,
        Weight::ReadOnlyTool,
        Weight::DestructiveTool,
        Weight::UnseenTool,
        Weight::Read,
    ];

    fn score(thousandths: u16) -> RiskScore {
        RiskScore::from_thousandths(thousandths)
    }

    fn model() -> ModelId {
        ModelId { name: "small".into(), prompt_hash: "1f2e3d4c".repeat(8).into() }
    }

    fn answered(thousandths: u16) -> ModelSaid {
        ModelSaid::Answered { score: score(thousandths), model: model() }
    }

    fn failed() -> ModelSaid {
        ModelSaid::Failed { why: "it did not answer within 10 s".into(), model: model() }
    }

    fn assessment(weight: Weight, floor: Option<u16>, model: ModelSaid) -> Assessment {
        let rule = RuleRisk { floor: floor.map(score), ..RuleRisk::default() };
        Assessment { weight, rule, model }
    }

    fn scores() -> impl Strategy<Value = RiskScore> {
        (0u16..=1_000).prop_map(score)
    }

    fn models() -> impl Strategy<Value = ModelSaid> {
        prop_oneof![Just(ModelSaid::NotAsked), (0u16..=1_000).prop_map(answered), Just(failed())]
    }

    fn rules() -> impl Strategy<Value = RuleRisk> {
        (proptest::option::of(scores()), any::<bool>(), any::<bool>())
            .prop_map(|(floor, read, ignore)| RuleRisk { floor, read, ignore })
    }

    proptest! {
        #[test]
        fn whatever_a_model_does_nothing_gets_milder(
            weight in proptest::sample::select(&WEIGHTS[..]),
            rule in rules(),
            model in models(),
            approve_at in proptest::option::of(scores()),
            refuse_at in proptest::option::of(scores()),
        ) {
            let thresholds = Thresholds { approve_at, refuse_at };
            let without = Assessment::of(weight, rule);
            let with = Assessment { model, ..without.clone() };
            prop_assert!(with.decide(&thresholds) >= without.decide(&thresholds));
            prop_assert!(with.score() >= without.score() && with.score() >= with.floor());
            prop_assert_eq!(without.score(), without.floor());
            // By the floor alone, without any of the code above.
            let floor = rule.floor.unwrap_or_default().max(weight.score());
            if refuse_at.is_some_and(|at| floor >= at) {
                prop_assert_eq!(with.decide(&thresholds), RiskVerdict::Refuse);
            } else if !rule.ignore && approve_at.is_some_and(|at| floor >= at) {
                prop_assert!(with.decide(&thresholds) >= RiskVerdict::Ask);
            }
        }

        #[test]
        fn a_rules_floor_makes_nothing_milder(
            weight in proptest::sample::select(&WEIGHTS[..]), floor in scores(), model in models(),
            approve_at in scores(),
        ) {
            let thresholds = Thresholds { approve_at: Some(approve_at), refuse_at: None };
            let without = Assessment { weight, rule: RuleRisk::default(), model };
            let rule = RuleRisk { floor: Some(floor), ..RuleRisk::default() };
            let with = Assessment { rule, ..without.clone() };
            prop_assert!(with.score() >= without.score());
            prop_assert!(with.decide(&thresholds) >= without.decide(&thresholds));
        }
    }

    #[test]
    fn a_threshold_is_reached_exactly() {
        let at = |approve_at, refuse_at| Thresholds {
            approve_at: Some(score(approve_at)),
            refuse_at: Some(score(refuse_at)),
        };
        let put = assessment(Weight::Put, None, ModelSaid::NotAsked);
        assert_eq!(put.decide(&at(501, 1_000)), RiskVerdict::Pass);
        assert_eq!(put.decide(&at(500, 1_000)), RiskVerdict::Ask);
        assert_eq!(put.decide(&at(1_000, 500)), RiskVerdict::Refuse);
        assert_eq!(put.decide(&Thresholds::default()), RiskVerdict::Pass);
    }

    #[test]
    fn after_a_failed_model_only_reads_pass_without_people() {
        let half = Thresholds { approve_at: Some(score(900)), refuse_at: None };
        let mut call = assessment(Weight::Get, None, failed());
        assert_eq!((call.score(), call.decide(&half)), (score(400), RiskVerdict::Ask));
        call.rule.read = true;
        assert_eq!(call.decide(&half), RiskVerdict::Pass);
        // A read that is risky all the same.
        call.rule.floor = Some(score(900));
        assert_eq!(call.decide(&half), RiskVerdict::Ask);
        let never = assessment(Weight::Delete, None, failed());
        assert_eq!(
            never.decide(&Thresholds { approve_at: None, refuse_at: Some(score(1_000)) }),
            RiskVerdict::Refuse
        );
        assert_eq!(never.decide(&Thresholds::default()), RiskVerdict::Pass);
    }

    #[test]
    fn a_call_whose_risk_is_ignored_needs_nobody_and_is_refused_all_the_same() {
        let rule = RuleRisk { ignore: true, ..RuleRisk::default() };
        let thresholds = Thresholds { approve_at: Some(score(100)), refuse_at: Some(score(800)) };
        for (model, verdict) in [
            (ModelSaid::NotAsked, RiskVerdict::Pass),
            (answered(500), RiskVerdict::Pass),
            (answered(1_000), RiskVerdict::Refuse),
            (failed(), RiskVerdict::Refuse),
        ] {
            let call = Assessment { weight: Weight::Put, rule, model };
            assert_eq!(call.decide(&thresholds), verdict, "{call:?}");
        }
    }

    #[test]
    fn the_parts_say_where_the_number_comes_from() {
        let said = |call: &Assessment| format!("{} = {}", call.score(), call.parts());
        let cases = [
            (assessment(Weight::Post, None, ModelSaid::NotAsked), "0.30 = POST 0.30; no model asked"),
            (
                assessment(Weight::Post, Some(800), ModelSaid::NotAsked),
                "0.80 = POST 0.30; at least 0.80 by its rule; no model asked",
            ),
            (
                assessment(Weight::UnseenTool, Some(200), ModelSaid::NotAsked),
                "0.70 = tool not seen yet 0.70; no model asked",
            ),
            (
                assessment(Weight::Post, None, answered(800)),
                "0.65 = 0.7 × 0.80 by model `small` (prompt 1f2e3d4c…) + 0.3 × POST 0.30",
            ),
            (
                assessment(Weight::Post, None, answered(0)),
                "0.30 = 0.7 × 0.00 by model `small` (prompt 1f2e3d4c…) + 0.3 × POST 0.30; at least 0.30 by POST",
            ),
            (
                assessment(Weight::Get, Some(900), failed()),
                "0.90 = GET 0.10 + 0.30; at least 0.90 by its rule; model `small` (prompt 1f2e3d4c…) failed: \
                 it did not answer within 10 s",
            ),
        ];
        for (call, text) in cases {
            assert_eq!(said(&call), text);
        }
        let recorded = assessment(Weight::Post, None, answered(800)).recorded_parts();
        assert!(recorded.contains(&format!("(prompt {})", "1f2e3d4c".repeat(8))), "{recorded}");
    }
}
