//! The functions of conditions.

use jiff::{SignedDuration, Timestamp};

use super::{
    super::{functions::Function, syntax::Expr, value::Value},
    Machine, Outcome, Why, calendar, trouble, wrong_kind,
};

/// The longest text that is read as a number, a time or a duration (bytes).
const READ_BYTES_MAX: usize = 64;

impl<'a> Machine<'a> {
    pub(super) fn call(&self, function: Function, values: &[Value<'a>], expr: &Expr) -> Outcome<'a> {
        let (first, second) = match values {
            [first] => (first, None),
            [first, second] => (first, Some(second)),
            _ => return Err(wrong_kind(expr, "is called with too many values")),
        };
        let unfit = || wrong_kind(expr, &format!("calls `{}` on {}", function.name(), first.what()));
        match (function, first, second) {
            (Function::Size, _, _) => self.size(first, expr),
            (Function::Contains, Value::Text(text), Some(Value::Text(part))) => {
                self.spend_bytes(text.len() + part.len(), expr.span)?;
                Ok(Value::Bool(text.contains(&**part)))
            }
            (Function::StartsWith, Value::Text(text), Some(Value::Text(part))) => {
                Ok(Value::Bool(text.starts_with(&**part)))
            }
            (Function::EndsWith, Value::Text(text), Some(Value::Text(part))) => {
                Ok(Value::Bool(text.ends_with(&**part)))
            }
            (Function::Int | Function::Uint | Function::Double | Function::Text, ..) => {
                converted(function, first, expr)
            }
            (Function::Timestamp, Value::Instant(_), _) | (Function::Duration, Value::Duration(_), _) => {
                Ok(first.clone())
            }
            (Function::Timestamp, Value::Text(text), _) => {
                let instant = readable(text).and_then(|text| text.parse::<Timestamp>().ok());
                let wanted = Why::Text("it is no time such as 2026-11-23T14:00:00Z");
                instant.map(Value::Instant).ok_or_else(|| trouble(expr, wanted))
            }
            (Function::Duration, Value::Text(text), _) => {
                let duration = readable(text).and_then(|text| text.parse::<SignedDuration>().ok());
                let wanted = Why::Text("it is no duration such as 1h30m");
                duration.map(Value::Duration).ok_or_else(|| trouble(expr, wanted))
            }
            (_, Value::Instant(instant), None) => Ok(Value::Int(calendar::of(function, *instant))),
            (_, Value::Instant(instant), Some(Value::Text(zone))) => {
                let unknown = Why::Text("a time zone is `UTC` or an offset such as `+02:00`");
                let local = calendar::local(*instant, zone).ok_or_else(|| trouble(expr, unknown))?;
                Ok(Value::Int(calendar::of(function, local)))
            }
            (_, Value::Duration(duration), None) => {
                calendar::of_duration(function, *duration).map(Value::Int).ok_or_else(unfit)
            }
            _ => Err(unfit()),
        }
    }

    fn size(&self, of: &Value<'a>, expr: &Expr) -> Outcome<'a> {
        let size = match of {
            Value::Text(text) => {
                self.spend_bytes(text.len(), expr.span)?;
                text.chars().count()
            }
            Value::Json(raw) => {
                self.spend_bytes(raw.text().len(), expr.span)?;
                raw.members().count() + raw.elements().count()
            }
            Value::List(list) => list.len(),
            Value::Map(entries) => entries.len(),
            Value::Texts(texts) => texts.len(),
            other => return Err(wrong_kind(expr, &format!("asks for the size of {}", other.what()))),
        };
        Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
    }
}

fn readable(text: &str) -> Option<&str> {
    (text.len() <= READ_BYTES_MAX).then_some(text)
}

fn converted<'a>(function: Function, value: &Value<'a>, expr: &Expr) -> Outcome<'a> {
    let not_a_number = || trouble(expr, Why::Text("it is no such number"));
    let out_of_range = || trouble(expr, Why::Arithmetic);
    Ok(match (function, value) {
        (Function::Int, Value::Int(_)) | (Function::Uint, Value::Uint(_)) => value.clone(),
        (Function::Double, Value::Double(_)) | (Function::Text, Value::Text(_)) => value.clone(),
        (Function::Int, Value::Uint(uint)) => Value::Int(i64::try_from(*uint).map_err(|_| out_of_range())?),
        (Function::Uint, Value::Int(int)) => Value::Uint(u64::try_from(*int).map_err(|_| out_of_range())?),
        (Function::Int | Function::Uint, Value::Double(double)) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "cutting is what CEL wants; the ends are checked below"
            )]
            let cut = if double.is_finite() { *double as i128 } else { i128::MAX };
            match function {
                Function::Int => Value::Int(i64::try_from(cut).map_err(|_| out_of_range())?),
                _ => Value::Uint(u64::try_from(cut).map_err(|_| out_of_range())?),
            }
        }
        (Function::Int, Value::Instant(instant)) => Value::Int(instant.as_second()),
        #[expect(clippy::cast_precision_loss, reason = "the policy asks for a double")]
        (Function::Double, Value::Int(int)) => Value::Double(*int as f64),
        #[expect(clippy::cast_precision_loss, reason = "the policy asks for a double")]
        (Function::Double, Value::Uint(uint)) => Value::Double(*uint as f64),
        (Function::Int, Value::Text(text)) => {
            Value::Int(readable(text).and_then(|text| text.parse().ok()).ok_or_else(not_a_number)?)
        }
        (Function::Uint, Value::Text(text)) => {
            Value::Uint(readable(text).and_then(|text| text.parse().ok()).ok_or_else(not_a_number)?)
        }
        (Function::Double, Value::Text(text)) => {
            let double = readable(text).and_then(|text| text.parse::<f64>().ok());
            Value::Double(double.filter(|double| double.is_finite()).ok_or_else(not_a_number)?)
        }
        (Function::Text, Value::Int(int)) => Value::Text(int.to_string().into()),
        (Function::Text, Value::Uint(uint)) => Value::Text(uint.to_string().into()),
        (Function::Text, Value::Bool(truth)) => Value::Text(truth.to_string().into()),
        _ => {
            let message = format!("calls `{}` on {}", function.name(), value.what());
            return Err(wrong_kind(expr, &message));
        }
    })
}
