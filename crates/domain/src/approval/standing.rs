//! The one place that knows what may happen to an approval. The store runs it inside the transaction of each change;
//! `tests/approvals_model.rs` runs it in every possible order.

use std::{fmt, num::NonZeroU8, time::Duration};

use jiff::Timestamp;

use super::Status;
use crate::operator::Email;

/// What moves are judged by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Standing {
    /// How far it is.
    pub status: Status,
    /// The approval digest that a decision must carry.
    pub digest: [u8; 32],
    /// How many operators must approve.
    pub quorum: NonZeroU8,
    /// Who has approved so far.
    pub approved_by: Vec<Email>,
    /// Decisions count before this moment.
    pub decide_by: Timestamp,
    /// How long after the last approval it may be executed.
    pub execute_within: Duration,
    /// Once it is approved: execution may begin before this moment.
    pub execute_by: Option<Timestamp>,
}

/// What somebody wants to do to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move<'m> {
    /// An operator says yes to what they were shown.
    Approve {
        /// Who.
        operator: &'m Email,
        /// The approval digest that was shown.
        digest: &'m [u8; 32],
    },
    /// An operator says no; one no is enough, also of somebody who approved before.
    Deny {
        /// Who.
        operator: &'m Email,
        /// The approval digest that was shown.
        digest: &'m [u8; 32],
    },
    /// A deadline has passed.
    Expire,
    /// The agent takes it back.
    Cancel,
    /// A gateway is about to send it.
    Claim,
    /// The gateway that claimed it says how it ended.
    Close(Ending),
    /// An operator says what became of it.
    Resolve(Outcome),
}

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The upstream answered.
    Executed,
    /// The upstream failed, or nothing was sent.
    Failed,
    /// It may have happened; the answer is lost.
    Unknown,
}

/// What an operator found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It happened.
    Executed,
    /// It did not.
    Failed,
}

/// Why a move does not happen now. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// It is in a status that has no such move.
    Is(Status),
    /// The decision is about something else than what is held.
    OtherDigest,
    /// This operator has approved before.
    ApprovedBefore,
    /// The deadline has passed.
    TooLate,
    /// The deadline has not passed.
    TooEarly,
}

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(status) => write!(f, "it is {status}"),
            Self::OtherDigest => f.write_str("the digest is of another call"),
            Self::ApprovedBefore => f.write_str("this operator has approved it before"),
            Self::TooLate => f.write_str("its deadline has passed"),
            Self::TooEarly => f.write_str("its deadline has not passed"),
        }
    }
}

impl Standing {
    /// How it stands after a move at `at`.
    ///
    /// # Errors
    /// [`NotNow`] when the move is none in this status, comes too late or too early, or is about something else.
    pub fn after(&self, wanted: &Move<'_>, at: Timestamp) -> Result<Self, NotNow> {
        let mut next = self.clone();
        next.status = match (self.status, wanted) {
            (Status::Pending, Move::Approve { operator, digest }) => {
                self.decidable(digest, at)?;
                if self.approved_by.contains(operator) {
                    return Err(NotNow::ApprovedBefore);
                }
                next.approved_by.push((*operator).clone());
                if next.approved_by.len() < usize::from(self.quorum.get()) {
                    Status::Pending
                } else {
                    next.execute_by = Some(at.checked_add(self.execute_within).unwrap_or(Timestamp::MAX));
                    Status::Approved
                }
            }
            (Status::Pending, Move::Deny { operator, digest }) => {
                self.decidable(digest, at)?;
                next.approved_by.retain(|one| one != *operator);
                Status::Denied
            }
            (Status::Pending | Status::Approved, Move::Expire) if self.is_overdue(at) => Status::Expired,
            (Status::Pending | Status::Approved, Move::Expire) => return Err(NotNow::TooEarly),
            (Status::Pending | Status::Approved, Move::Cancel) => Status::Cancelled,
            (Status::Approved, Move::Claim) if self.is_overdue(at) => return Err(NotNow::TooLate),
            (Status::Approved, Move::Claim) => Status::Executing,
            (Status::Executing, Move::Close(Ending::Executed)) => Status::Executed,
            (Status::Executing, Move::Close(Ending::Failed)) => Status::Failed,
            (Status::Executing, Move::Close(Ending::Unknown)) => Status::Unknown,
            (Status::Unknown, Move::Resolve(Outcome::Executed)) => Status::Executed,
            (Status::Unknown, Move::Resolve(Outcome::Failed)) => Status::Failed,
            (status, _) => return Err(NotNow::Is(status)),
        };
        Ok(next)
    }

    fn decidable(&self, digest: &[u8; 32], at: Timestamp) -> Result<(), NotNow> {
        if self.is_overdue(at) {
            return Err(NotNow::TooLate);
        }
        // Both are public: a digest is shown to everybody who may decide.
        if *digest == self.digest { Ok(()) } else { Err(NotNow::OtherDigest) }
    }

    /// Whether the deadline of its status has passed. It belongs to the time after it: at every moment a pending
    /// call can be decided or expires, and an approved one can be claimed or expires, never both, never neither.
    fn is_overdue(&self, at: Timestamp) -> bool {
        match self.status {
            Status::Pending => self.decide_by <= at,
            Status::Approved => self.execute_by.is_none_or(|end| end <= at),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn email(name: &str) -> Email {
        Email::parse(&format!("{name}@example.com")).unwrap()
    }

    fn pending(quorum: u8) -> Standing {
        Standing {
            status: Status::Pending,
            digest: [7; 32],
            quorum: NonZeroU8::new(quorum).unwrap(),
            approved_by: Vec::new(),
            decide_by: moment(100),
            execute_within: Duration::from_secs(10),
            execute_by: None,
        }
    }

    #[test]
    fn a_quorum_is_of_different_people() {
        let (ada, grace) = (email("ada"), email("grace"));
        let yes = |operator| Move::Approve { operator, digest: &[7; 32] };
        let one = pending(2).after(&yes(&ada), moment(1)).unwrap();
        assert_eq!((one.status, one.execute_by), (Status::Pending, None));
        assert_eq!(one.after(&yes(&ada), moment(2)), Err(NotNow::ApprovedBefore));
        let two = one.after(&yes(&grace), moment(3)).unwrap();
        assert_eq!((two.status, two.execute_by), (Status::Approved, Some(moment(13))));
        let no = |operator| Move::Deny { operator, digest: &[7; 32] };
        assert_eq!(one.after(&no(&grace), moment(3)).unwrap().status, Status::Denied);
        let changed = one.after(&no(&ada), moment(3)).unwrap();
        assert_eq!((changed.status, changed.approved_by), (Status::Denied, vec![]), "minds may change");
    }

    #[test]
    fn a_decision_is_about_what_was_shown_and_in_time() {
        let ada = email("ada");
        for digest in [[8; 32], [0; 32]] {
            let (yes, no) = (
                Move::Approve { operator: &ada, digest: &digest },
                Move::Deny { operator: &ada, digest: &digest },
            );
            assert_eq!(pending(1).after(&yes, moment(1)), Err(NotNow::OtherDigest));
            assert_eq!(pending(1).after(&no, moment(1)), Err(NotNow::OtherDigest));
        }
        let yes = Move::Approve { operator: &ada, digest: &[7; 32] };
        assert!(pending(1).after(&yes, moment(99)).is_ok());
        assert_eq!(pending(1).after(&yes, moment(100)), Err(NotNow::TooLate));
        assert_eq!(pending(1).after(&Move::Expire, moment(99)), Err(NotNow::TooEarly));
        assert!(pending(1).after(&Move::Expire, moment(100)).is_ok());
    }

    #[test]
    fn an_approval_is_claimed_in_time_or_expires() {
        let ada = email("ada");
        let yes = Move::Approve { operator: &ada, digest: &[7; 32] };
        let approved = pending(1).after(&yes, moment(99)).unwrap();
        for second in 99..120 {
            let claim = approved.after(&Move::Claim, moment(second));
            let expire = approved.after(&Move::Expire, moment(second));
            assert!(claim.is_ok() != expire.is_ok(), "{second}");
            assert_eq!(claim.is_ok(), second < 109, "{second}");
        }
        let endless = Standing { execute_within: Duration::MAX, ..pending(1) };
        assert_eq!(endless.after(&yes, moment(1)).unwrap().execute_by, Some(Timestamp::MAX));
    }
}
