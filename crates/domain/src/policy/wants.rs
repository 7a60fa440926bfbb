//! What a rule asks for besides yes and no: approval by people, and how risky its calls are.

use std::{num::NonZeroU8, time::Duration};

use super::{Failure, RuleName};
use crate::risk::RiskScore;

/// What an `approve` rule that matches asks for; where several match, the strictest of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wants {
    /// The rule that wants most operators; of these the first in the file.
    pub rule: RuleName,
    /// Where it stands: `policy.yaml:14`.
    pub place: String,
    /// Which part of its condition decided, with the values: `args.amount > 1000, args.amount = 5000`. It holds
    /// arguments, so it is for operators only. At most four parts with three values each, of at most 60 characters.
    pub because: Option<String>,
    /// Its condition could not be answered, which counts as a match.
    pub failure: Option<Failure>,
    /// How many operators must approve.
    pub quorum: NonZeroU8,
    /// How long they have; the setting where no rule says it.
    pub decide_within: Option<Duration>,
    /// How long after that it may be executed; the setting where no rule says it.
    pub execute_within: Option<Duration>,
    /// What the rules that match say about risk.
    pub risk: RuleRisk,
}

/// What rules say about the risk of what they match. Where several match, the strictest of each counts, wherever they
/// stand: the highest floor; `read` if all that allow say it; `ignore` if all say it and none sets a floor.
///
/// A rule with a condition has no say in `read` and `ignore` where one without allows the call already. Its floor
/// counts unless the condition is false: one that cannot be answered counts against the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleRisk {
    /// `risk: 0.8`: at least this.
    pub floor: Option<RiskScore>,
    /// `read: true`: it only reads.
    pub read: bool,
    /// `risk: ignore`: however risky, it needs nobody. It takes nothing from an `approve` rule.
    pub ignore: bool,
}

impl RuleRisk {
    /// What two calls made as one are together: the stricter of each.
    pub(super) fn and(self, other: Self) -> Self {
        let floor = self.floor.max(other.floor);
        Self { floor, read: self.read && other.read, ignore: self.ignore && other.ignore && floor.is_none() }
    }
}
