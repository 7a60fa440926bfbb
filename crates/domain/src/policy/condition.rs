//! `when:` of a rule: a condition in CEL, the Common Expression Language, over one call. Read and checked once, when
//! the policy is loaded; asking it is bounded work and has no side effects.
//!
//! The reader and the evaluator are our own: [decision 0019](../../../../docs/decisions/0019-conditions.md) says why.

mod check;
mod decided;
mod evaluate;
mod facts;
mod functions;
mod lexer;
mod number;
mod parser;
mod syntax;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

use self::{
    evaluate::{Machine, Trouble},
    syntax::{Expr, Kind, Root},
};
pub use self::{
    facts::{Facts, Unusable},
    syntax::Fault,
};

/// A condition that was read and checked.
pub struct Condition {
    text: Box<str>,
    expr: Expr,
    reads_args: bool,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// The first [`Fault`]: more than 2 KiB or 40 levels, no CEL, a name, function or field that is not known, kinds
    /// that never go together, or something that is neither true nor false.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let expr = parser::parse(text)?;
        check::check(&expr)?;
        let mut reads_args = false;
        expr.walk(&mut |part| reads_args |= matches!(part.kind, Kind::Root(Root::Args)));
        Ok(Self { text: text.into(), expr, reads_args })
    }

    /// Whether the answer can depend on the call's arguments, so that a body must be read first.
    #[must_use]
    pub fn reads_args(&self) -> bool {
        self.reads_args
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds for a call.
    ///
    /// # Errors
    /// [`Failure`]: it cannot be said, which counts against the caller.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, Failure> {
        Machine::new(facts).answer(&self.expr).map_err(|trouble| self.failure(&trouble))
    }

    /// Which parts decide, with the values that they compare, as an operator reads it: "`args.amount > 1000` is
    /// true, args.amount = 5000". It shows arguments, so it is not for agents and not for the trail.
    #[must_use]
    pub fn decided_by(&self, facts: &Facts<'_>) -> String {
        decided::by(&Machine::new(facts), self)
    }

    /// The same in few words, for a condition that holds: "args.amount > 1000, args.amount = 5000".
    #[must_use]
    pub fn because(&self, facts: &Facts<'_>) -> String {
        decided::because(&Machine::new(facts), self)
    }

    fn failure(&self, trouble: &Trouble) -> Failure {
        Failure { message: format!("`{}` {}", self.part(trouble.span), trouble.why) }
    }

    /// What stands at a place, on one line.
    fn part(&self, span: syntax::Span) -> String {
        let part = self.text.get(span.start..span.end).unwrap_or_default();
        part.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Why a condition could not be answered. It names a part of the policy, and nothing of the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
