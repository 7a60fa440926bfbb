//! Lists, page by page, and the parameters that they take: cursors, limits, times.

use domain::names::ApprovalId;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{Endpoint, Form, LIMIT_DEFAULT, Param, Place};
use crate::{
    asked::{Asked, Pairs},
    problem::Problem,
};

/// One page of a list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Listed<T> {
    /// The rows.
    pub(crate) items: Vec<T>,
    /// The cursor of the next page; none after the last one.
    pub(crate) next: Option<String>,
}

impl<T> Listed<T> {
    /// All there is.
    pub(crate) fn all(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// The query of a request, checked against what its endpoint knows.
pub(crate) struct Wanted(Pairs);

impl Wanted {
    /// # Errors
    /// 400: a name that the endpoint does not know, a value of another form.
    pub(crate) fn of(asked: &Asked) -> Result<Self, Problem> {
        let pairs = asked.query()?;
        let endpoint = asked.route.and_then(Endpoint::of);
        let known: Vec<&Param> =
            endpoint.into_iter().flat_map(|endpoint| endpoint.at(Place::Query)).collect();
        let names: Vec<&str> = known.iter().map(|param| param.name).collect();
        if let Some(stranger) = pairs.stranger(&names) {
            let shown: String = stranger.chars().take(40).flat_map(char::escape_default).collect();
            return Err(Problem::invalid(format!(
                "the query says `{shown}`, which nothing reads here; known: {}",
                names.join(", ")
            )));
        }
        for param in known {
            if pairs.is_empty(param.name) {
                return Err(Problem::invalid(format!(
                    "`{}` in the query is empty; leave it out",
                    param.name
                )));
            }
            let Some(value) = pairs.get(param.name) else { continue };
            let fits = match param.form {
                Form::Text | Form::Pattern(_) => true,
                Form::Time => value.parse::<Timestamp>().is_ok(),
                Form::Count(most) => value.parse::<u32>().is_ok_and(|count| (1..=most).contains(&count)),
                Form::OneOf(words) => words().contains(&value),
            };
            if !fits {
                return Err(Problem::invalid(format!(
                    "`{}` in the query is not as it must be; {}",
                    param.name,
                    form(param.form)
                )));
            }
        }
        Ok(Self(pairs))
    }

    pub(crate) fn text(&self, param: Param) -> Option<String> {
        self.0.get(param.name).map(str::to_owned)
    }

    pub(crate) fn time(&self, param: Param) -> Option<Timestamp> {
        self.0.get(param.name)?.parse().ok()
    }

    /// How many rows.
    pub(crate) fn limit(&self) -> u32 {
        self.0.get(super::LIMIT.name).and_then(|text| text.parse().ok()).unwrap_or(LIMIT_DEFAULT)
    }

    /// Where to go on, as this reads it.
    ///
    /// # Errors
    /// 400 for a cursor that no page gave.
    pub(crate) fn cursor<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        match self.0.get(super::CURSOR.name) {
            None => Ok(None),
            Some(text) => match read(text) {
                Some(cursor) => Ok(Some(cursor)),
                None => {
                    Err(Problem::invalid("the cursor is none that a page gave; begin with the first page"))
                }
            },
        }
    }
}

/// What a value must look like.
fn form(form: Form) -> String {
    match form {
        Form::Text | Form::Pattern(_) => "write a text".to_owned(),
        Form::Time => "write a time such as 2026-11-23T14:02:31Z".to_owned(),
        Form::Count(most) => format!("write a number from 1 to {most}"),
        Form::OneOf(words) => format!("one of: {}", words().join(", ")),
    }
}

/// A cursor behind a held call.
pub(crate) fn approval_cursor(at: Timestamp, id: ApprovalId) -> String {
    format!("{}.{id}", at.as_microsecond())
}

/// Reads it back.
pub(crate) fn read_approval_cursor(text: &str) -> Option<(Timestamp, ApprovalId)> {
    let (at, id) = text.split_once('.')?;
    let cursor = (Timestamp::from_microsecond(at.parse().ok()?).ok()?, ApprovalId::parse(id)?);
    // As it was written, and in no other way.
    (approval_cursor(cursor.0, cursor.1) == text && cursor.0 > Timestamp::UNIX_EPOCH).then_some(cursor)
}
