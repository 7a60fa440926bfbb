//! Operators between two values: equality and order by value, arithmetic that never wraps.

use std::cmp::Ordering;

use super::{
    super::{
        number,
        syntax::{Expr, Operator},
        value::Value,
    },
    Machine, Outcome, Why, trouble, wrong_kind,
};

impl<'a> Machine<'a> {
    pub(super) fn binary(
        &self,
        operator: Operator,
        a: &Value<'a>,
        b: &Value<'a>,
        expr: &Expr,
    ) -> Outcome<'a> {
        Ok(match operator {
            Operator::Equal => Value::Bool(self.equal(a, b, expr)?),
            Operator::NotEqual => Value::Bool(!self.equal(a, b, expr)?),
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                Value::Bool(self.ordered(operator, a, b, expr)?)
            }
            Operator::In => Value::Bool(self.is_in(a, b, expr)?),
            _ => self.arithmetic(operator, a, b, expr)?,
        })
    }

    /// Equality by value. Things of different kinds are never equal, except for numbers.
    fn equal(&self, a: &Value<'a>, b: &Value<'a>, expr: &Expr) -> Outcome<'a, bool> {
        self.spend(1, expr.span)?;
        if a.is_number() && b.is_number() {
            return Ok(number::compare(a, b) == Some(Ordering::Equal));
        }
        Ok(match (a, b) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => {
                self.spend_bytes(a.len().min(b.len()), expr.span)?;
                a == b
            }
            (Value::Instant(a), Value::Instant(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            _ if is_list(a) && is_list(b) => {
                let (a, b) = (self.elements(a, expr)?, self.elements(b, expr)?);
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(&b) {
                    if !self.equal(a, b, expr)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ if is_map(a) && is_map(b) => {
                let (keys, others) = (self.elements(a, expr)?, self.elements(b, expr)?);
                if keys.len() != others.len() {
                    return Ok(false);
                }
                for key in &keys {
                    let Value::Text(key) = key else { return Ok(false) };
                    let (Some(a), Some(b)) = (self.member(a, key, expr)?, self.member(b, key, expr)?) else {
                        return Ok(false);
                    };
                    if !self.equal(&a, &b, expr)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => false,
        })
    }

    fn ordered(&self, operator: Operator, a: &Value<'a>, b: &Value<'a>, expr: &Expr) -> Outcome<'a, bool> {
        let order = match (a, b) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => {
                self.spend_bytes(a.len().min(b.len()), expr.span)?;
                Some(a.cmp(b))
            }
            (Value::Instant(a), Value::Instant(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            _ if a.is_number() && b.is_number() => number::compare(a, b),
            _ => return Err(wrong_kind(expr, &format!("compares {} with {}", a.what(), b.what()))),
        };
        // What is no number has no order.
        Ok(order.is_some_and(|order| match operator {
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            _ => order.is_ge(),
        }))
    }

    fn is_in(&self, a: &Value<'a>, b: &Value<'a>, expr: &Expr) -> Outcome<'a, bool> {
        if is_map(b) {
            return match a {
                Value::Text(name) => self.has(b, name, expr),
                _ => Ok(false),
            };
        }
        if !is_list(b) {
            return Err(wrong_kind(expr, &format!("looks for {} in {}", a.what(), b.what())));
        }
        for element in self.elements(b, expr)? {
            if self.equal(a, &element, expr)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn arithmetic(&self, operator: Operator, a: &Value<'a>, b: &Value<'a>, expr: &Expr) -> Outcome<'a> {
        let result = match (a, b) {
            (Value::Int(a), Value::Int(b)) => int(operator, *a, *b).map(Value::Int),
            (Value::Uint(a), Value::Uint(b)) => uint(operator, *a, *b).map(Value::Uint),
            (Value::Double(a), Value::Double(b)) if operator != Operator::Remainder => {
                Some(Value::Double(double(operator, *a, *b)))
            }
            (Value::Text(a), Value::Text(b)) if operator == Operator::Add => {
                self.spend_bytes(4 * (a.len() + b.len()), expr.span)?;
                Some(Value::Text(format!("{a}{b}").into()))
            }
            (Value::Instant(a), Value::Duration(b)) if operator == Operator::Add => {
                a.checked_add(*b).ok().map(Value::Instant)
            }
            (Value::Duration(a), Value::Instant(b)) if operator == Operator::Add => {
                b.checked_add(*a).ok().map(Value::Instant)
            }
            (Value::Instant(a), Value::Duration(b)) if operator == Operator::Subtract => {
                a.checked_sub(*b).ok().map(Value::Instant)
            }
            (Value::Instant(a), Value::Instant(b)) if operator == Operator::Subtract => {
                Some(Value::Duration(a.duration_since(*b)))
            }
            (Value::Duration(a), Value::Duration(b)) if operator == Operator::Add => {
                a.checked_add(*b).map(Value::Duration)
            }
            (Value::Duration(a), Value::Duration(b)) if operator == Operator::Subtract => {
                a.checked_sub(*b).map(Value::Duration)
            }
            _ if operator == Operator::Add && is_list(a) && is_list(b) => {
                let mut all = self.elements(a, expr)?;
                all.extend(self.elements(b, expr)?);
                Some(Value::List(all.into()))
            }
            _ => {
                let message = format!("uses `{}` on {} and {}", operator.as_str(), a.what(), b.what());
                return Err(wrong_kind(expr, &message));
            }
        };
        result.ok_or_else(|| trouble(expr, Why::Arithmetic))
    }
}

pub(super) fn negate<'a>(value: &Value<'a>, expr: &Expr) -> Outcome<'a> {
    match value {
        Value::Int(int) => int.checked_neg().map(Value::Int).ok_or_else(|| trouble(expr, Why::Arithmetic)),
        Value::Double(double) => Ok(Value::Double(-double)),
        other => Err(wrong_kind(expr, &format!("uses `-` on {}", other.what()))),
    }
}

fn is_list(value: &Value<'_>) -> bool {
    match value {
        Value::Json(raw) => !raw.is_object(),
        other => matches!(other, Value::List(_)),
    }
}

fn is_map(value: &Value<'_>) -> bool {
    match value {
        Value::Json(raw) => raw.is_object(),
        other => matches!(other, Value::Map(_) | Value::Texts(_)),
    }
}

fn int(operator: Operator, a: i64, b: i64) -> Option<i64> {
    match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        _ => a.checked_rem(b),
    }
}

fn uint(operator: Operator, a: u64, b: u64) -> Option<u64> {
    match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        _ => a.checked_rem(b),
    }
}

fn double(operator: Operator, a: f64, b: f64) -> f64 {
    match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        _ => a / b,
    }
}
