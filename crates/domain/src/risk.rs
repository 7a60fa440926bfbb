//! How risky a call is: a number that is compared, stored and shown, what it is made of, and what follows from it.
//! A model may be asked; whatever it says, it can only make things stricter.

mod assessment;
mod known;
mod weight;

use std::fmt;

pub use assessment::{Assessment, ModelId, ModelSaid, RiskVerdict, Thresholds};
pub use known::KnownRisk;
pub use weight::{ToolHint, Weight};

/// A risk from 0 (none) to 1, in thousandths: so that the number that was compared is the number that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RiskScore(u16);

impl RiskScore {
    /// A score of so many thousandths; more than 1000 are 1000.
    #[must_use]
    pub const fn from_thousandths(thousandths: u16) -> Self {
        Self(if thousandths > 1_000 { 1_000 } else { thousandths })
    }

    /// The thousandths.
    #[must_use]
    pub const fn thousandths(self) -> u16 {
        self.0
    }

    /// Reads a number from 0 to 1 with at most three decimals: `0.8`, `1`. Nothing else is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let plain = |part: &str, most: usize| {
            (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !plain(whole, 1) || !plain(decimals, 3) {
            return None;
        }
        let thousandths = format!("{whole}{decimals:0<3}").parse().ok()?;
        (thousandths <= 1_000).then_some(Self(thousandths))
    }
}

/// Two digits, or three where the third says something: `0.30`, `0.305`.
impl fmt::Display for RiskScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000, self.0 % 1_000);
        if rest.is_multiple_of(10) {
            f.pad(&format!("{whole}.{:02}", rest / 10))
        } else {
            f.pad(&format!("{whole}.{rest:03}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_reads_as_people_write_it() {
        let shown = [(0, "0.00"), (50, "0.05"), (300, "0.30"), (305, "0.305"), (7, "0.007"), (2_000, "1.00")];
        for (thousandths, text) in shown {
            assert_eq!(RiskScore::from_thousandths(thousandths).to_string(), text);
        }
        assert_eq!(format!("{:>6}", RiskScore::from_thousandths(300)), "  0.30");
    }

    #[test]
    fn a_score_is_read_strictly() {
        for (text, thousandths) in
            [("0", 0), ("1", 1_000), ("1.0", 1_000), ("0.8", 800), ("0.05", 50), ("0.305", 305)]
        {
            assert_eq!(RiskScore::parse(text), Some(RiskScore(thousandths)), "{text}");
        }
        for text in ["", ".", "0.", ".5", "1.001", "2", "10", "-0.5", "+0.5", "0.3051", "5e-1", " 0.5", "0,5"]
        {
            assert_eq!(RiskScore::parse(text), None, "{text}");
        }
    }
}
