//! What a sealed value is. The label is bound to the value, not stored with it: a value that was moved to another
//! row, service or install does not open there.

use domain::names::{AgentName, ApprovalId};

/// What a sealed value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// What keys of agents are hashed with.
    Pepper,
    /// What session ids are sealed with.
    SessionKey,
    /// What access tokens of the console are signed with.
    AccessKey,
    /// A credential of a service.
    Credential,
    /// An answer that is kept for a repeated call.
    StoredAnswer,
    /// A call that waits for people.
    HeldCall,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 6] = [
        Self::Pepper,
        Self::SessionKey,
        Self::AccessKey,
        Self::Credential,
        Self::StoredAnswer,
        Self::HeldCall,
    ];

    /// The word that is bound to values, and that names them in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pepper => "pepper",
            Self::SessionKey => "session-key",
            Self::AccessKey => "access-key",
            Self::Credential => "credential",
            Self::StoredAnswer => "stored-answer",
            Self::HeldCall => "held-call",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == word)
    }
}

/// What a sealed value is; bound as additional data. Parts that do not apply are empty or zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// The service that it belongs to.
    pub service: &'a str,
    /// Scheme, host and port that it may be sent to.
    pub origin: &'a str,
    /// Its name, unique for its purpose, service and origin.
    pub name: &'a str,
    /// Its version, from 1 on; a new value has a new one.
    pub version: u64,
}

impl Label<'static> {
    /// A value of which an install has one.
    #[must_use]
    pub const fn of_install(purpose: Purpose) -> Self {
        Self { purpose, service: "", origin: "", name: "", version: 0 }
    }
}

impl<'a> Label<'a> {
    /// The whole of a call that waits for people: its agent's, under the id of its approval.
    #[must_use]
    pub fn of_held_call(agent: &'a AgentName, approval: &'a ApprovalId) -> Self {
        let (service, name) = (agent.as_str(), approval.as_str());
        Self { purpose: Purpose::HeldCall, service, origin: "", name, version: 1 }
    }

    /// What such a call was answered with. Answers under idempotency keys have version 0, so that neither can take
    /// the other's place.
    #[must_use]
    pub fn of_approval_answer(agent: &'a AgentName, approval: &'a ApprovalId) -> Self {
        Self { purpose: Purpose::StoredAnswer, ..Self::of_held_call(agent, approval) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_has_a_word_of_its_own() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::parse(purpose.as_str()), Some(purpose));
        }
        assert_eq!(Purpose::parse("other"), None);
    }
}
