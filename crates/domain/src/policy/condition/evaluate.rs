//! Evaluates a condition about a call, with the semantics of CEL. The work is bounded, whatever the arguments are;
//! what cannot be answered is an error, never a guess.

mod calendar;
mod calls;
mod operators;

use std::{
    cell::{Cell, OnceCell},
    fmt,
    rc::Rc,
};

use wire::{Raw, json};

use super::{
    Facts,
    syntax::{Each, Expr, Kind, Literal, Root, Span},
    value::Value,
};

/// The most elements that a macro looks at.
const ELEMENTS_MAX: usize = 10_000;
/// The most work for one condition: a step is a part that is computed, or some 64 bytes that are looked at.
const STEPS_MAX: u64 = 1_000_000;

/// Why a condition could not be answered. Never holds anything of the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The part that failed.
    pub span: Span,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// There is no such field or element.
    Missing,
    /// A number of the arguments does not fit exactly.
    Inexact,
    /// Kinds that do not go together: what was wanted.
    Kind(String),
    /// A number left its range, or a division by zero.
    Arithmetic,
    /// A text does not mean what it should.
    Text(&'static str),
    /// The arguments or the query cannot be used.
    Unusable(&'static str),
    /// More than [`ELEMENTS_MAX`] elements.
    Elements,
    /// More than [`STEPS_MAX`] steps.
    Steps,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::Inexact => f.write_str("is a number that does not fit exactly"),
            Self::Kind(message) => f.write_str(message),
            Self::Arithmetic => f.write_str("leaves the range of its numbers"),
            Self::Text(message) | Self::Unusable(message) => write!(f, "cannot be used: {message}"),
            Self::Elements => write!(f, "has more than {ELEMENTS_MAX} elements"),
            Self::Steps => f.write_str("takes too much work on this call"),
        }
    }
}

pub(super) type Outcome<'a, T = Value<'a>> = Result<T, Trouble>;

/// One evaluation, or several of parts of one condition: they share the budget.
pub(super) struct Machine<'a> {
    facts: &'a Facts<'a>,
    steps_left: Cell<u64>,
    /// The members of `args`, once somebody asked for one: they are asked for again and again.
    members: OnceCell<Vec<(json::Key<'a>, Raw<'a>)>>,
}

/// The values of the variables around, outermost first.
type Variables<'a> = Vec<Value<'a>>;

impl<'a> Machine<'a> {
    pub fn new(facts: &'a Facts<'a>) -> Self {
        Self { facts, steps_left: Cell::new(STEPS_MAX), members: OnceCell::new() }
    }

    /// The answer of a whole condition, or of a part that stands in no macro.
    pub fn answer(&self, expr: &'a Expr) -> Outcome<'a, bool> {
        self.truth(expr, &mut Vec::new())
    }

    pub fn value(&self, expr: &'a Expr) -> Outcome<'a> {
        self.evaluate(expr, &mut Vec::new())
    }

    fn spend(&self, steps: usize, span: Span) -> Result<(), Trouble> {
        let left = self.steps_left.get().checked_sub(u64::try_from(steps).unwrap_or(u64::MAX));
        self.steps_left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Trouble { span, why: Why::Steps })
    }

    /// Looking at so many bytes.
    fn spend_bytes(&self, bytes: usize, span: Span) -> Result<(), Trouble> {
        self.spend(bytes / 64, span)
    }

    fn truth(&self, expr: &'a Expr, variables: &mut Variables<'a>) -> Outcome<'a, bool> {
        match self.evaluate(expr, variables)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(wrong_kind(expr, &format!("must be true or false, but is {}", other.what()))),
        }
    }

    fn evaluate(&self, expr: &'a Expr, variables: &mut Variables<'a>) -> Outcome<'a> {
        self.spend(1, expr.span)?;
        Ok(match &expr.kind {
            Kind::Literal(literal) => match literal {
                Literal::Null => Value::Null,
                Literal::Bool(truth) => Value::Bool(*truth),
                Literal::Int(int) => Value::Int(*int),
                Literal::Uint(uint) => Value::Uint(*uint),
                Literal::Double(double) => Value::Double(*double),
                Literal::Text(text) => Value::Text((&**text).into()),
            },
            Kind::Root(root) => self.root(*root, expr)?,
            Kind::Variable(slot) => {
                variables.get(*slot).cloned().ok_or_else(|| trouble(expr, Why::Missing))?
            }
            Kind::Field { of, name } => {
                let of = self.evaluate(of, variables)?;
                self.member(&of, name, expr)?.ok_or_else(|| trouble(expr, Why::Missing))?
            }
            Kind::Has { of, name } => {
                let of = self.evaluate(of, variables)?;
                Value::Bool(self.has(&of, name, expr)?)
            }
            Kind::Index { of, at } => {
                let (of, at) = (self.evaluate(of, variables)?, self.evaluate(at, variables)?);
                self.element(&of, &at, expr)?
            }
            Kind::Not(of) => Value::Bool(!self.truth(of, variables)?),
            Kind::Negate(of) => operators::negate(&self.evaluate(of, variables)?, expr)?,
            Kind::Binary { operator, left, right } => {
                let (left, right) = (self.evaluate(left, variables)?, self.evaluate(right, variables)?);
                self.binary(*operator, &left, &right, expr)?
            }
            Kind::All(parts) => Value::Bool(self.unless(parts, false, variables)?),
            Kind::Any(parts) => Value::Bool(self.unless(parts, true, variables)?),
            Kind::Choose { condition, then, otherwise } => {
                let chosen = if self.truth(condition, variables)? { then } else { otherwise };
                self.evaluate(chosen, variables)?
            }
            Kind::List(parts) => {
                let values: Result<Vec<_>, _> =
                    parts.iter().map(|part| self.evaluate(part, variables)).collect();
                Value::List(values?.into())
            }
            Kind::Map(entries) => {
                let entries: Result<Vec<_>, _> = entries
                    .iter()
                    .map(|(key, value)| Ok((&**key, self.evaluate(value, variables)?)))
                    .collect();
                Value::Map(entries?.into())
            }
            Kind::Call { function, arguments } => {
                let values: Result<Vec<_>, _> =
                    arguments.iter().map(|argument| self.evaluate(argument, variables)).collect();
                self.call(*function, &values?, expr)?
            }
            Kind::Each { each, over, body } => {
                let over = self.evaluate(over, variables)?;
                self.each(*each, &over, body, variables, expr)?
            }
        })
    }

    /// `&&` and `||`: the first part that is `decisive` decides, even when another one fails.
    fn unless(&self, parts: &'a [Expr], decisive: bool, variables: &mut Variables<'a>) -> Outcome<'a, bool> {
        let mut failed = None;
        for part in parts {
            match self.truth(part, variables) {
                Ok(truth) if truth == decisive => return Ok(decisive),
                Ok(_) => {}
                // What is left of the budget must not decide.
                Err(trouble) if trouble.why == Why::Steps => return Err(trouble),
                Err(trouble) => failed = failed.or(Some(trouble)),
            }
        }
        failed.map_or(Ok(!decisive), Err)
    }

    fn root(&self, root: Root, expr: &Expr) -> Outcome<'a> {
        let unusable = |why: super::Unusable| trouble(expr, Why::Unusable(why.as_str()));
        Ok(match root {
            Root::Args => {
                let args = self.facts.args.map_err(unusable)?;
                Value::of(args).ok_or_else(|| trouble(expr, Why::Inexact))?
            }
            Root::Query => {
                let query = self.facts.query.as_ref().map_err(|why| unusable(*why))?;
                self.spend(query.len(), expr.span)?;
                Value::Texts(query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
            }
            Root::Call => {
                Value::Texts(self.facts.call.iter().map(|(name, value)| (*name, &**value)).collect())
            }
            Root::Agent => Value::Texts(Rc::from(self.facts.agent)),
            Root::Now => Value::Instant(self.facts.now),
        })
    }

    /// The field of that name; an error where `of` is no map.
    fn member(&self, of: &Value<'a>, name: &str, expr: &Expr) -> Outcome<'a, Option<Value<'a>>> {
        match of {
            Value::Json(raw) if raw.is_object() => match self.raw_member(*raw, name, expr)? {
                Some(raw) => Value::of(raw).map(Some).ok_or_else(|| trouble(expr, Why::Inexact)),
                None => Ok(None),
            },
            Value::Map(entries) => {
                Ok(entries.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()))
            }
            Value::Texts(texts) => {
                self.spend(texts.len(), expr.span)?;
                Ok(texts.iter().find(|(key, _)| *key == name).map(|(_, value)| Value::Text((*value).into())))
            }
            other => Err(wrong_kind(expr, &format!("asks for a field of {}", other.what()))),
        }
    }

    /// Whether the field is there, fit or not.
    fn has(&self, of: &Value<'a>, name: &str, expr: &Expr) -> Outcome<'a, bool> {
        match of {
            Value::Json(raw) if raw.is_object() => Ok(self.raw_member(*raw, name, expr)?.is_some()),
            other => Ok(self.member(other, name, expr)?.is_some()),
        }
    }

    fn raw_member(&self, of: Raw<'a>, name: &str, expr: &Expr) -> Outcome<'a, Option<Raw<'a>>> {
        let is_args = self.facts.args.is_ok_and(|args| std::ptr::eq(args.text(), of.text()));
        if !is_args {
            self.spend_bytes(of.text().len(), expr.span)?;
            return Ok(of.get(name));
        }
        if self.members.get().is_none() {
            self.spend_bytes(of.text().len(), expr.span)?;
        }
        let members = self.members.get_or_init(|| of.members().collect());
        self.spend(members.len() / 8, expr.span)?;
        Ok(members.iter().find(|(key, _)| *key == *name).map(|(_, value)| *value))
    }

    fn element(&self, of: &Value<'a>, at: &Value<'a>, expr: &Expr) -> Outcome<'a> {
        if let Value::Text(name) = at {
            return self.member(of, name, expr)?.ok_or_else(|| trouble(expr, Why::Missing));
        }
        let place = match at {
            Value::Int(place) => usize::try_from(*place).ok(),
            Value::Uint(place) => usize::try_from(*place).ok(),
            // CEL takes a double without fraction for the integer that it is.
            Value::Double(_) => (0..ELEMENTS_MAX).find(|place| {
                i64::try_from(*place).is_ok_and(|place| {
                    super::number::compare(at, &Value::Int(place)).is_some_and(std::cmp::Ordering::is_eq)
                })
            }),
            other => return Err(wrong_kind(expr, &format!("looks for {} in {}", other.what(), of.what()))),
        };
        let found = match of {
            Value::Json(raw) if !raw.is_object() => {
                self.spend_bytes(raw.text().len(), expr.span)?;
                match place.and_then(|place| raw.elements().nth(place)) {
                    Some(raw) => Some(Value::of(raw).ok_or_else(|| trouble(expr, Why::Inexact))?),
                    None => None,
                }
            }
            Value::List(list) => place.and_then(|place| list.get(place).cloned()),
            other => return Err(wrong_kind(expr, &format!("looks for {} in {}", at.what(), other.what()))),
        };
        found.ok_or_else(|| trouble(expr, Why::Missing))
    }

    /// The elements of a list, or the keys of a map.
    fn elements(&self, of: &Value<'a>, expr: &Expr) -> Outcome<'a, Vec<Value<'a>>> {
        let mut all: Vec<Value<'a>> = Vec::new();
        let mut push = |value: Option<Value<'a>>| {
            if all.len() == ELEMENTS_MAX {
                return Err(trouble(expr, Why::Elements));
            }
            all.push(value.ok_or_else(|| trouble(expr, Why::Inexact))?);
            Ok(())
        };
        match of {
            Value::Json(raw) => {
                self.spend_bytes(raw.text().len(), expr.span)?;
                raw.members().try_for_each(|(key, _)| push(Some(Value::Text(key.decoded()))))?;
                raw.elements().try_for_each(|element| push(Value::of(element)))?;
            }
            Value::List(list) => list.iter().try_for_each(|value| push(Some(value.clone())))?,
            Value::Map(entries) => {
                entries.iter().try_for_each(|(key, _)| push(Some(Value::Text((*key).into()))))?
            }
            Value::Texts(texts) => {
                texts.iter().try_for_each(|(key, _)| push(Some(Value::Text((*key).into()))))?
            }
            other => {
                return Err(wrong_kind(expr, &format!("goes through {}, which is no list", other.what())));
            }
        }
        self.spend(all.len(), expr.span)?;
        Ok(all)
    }

    fn each(
        &self,
        each: Each,
        over: &Value<'a>,
        body: &'a Expr,
        variables: &mut Variables<'a>,
        expr: &Expr,
    ) -> Outcome<'a> {
        let mut with = |value: Value<'a>| {
            variables.push(value);
            let outcome = self.evaluate(body, variables);
            variables.pop();
            outcome
        };
        let truth = |value: Value<'a>| match value {
            Value::Bool(truth) => Ok(truth),
            other => Err(wrong_kind(body, &format!("must be true or false, but is {}", other.what()))),
        };
        let elements = self.elements(over, expr)?;
        match each {
            Each::All | Each::Exists => {
                let decisive = each == Each::Exists;
                let mut failed = None;
                for element in elements {
                    match with(element).and_then(truth) {
                        Ok(truth) if truth == decisive => return Ok(Value::Bool(decisive)),
                        Ok(_) => {}
                        Err(trouble) if trouble.why == Why::Steps => return Err(trouble),
                        Err(trouble) => failed = failed.or(Some(trouble)),
                    }
                }
                failed.map_or(Ok(Value::Bool(!decisive)), Err)
            }
            Each::ExistsOne => {
                let mut count = 0_usize;
                for element in elements {
                    count += usize::from(with(element).and_then(truth)?);
                }
                Ok(Value::Bool(count == 1))
            }
            Each::Filter => {
                let mut kept = Vec::new();
                for element in elements {
                    if with(element.clone()).and_then(truth)? {
                        kept.push(element);
                    }
                }
                Ok(Value::List(kept.into()))
            }
            Each::Map => {
                let mapped: Result<Vec<_>, _> = elements.into_iter().map(with).collect();
                Ok(Value::List(mapped?.into()))
            }
        }
    }
}

fn trouble(expr: &Expr, why: Why) -> Trouble {
    Trouble { span: expr.span, why }
}

fn wrong_kind(expr: &Expr, message: &str) -> Trouble {
    trouble(expr, Why::Kind(message.to_owned()))
}
