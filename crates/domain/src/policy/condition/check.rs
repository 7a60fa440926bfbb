//! What can be known about a condition before it is evaluated: the types of its parts. What can never work, or is
//! never true or false, is an error in the policy. Arguments may be anything, so nothing is assumed about them.

use super::syntax::{Each, Expr, Fault, Kind, Literal, Operator, Root};
use crate::yaml::did_you_mean;

/// The members of `call`. `tool` is there for tools only, `path` for HTTP requests only.
pub(super) const CALL_FIELDS: [&str; 5] = ["service", "method", "action", "tool", "path"];
/// The members of `agent`.
pub(super) const AGENT_FIELDS: [&str; 2] = ["name", "role"];

/// What a part is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Anything: it depends on the call.
    Any,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    List,
    Map,
    /// A map from texts to texts.
    Texts,
    Call,
    Agent,
    Instant,
    Duration,
}

impl Type {
    fn what(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int | Self::Uint | Self::Double => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Map | Self::Texts | Self::Call | Self::Agent => "a map",
            Self::Instant => "a point in time",
            Self::Duration => "a duration",
        }
    }

    /// Kinds that can be compared with each other have the same family.
    fn family(self) -> Self {
        match self {
            Self::Uint | Self::Double => Self::Int,
            Self::Texts | Self::Call | Self::Agent => Self::Map,
            other => other,
        }
    }

    fn is_or_any(self, wanted: Self) -> bool {
        self == Self::Any || self == wanted
    }
}

/// Checks a whole condition.
pub(super) fn check(expr: &Expr) -> Result<(), Fault> {
    let mut checker = Checker { variables: Vec::new() };
    let found = checker.infer(expr)?;
    if found.is_or_any(Type::Bool) {
        return Ok(());
    }
    Err(Fault::new(
        expr.span,
        format!("`when` must be true or false, this is {}; compare it with something", found.what()),
    ))
}

struct Checker {
    /// The kinds of the variables around.
    variables: Vec<Type>,
}

impl Checker {
    fn infer(&mut self, expr: &Expr) -> Result<Type, Fault> {
        Ok(match &expr.kind {
            Kind::Literal(literal) => match literal {
                Literal::Null => Type::Null,
                Literal::Bool(_) => Type::Bool,
                Literal::Int(_) => Type::Int,
                Literal::Uint(_) => Type::Uint,
                Literal::Double(_) => Type::Double,
                Literal::Text(_) => Type::Text,
            },
            Kind::Root(Root::Args) => Type::Any,
            Kind::Root(Root::Query) => Type::Texts,
            Kind::Root(Root::Call) => Type::Call,
            Kind::Root(Root::Agent) => Type::Agent,
            Kind::Root(Root::Now) => Type::Instant,
            Kind::Variable(slot) => self.variables.get(*slot).copied().unwrap_or(Type::Any),
            Kind::Field { of, name } => {
                let of = self.infer(of)?;
                field(of, name, expr)?
            }
            Kind::Has { of, name } => {
                let of = self.infer(of)?;
                field(of, name, expr)?;
                Type::Bool
            }
            Kind::Index { of, at } => self.index(of, at)?,
            Kind::Not(of) => self.want_bool(of)?,
            Kind::Negate(of) => match self.infer(of)? {
                found @ (Type::Int | Type::Double | Type::Any) => found,
                found => {
                    return Err(Fault::new(of.span, format!("`-` takes a number, this is {}", found.what())));
                }
            },
            Kind::Binary { operator, left, right } => self.binary(*operator, left, right, expr)?,
            Kind::All(parts) | Kind::Any(parts) => {
                for part in parts {
                    self.want_bool(part)?;
                }
                Type::Bool
            }
            Kind::Choose { condition, then, otherwise } => {
                self.want_bool(condition)?;
                let (then, otherwise) = (self.infer(then)?, self.infer(otherwise)?);
                if then == otherwise { then } else { Type::Any }
            }
            Kind::List(parts) => {
                for part in parts {
                    self.infer(part)?;
                }
                Type::List
            }
            Kind::Map(entries) => {
                for (_, value) in entries {
                    self.infer(value)?;
                }
                Type::Map
            }
            Kind::Call { function, arguments } => {
                for (place, argument) in arguments.iter().enumerate() {
                    let found = self.infer(argument)?;
                    let takes = function.takes(place);
                    let family = |wanted: &Type| wanted.family() == found.family();
                    if found != Type::Any && !takes.iter().any(family) {
                        let message = format!("`{}` cannot use {}", function.name(), found.what());
                        return Err(Fault::new(argument.span, message));
                    }
                }
                function.gives()
            }
            Kind::Each { each, over, body } => self.each(*each, over, body)?,
        })
    }

    fn want_bool(&mut self, expr: &Expr) -> Result<Type, Fault> {
        match self.infer(expr)? {
            Type::Bool | Type::Any => Ok(Type::Bool),
            found => {
                Err(Fault::new(expr.span, format!("this must be true or false, but is {}", found.what())))
            }
        }
    }

    fn index(&mut self, of: &Expr, at: &Expr) -> Result<Type, Fault> {
        let (found, key) = (self.infer(of)?, self.infer(at)?);
        if let (Type::Call | Type::Agent, Kind::Literal(Literal::Text(name))) = (found, &at.kind) {
            return field(found, name, at);
        }
        let wanted = match found {
            Type::Any => return Ok(Type::Any),
            Type::List if matches!(key, Type::Int | Type::Uint | Type::Any) => return Ok(Type::Any),
            Type::Map if key.is_or_any(Type::Text) => return Ok(Type::Any),
            Type::Texts | Type::Call | Type::Agent if key.is_or_any(Type::Text) => return Ok(Type::Text),
            Type::List => "a whole number",
            Type::Map | Type::Texts | Type::Call | Type::Agent => "a text",
            other => {
                return Err(Fault::new(
                    of.span,
                    format!("`[…]` takes a list or a map, this is {}", other.what()),
                ));
            }
        };
        Err(Fault::new(at.span, format!("`[…]` needs {wanted} here, this is {}", key.what())))
    }

    fn binary(&mut self, operator: Operator, left: &Expr, right: &Expr, whole: &Expr) -> Result<Type, Fault> {
        use Type::{Any, Bool, Double, Duration, Instant, Int, List, Text, Uint};
        let (a, b) = (self.infer(left)?, self.infer(right)?);
        let sign = operator.as_str();
        let fault = |message| Err(Fault::new(whole.span, message));
        match operator {
            Operator::Equal | Operator::NotEqual => {
                let alike = a.family() == b.family() || [a, b].iter().any(|t| matches!(t, Any | Type::Null));
                if !alike {
                    return fault(format!("{} never equals {}", a.what(), b.what()));
                }
                Ok(Bool)
            }
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                let ordered = |t: Type| matches!(t.family(), Any | Bool | Int | Text | Instant | Duration);
                let alike = a.family() == b.family() || a == Any || b == Any;
                if !(ordered(a) && ordered(b) && alike) {
                    return fault(format!("`{sign}` cannot compare {} with {}", a.what(), b.what()));
                }
                Ok(Bool)
            }
            Operator::In => match b {
                Any | List => Ok(Bool),
                Type::Map | Type::Texts | Type::Call | Type::Agent if a.is_or_any(Text) => Ok(Bool),
                _ => fault(format!("`in` cannot look for {} in {}", a.what(), b.what())),
            },
            _ => {
                let known = match (operator, a, b) {
                    (_, Any, Any) => Some(Any),
                    (Operator::Add, Text, Text) => Some(Text),
                    (Operator::Add, List, List) => Some(List),
                    (Operator::Add | Operator::Subtract, Instant, Duration) => Some(Instant),
                    (Operator::Add, Duration, Instant) => Some(Instant),
                    (Operator::Subtract, Instant, Instant) => Some(Duration),
                    (Operator::Add | Operator::Subtract, Duration, Duration) => Some(Duration),
                    (Operator::Remainder, Double, _) | (Operator::Remainder, _, Double) => None,
                    (_, Int | Uint | Double, _) if a == b => Some(a),
                    (_, Any, Int | Uint | Double) => Some(b),
                    (_, Int | Uint | Double, Any) => Some(a),
                    (Operator::Add, Any, Text | List) => Some(b),
                    (Operator::Add, Text | List, Any) => Some(a),
                    (Operator::Add | Operator::Subtract, Any, Instant | Duration) => Some(Any),
                    (Operator::Add | Operator::Subtract, Instant | Duration, Any) => Some(Any),
                    _ => None,
                };
                let hint = if a.family() == b.family() && a.family() == Int && operator != Operator::Remainder
                {
                    "; write both as `1`, as `1u` or as `1.0`, or use `double(…)`"
                } else {
                    ""
                };
                known.ok_or_else(|| {
                    let (a, b) = (a.what(), b.what());
                    Fault::new(
                        whole.span,
                        format!("`{sign}` cannot be used on {a} and {b} of these kinds{hint}"),
                    )
                })
            }
        }
    }

    fn each(&mut self, each: Each, over: &Expr, body: &Expr) -> Result<Type, Fault> {
        let element = match self.infer(over)? {
            Type::Any | Type::List => Type::Any,
            Type::Map | Type::Texts | Type::Call | Type::Agent => Type::Text,
            found => {
                return Err(Fault::new(
                    over.span,
                    format!("this must be a list or a map, but is {}", found.what()),
                ));
            }
        };
        self.variables.push(element);
        let found = if each == Each::Map { self.infer(body) } else { self.want_bool(body) };
        self.variables.pop();
        found?;
        Ok(if matches!(each, Each::Filter | Each::Map) { Type::List } else { Type::Bool })
    }
}

/// The kind of a field of something of kind `of`.
fn field(of: Type, name: &str, place: &Expr) -> Result<Type, Fault> {
    let (what, known): (_, &[&str]) = match of {
        Type::Any | Type::Map => return Ok(Type::Any),
        Type::Texts => return Ok(Type::Text),
        Type::Call => ("call", &CALL_FIELDS),
        Type::Agent => ("agent", &AGENT_FIELDS),
        other => return Err(Fault::new(place.span, format!("{} has no fields", other.what()))),
    };
    if known.contains(&name) {
        return Ok(Type::Text);
    }
    let hint = match did_you_mean(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", known.join(", ")),
    };
    Err(Fault::new(place.span, format!("`{what}` has no field `{}`; {hint}", name.escape_debug())))
}
