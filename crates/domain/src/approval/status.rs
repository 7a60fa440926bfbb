//! The states of an approval, and their words.

/// How far an approval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// People have not decided yet.
    Pending,
    /// Enough people approved; it is executed next.
    Approved,
    /// Somebody denied it.
    Denied,
    /// Nobody decided, or executed it, in time.
    Expired,
    /// Its agent took it back.
    Cancelled,
    /// It is being sent. Nobody else ever takes it over.
    Executing,
    /// The upstream answered.
    Executed,
    /// The upstream failed, or could not be reached.
    Failed,
    /// It may have happened; the answer is lost. Only an operator ends this.
    Unknown,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Approved,
        Self::Denied,
        Self::Expired,
        Self::Cancelled,
        Self::Executing,
        Self::Executed,
        Self::Failed,
        Self::Unknown,
    ];

    /// The word, in the store, in answers and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Executing => "executing",
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Nothing leaves a final status. `Unknown` is none: an operator resolves it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Denied | Self::Expired | Self::Cancelled | Self::Executed | Self::Failed)
    }

    /// Whether waiting may bring another status soon, without an operator who resolves it.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Pending | Self::Approved | Self::Executing)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_word_of_its_own_and_is_at_most_one_of_final_and_under_way() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
            assert!(!(status.is_final() && status.is_under_way()), "{status}");
        }
        assert_eq!(Status::parse("Pending"), None);
    }
}
