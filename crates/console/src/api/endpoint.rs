//! One row of the table: a route with what comes in and what goes out.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::route::Route;

/// A route of the API, described.
pub(crate) struct Endpoint {
    pub(crate) route: Route,
    /// One sentence.
    pub(crate) summary: &'static str,
    /// What it takes and gives beside bodies.
    pub(crate) params: &'static [Param],
    /// The JSON that it takes.
    pub(crate) body: Option<SchemaOf>,
    /// The statuses of success.
    pub(crate) statuses: &'static [u16],
    /// The JSON that it gives then.
    pub(crate) answer: Answer,
}

impl Endpoint {
    /// The row of a route; pages have none.
    pub(crate) fn of(route: &Route) -> Option<&'static Self> {
        let is_it =
            |endpoint: &&Self| endpoint.route.path == route.path && endpoint.route.method == route.method;
        super::ENDPOINTS.iter().find(is_it)
    }

    /// What stands in one place.
    pub(crate) fn at(&self, place: Place) -> impl Iterator<Item = &'static Param> {
        self.params.iter().filter(move |param| param.place == place)
    }
}

/// What is given.
pub(crate) enum Answer {
    Json(SchemaOf),
    /// Text of one of these media types.
    Text(&'static [&'static str]),
    Nothing,
}

/// Makes the schema of a type, or a reference to it.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`.
pub(crate) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What a query or a header may say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    /// What values look like.
    pub(crate) form: Form,
    pub(crate) doc: &'static str,
}

/// Where something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Query,
    /// A header of the request.
    Header,
    /// A header of the answer.
    Answer,
    /// A cookie that proves who asks, where nothing else is asked for.
    Proof,
}

/// What values look like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Text,
    /// A text that matches this (ECMA 262); whoever reads it looks.
    Pattern(&'static str),
    /// RFC 3339.
    Time,
    /// A whole number, from 1 to this.
    Count(u32),
    OneOf(fn() -> Vec<&'static str>),
}

const fn param(name: &'static str, form: Form, doc: &'static str) -> Param {
    Param { name, place: Place::Query, form, doc }
}

/// On routes that evaluate it. Every other write under `/api` refuses it: see `etag.rs`.
pub(crate) const IF_MATCH: Param = Param {
    name: "If-Match",
    place: Place::Header,
    form: Form::Text,
    doc: "Only where its ETag is this one; 412 where it is another by now.",
};
pub(crate) const ETAG: Param = Param {
    name: "ETag",
    place: Place::Answer,
    form: Form::Text,
    doc: "Of what can be edited, as it is now; for If-Match.",
};
pub(crate) const LAST_EVENT_ID: Param = Param {
    name: "Last-Event-ID",
    place: Place::Header,
    form: Form::Text,
    doc: "The `id` of the last event that was heard: what came since is told first.",
};
pub(crate) const REFRESH: Param = Param {
    name: crate::cookies::REFRESH,
    place: Place::Proof,
    form: Form::Text,
    doc: "What a login gave, spent by each use.",
};

/// How many rows a page has where nobody says.
pub(crate) const LIMIT_DEFAULT: u32 = 50;
/// How many it has at most.
pub(crate) const LIMIT_MAX: u32 = 500;

pub(crate) const AGENT: Param = param("agent", Form::Text, "Of this agent.");
pub(crate) const SERVICE: Param = param("service", Form::Text, "At this service.");
pub(crate) const ACTION: Param = param("action", Form::Text, "With this action, exactly.");
pub(crate) const DECISION: Param = param(
    "decision",
    Form::OneOf(|| admin::CallEnd::WORDS.map(|(word, _)| word).to_vec()),
    "All events of calls that stand so, as the page of calls has it.",
);
pub(crate) const TEXT: Param = param(
    "text",
    Form::Text,
    "All events of calls with this in one of their records; letters of either case.",
);
pub(crate) const SINCE: Param = param("since", Form::Time, "From this moment on.");
pub(crate) const UNTIL: Param = param("until", Form::Time, "Before this moment.");
pub(crate) const STATUS: Param = param(
    "status",
    Form::OneOf(|| domain::approval::Status::ALL.map(domain::approval::Status::as_str).to_vec()),
    "In this status.",
);
pub(crate) const CURSOR: Param =
    param("cursor", Form::Pattern("^[1-9][0-9]{0,17}$"), "The `next` of the page before.");
pub(crate) const BEHIND: Param = param(
    "cursor",
    Form::Pattern("^[1-9][0-9]{0,15}\\.ap_[0-9a-hjkmnp-tv-z]{10}$"),
    "The `next` of the page before.",
);
pub(crate) const LIMIT: Param =
    param("limit", Form::Count(LIMIT_MAX), "How many at most; 50 where nothing is said.");
pub(crate) const FORMAT: Param =
    param("format", Form::OneOf(|| vec!["jsonl", "csv"]), "How lines are written.");
pub(crate) const RANGE: Param = param(
    "range",
    Form::OneOf(|| vec!["hour", "day", "week"]),
    "How far back; an hour where nothing is said.",
);

/// `METHOD "path" LEAST handler (body)? -> (status answer?) [params] "summary"`, a row each.
macro_rules! endpoints {
    ($($method:ident $path:literal $least:ident $($open:ident)::+ ($($body:ty)?) -> ($status:tt $($answer:tt)*)
        [$($param:ident),*] $summary:literal)*) => {
        /// Every route of the API, and the least that somebody must be to use it.
        pub(crate) const ENDPOINTS: &[Endpoint] = &[$(Endpoint {
            route: crate::route::Route {
                method: http::Method::$method,
                path: $path,
                least: crate::route::$least,
                open: |asked| Box::pin($($open)::+(asked)),
            },
            summary: $summary,
            params: &[$($param),*],
            body: crate::api::endpoint::body!($($body)?),
            statuses: crate::api::endpoint::statuses!($status),
            answer: crate::api::endpoint::answer!($($answer)*),
        }),*];
    };
}
macro_rules! statuses {
    ([$($status:literal)*]) => {
        &[$($status),*]
    };
    ($status:literal) => {
        &[$status]
    };
}
macro_rules! body {
    () => {
        None
    };
    ($body:ty) => {
        Some($crate::api::endpoint::schema_of::<$body>)
    };
}
macro_rules! answer {
    () => {
        crate::api::endpoint::Answer::Nothing
    };
    (text) => {
        crate::api::endpoint::Answer::Text(&["application/jsonl", "text/csv"])
    };
    (events) => {
        crate::api::endpoint::Answer::Text(&["text/event-stream"])
    };
    (metrics) => {
        crate::api::endpoint::Answer::Text(&["text/plain"])
    };
    ($answer:ty) => {
        crate::api::endpoint::Answer::Json(crate::api::endpoint::schema_of::<$answer>)
    };
}
pub(crate) use {answer, body, endpoints, statuses};
