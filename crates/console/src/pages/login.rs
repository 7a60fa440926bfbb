//! Logging in and out.

use http::{Response, StatusCode};
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    layout::{bare, mark},
    refused::sentence,
    see,
    ui::{Tone, note},
};
use crate::{answer, api::session, asked::Asked, cookies, denied, login, problem::Problem};

/// The form.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let query = asked.query()?;
    let next = next(query.get("next"));
    if asked.who.is_some() {
        return Ok(see(&next));
    }
    let said = query.get("out").map(|_| "You are logged out.");
    Ok(page(StatusCode::OK, said.map(|said| (Tone::Good, said.to_owned())), &next, ""))
}

/// The form was sent.
pub(super) async fn log_in(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let next = next(form.get("next"));
    let email = form.get("email").unwrap_or_default();
    match login::log_in(&asked, email, form.get("password").unwrap_or_default()).await {
        Ok(opened) => {
            let mut response = see(&next);
            answer::set_cookies(&mut response, cookies::keeping(&asked, &opened));
            Ok(response)
        }
        Err(problem) => {
            if problem.is_denial() {
                denied::record(&asked, &problem);
            }
            Ok(page(problem.status, Some((Tone::Bad, problem.detail.into_owned())), &next, email))
        }
    }
}

/// Ends the session.
pub(super) async fn log_out(asked: Asked) -> Result<Response<Flow>, Problem> {
    session::end_login(&asked).await?;
    let mut response = see("/login?out=1");
    answer::set_cookies(&mut response, cookies::forgetting(&asked));
    Ok(response)
}

/// Where to go then: a page of ours, and nowhere else.
fn next(wanted: Option<&str>) -> String {
    let ours = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    wanted.filter(ours).unwrap_or("/").to_owned()
}

fn page(status: StatusCode, said: Option<(Tone, String)>, next: &str, email: &str) -> Response<Flow> {
    let content: Markup = html! {
        h1.brand { (mark()) "toolgate" }
        form.panel method="post" action="/login" {
            div.body {
                @if let Some((tone, said)) = said {
                    (note(tone, if tone == Tone::Bad { "stop" } else { "check" }, &html! { b { (sentence(&said)) } }))
                }
                input type="hidden" name="next" value=(next);
                label.field { span { "E-mail" } input type="email" name="email" value=(email) autocomplete="username" required autofocus[email.is_empty()]; }
                label.field { span { "Password" } input type="password" name="password" autocomplete="current-password" required autofocus[!email.is_empty()]; }
                button.btn.primary { "Log in" }
            }
        }
        p.hint {
            "Forgot it? An owner can run " code { "toolgate operators reset" } " on the gateway’s machine. Agents do not log in here."
        }
    };
    bare(status, "Log in", &content)
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn a_login_leads_to_a_page_of_ours_only() {
        for (wanted, goes) in [
            (Some("/approvals/ap_1?x=y"), "/approvals/ap_1?x=y"),
            (Some("https://evil.example/"), "/"),
            (Some("//evil.example/"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("/a\r\nb"), "/"),
            (None, "/"),
        ] {
            assert_eq!(next(wanted), goes);
        }
    }
}
