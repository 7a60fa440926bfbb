//! How risky a call is, as a number that is compared, stored and shown.

use std::fmt;

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
}
