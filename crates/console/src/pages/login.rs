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
use crate::{answer, api::session, asked::Asked, cookies, denied, login, problem::Problem, welcome};

/// The form.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let query = asked.query()?;
    let next = next(query.get("next"));
    if asked.who.is_some() {
        return Ok(see(&next));
    }
    let said = match (query.get("out"), query.get("ended")) {
        (Some(_), _) => Some((Tone::Good, "You are logged out.")),
        (None, Some(_)) => Some((Tone::Plain, "Your session has ended. Log in to go on where you were.")),
        (None, None) => None,
    };
    Ok(page(StatusCode::OK, said.map(|(tone, said)| (tone, said.to_owned())), &next, ""))
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
            denied::record(&asked, &problem);
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
                    (note(tone, drawing(tone), &html! { b { (sentence(&said)) } }))
                }
                input type="hidden" name="next" value=(next);
                label.field { span { "E-mail" } input type="email" name="email" value=(email) autocomplete="username" required autofocus[email.is_empty()]; }
                label.field { span { "Password" } input type="password" name="password" autocomplete="current-password" required autofocus[!email.is_empty()]; }
                button.btn.primary { "Log in" }
            }
        }
        p.hint {
            "Forgot the password? An owner can set another one in Settings, or with " code { "toolgate operators reset" } " on the gateway’s machine. Agents do not log in here."
        }
    };
    bare(status, "Log in", &content)
}

fn drawing(tone: Tone) -> &'static str {
    match tone {
        Tone::Bad => "stop",
        Tone::Good => "check",
        _ => "clock",
    }
}

/// The form for the first operator, at the link that `serve` prints.
pub(super) async fn welcome(asked: Asked) -> Result<Response<Flow>, Problem> {
    let token = asked.query()?.get("token").unwrap_or_default().to_owned();
    welcome::check(&asked, &token).await?;
    Ok(first(StatusCode::OK, None, &token, ""))
}

/// The first operator is made and logged in.
pub(super) async fn begin(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let text = |name: &str| form.get(name).unwrap_or_default();
    let (token, email, password) = (text("token"), text("email"), text("password"));
    let opened = match password == text("again") {
        true => welcome::accept(&asked, token, email, password).await,
        false => Err(Problem::invalid("the two passwords differ; type them again")),
    };
    match opened {
        Ok(opened) => {
            let mut response = see("/");
            answer::set_cookies(&mut response, cookies::keeping(&asked, &opened));
            Ok(response)
        }
        Err(problem) if problem.denied.is_some() || problem.status.is_server_error() => Err(problem),
        Err(problem) => Ok(first(problem.status, Some(&problem), token, email)),
    }
}

fn first(status: StatusCode, problem: Option<&Problem>, token: &str, email: &str) -> Response<Flow> {
    let least = admin::PASSWORD_CHARACTERS_MIN;
    let content = html! {
        h1.brand { (mark()) "toolgate" }
        form.panel method="post" action="/welcome" {
            div.body {
                h2 { "The first owner" }
                p.small.muted { "Whoever opens this link owns the console. It is good once." }
                @if let Some(problem) = problem { (note(Tone::Bad, "stop", &html! { b { (sentence(&problem.detail)) } })) }
                input type="hidden" name="token" value=(token);
                label.field { span { "E-mail" } input type="email" name="email" value=(email) autocomplete="username" required autofocus; }
                label.field { span { "Password, " (least) " characters or more" } input type="password" name="password" minlength=(least) autocomplete="new-password" required; }
                label.field { span { "The same again" } input type="password" name="again" minlength=(least) autocomplete="new-password" required; }
                button.btn.primary { "Make the owner and log in" }
            }
        }
    };
    bare(status, "Welcome", &content)
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
