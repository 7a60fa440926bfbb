//! What a request did not get, as a page: what happened and where to go on.

use http::{Method, Response, StatusCode, header};
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    layout::{bare, mark, onward},
    see,
    ui::part,
};
use crate::{asked::Asked, cookies, problem::Problem};

/// The page of a problem. Who wants to read and is not logged in is sent to the login, and back from there. A form that
/// was sent with a login that is over, or whatever brings a key, is told so: nothing was done.
pub(crate) fn page(problem: &Problem, asked: &Asked) -> Response<Flow> {
    let reads = matches!(*asked.method(), Method::GET | Method::HEAD);
    let in_browser = !asked.head.headers.contains_key(header::AUTHORIZATION);
    if problem.status == StatusCode::UNAUTHORIZED && asked.who.is_none() && reads && in_browser {
        let here = asked.head.uri.path_and_query().map_or("/", |path| path.as_str());
        // A link in a chat comes without the cookies of who follows it.
        let from_elsewhere = matches!(asked.header("sec-fetch-site"), Some("cross-site" | "same-site"));
        return match here {
            here if from_elsewhere && !cookies::any(asked) => onward(here),
            "/" => see("/login"),
            here => see(&format!("/login?next={}", part(here))),
        };
    }
    bare(problem.status, title(problem.status), &content(problem))
}

fn content(problem: &Problem) -> Markup {
    html! {
        h1.brand { (mark()) "toolgate" }
        section.panel {
            div.body {
                h2 { (title(problem.status)) }
                p { (sentence(&problem.detail)) }
                a.btn.primary href="/" { "To the overview" }
            }
        }
        p.hint { "Status " (problem.status.as_u16()) ". Going back in the browser brings what you typed back." }
    }
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is no such page",
        StatusCode::FORBIDDEN => "You may not do this",
        StatusCode::UNAUTHORIZED => "Not logged in",
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "It has changed meanwhile",
        StatusCode::TOO_MANY_REQUESTS => "Too many tries",
        StatusCode::SERVICE_UNAVAILABLE => "Not available",
        _ if status.is_server_error() => "This went wrong",
        _ => "This could not be read",
    }
}

/// A sentence with its capital and its full stop. Its texts are escaped where they were written into it.
pub(super) fn sentence(detail: &str) -> Markup {
    let mut letters = detail.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if detail.ends_with(['.', '?']) { "" } else { "." };
    html! { (first) (letters.as_str()) (end) }
}
