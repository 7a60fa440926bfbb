//! Which part of a condition decided, and on what values: for operators who ask why.

use super::{
    Condition,
    evaluate::Machine,
    syntax::{Expr, Kind},
};

/// At most so many parts are named.
const PARTS_MAX: usize = 4;
/// At most so many values are shown for one part.
const VALUES_MAX: usize = 3;

pub(super) fn by<'a>(machine: &Machine<'a>, condition: &'a Condition) -> String {
    tell(machine, condition, |text, truth| format!("`{text}` is {truth}"))
}

/// The same, where what is true needs no saying.
pub(super) fn because<'a>(machine: &Machine<'a>, condition: &'a Condition) -> String {
    let say = |text: &str, truth| if truth { text.to_owned() } else { format!("`{text}` is false") };
    tell(machine, condition, say)
}

fn tell<'a>(machine: &Machine<'a>, condition: &'a Condition, say: impl Fn(&str, bool) -> String) -> String {
    let mut parts = Vec::new();
    collect(machine, &condition.expr, &mut parts);
    let more = parts.len().saturating_sub(PARTS_MAX);
    parts.truncate(PARTS_MAX);
    let mut told: Vec<String> = parts.into_iter().map(|part| told(machine, condition, part, &say)).collect();
    if more > 0 {
        told.push(format!("{more} more"));
    }
    told.join("; ")
}

/// The smallest parts that the answer rests on.
fn collect<'a>(machine: &Machine<'a>, expr: &'a Expr, into: &mut Vec<&'a Expr>) {
    match &expr.kind {
        Kind::All(parts) | Kind::Any(parts) => {
            let decisive = matches!(expr.kind, Kind::Any(_));
            let answers: Vec<_> = parts.iter().map(|part| (part, machine.answer(part))).collect();
            if let Some((part, _)) = answers.iter().find(|(_, answer)| *answer == Ok(decisive)) {
                return collect(machine, part, into);
            }
            let failed = answers.iter().any(|(_, answer)| answer.is_err());
            for (part, _) in answers.iter().filter(|(_, answer)| answer.is_err() == failed) {
                collect(machine, part, into);
            }
        }
        Kind::Choose { condition, then, otherwise } => {
            collect(machine, condition, into);
            match machine.answer(condition) {
                Ok(true) => collect(machine, then, into),
                Ok(false) => collect(machine, otherwise, into),
                Err(_) => {}
            }
        }
        _ => into.push(expr),
    }
}

fn told<'a>(
    machine: &Machine<'a>,
    condition: &Condition,
    part: &'a Expr,
    say: impl Fn(&str, bool) -> String,
) -> String {
    let text = condition.part(part.span);
    match machine.answer(part) {
        Err(trouble) if trouble.span == part.span => format!("`{text}` {}", trouble.why),
        Err(trouble) => {
            format!("`{text}` has no answer: `{}` {}", condition.part(trouble.span), trouble.why)
        }
        Ok(truth) => {
            let mut values = Vec::new();
            if !is_path(part) {
                compared(part, &mut values);
            }
            let mut told = say(&text, truth);
            for path in values.into_iter().take(VALUES_MAX) {
                if let Ok(value) = machine.value(path) {
                    told.push_str(&format!(", {} = {value}", condition.part(path.span)));
                }
            }
            told
        }
    }
}

/// The longest paths into the call, such as `args.items[0].price`.
fn compared<'a>(expr: &'a Expr, into: &mut Vec<&'a Expr>) {
    for part in expr.parts() {
        if is_path(part) {
            into.push(part);
        } else {
            compared(part, into);
        }
    }
}

fn is_path(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Root(_) => true,
        Kind::Field { of, .. } => is_path(of),
        Kind::Index { of, at } => is_path(of) && matches!(at.kind, Kind::Literal(_)),
        _ => false,
    }
}
