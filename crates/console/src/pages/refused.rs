//! What a request did not get, as a page: what happened and where to go on.

use http::{Method, Response, StatusCode, Uri, header};
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    layout::{bare, mark, onward},
    see,
    ui::{Tone, note, part},
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
            "/" if !cookies::any(asked) => see("/login"),
            here if cookies::any(asked) => see(&format!("/login?ended=1&next={}", part(here))),
            here => see(&format!("/login?next={}", part(here))),
        };
    }
    bare(problem.status, title(problem.status), &content(problem, asked, reads))
}

fn content(problem: &Problem, asked: &Asked, reads: bool) -> Markup {
    let nobody = problem.status == StatusCode::UNAUTHORIZED && asked.who.is_none();
    html! {
        h1.brand { (mark()) "toolgate" }
        section.panel {
            div.body {
                h2 { (title(problem.status)) }
                p { (sentence(&problem.detail)) }
                @if nobody { a.btn.primary href={ "/login?next=" (part(&came_from(asked))) } { "Log in" } }
                @else { a.btn.primary href="/" { "To the overview" } }
            }
        }
        p.hint { "Status " (problem.status.as_u16()) "." @if !reads { " Going back in the browser brings what you typed back." } }
    }
}

/// The page that a form stood on: there one goes on after the login, which leads to pages of ours only.
fn came_from(asked: &Asked) -> String {
    let from = asked.header(header::REFERER).and_then(|referer| referer.parse::<Uri>().ok());
    from.and_then(|from| from.path_and_query().map(ToString::to_string)).unwrap_or_else(|| "/".to_owned())
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "You may not do this",
        StatusCode::UNAUTHORIZED => "Not logged in",
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "It has changed meanwhile",
        StatusCode::TOO_MANY_REQUESTS => "Too many tries",
        StatusCode::SERVICE_UNAVAILABLE => "Not available",
        _ if status.is_server_error() => "This went wrong",
        _ => "This could not be read",
    }
}

/// A sentence with its capital and its full stop. An id at its beginning stays as it is. Its texts are escaped where
/// they were written into it.
pub(super) fn sentence(detail: &str) -> Markup {
    let begins_with_id = detail.split(' ').next().is_some_and(|word| word.contains('_'));
    let mut letters = detail.chars();
    let first: String = match letters.next() {
        Some(first) if !begins_with_id => first.to_uppercase().collect(),
        first => first.into_iter().collect(),
    };
    let end = if detail.ends_with(['.', '?']) { "" } else { "." };
    html! { (first) (letters.as_str()) (end) }
}

/// What stands in the way of a change, as a note. Its texts are escaped where they were written into it.
pub(super) fn wrong(problem: &Problem) -> Markup {
    note(Tone::Bad, "stop", &html! { b { (sentence(&problem.detail)) } })
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn a_sentence_has_a_capital_and_a_full_stop_and_an_id_stays_as_it_is() {
        for (detail, shown) in [
            ("the scope names a service twice", "The scope names a service twice."),
            ("ap_7m2kd9q4xw was denied", "ap_7m2kd9q4xw was denied."),
            ("there is no key_x", "There is no key_x."),
            ("did you mean `files`?", "Did you mean `files`?"),
            ("", "."),
        ] {
            assert_eq!(sentence(detail).into_string(), shown);
        }
    }
}
