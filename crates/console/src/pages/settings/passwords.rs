//! Settings: changing your own password, and setting one for somebody who has forgotten theirs.

use admin::PASSWORD_CHARACTERS_MIN;
use domain::operator::Email;
use http::{Response, StatusCode};
use maud::{Markup, html};
use pipeline::flow::Flow;
use store::StoredOperator;

use super::{
    super::{layout::Frame, see},
    after,
};
use crate::{answer, asked::Asked, cookies, denied, login, problem::Problem};

/// Changes one's own password. The browser that asks is logged in anew, the others are not.
pub(in crate::pages) async fn change(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let word = |name: &str| form.get(name).unwrap_or_default();
    if word("new") != word("again") {
        let differ = Problem::invalid("the two new passwords are not the same; nothing was changed");
        return after(&asked, Err(differ), "#password").await;
    }
    match login::change_password(&asked, word("old"), word("new")).await {
        Ok(opened) => {
            let mut response = see("/settings?done=password#password");
            answer::set_cookies(&mut response, cookies::keeping(&asked, &opened));
            Ok(response)
        }
        Err(problem) => {
            let problem = match problem.status {
                StatusCode::UNAUTHORIZED => Problem::forged("this is not your password; nothing was changed"),
                _ => problem,
            };
            denied::record(&asked, &problem);
            after(&asked, Err(problem), "#password").await
        }
    }
}

/// An owner gives another operator another password.
pub(in crate::pages) async fn reset(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let done = async {
        let email = Email::parse(form.get("email").unwrap_or_default())
            .map_err(|bad| Problem::invalid(bad.to_string()))?;
        let (who, now) = (&asked.who()?.operator, asked.now.wall);
        if email == *who.email() {
            return Err(Problem::conflict("change your own password with the old one, below"));
        }
        let (actor, password) = (who.actor(), form.get("password").unwrap_or_default().to_owned());
        login::hashing(&asked, async move |desk| {
            desk.admin.reset_operator(&actor, now, &email, &password).await
        })
        .await?;
        Ok("reset")
    };
    after(&asked, done.await, "#operators").await
}

pub(super) fn password_panel(frame: &Frame) -> Markup {
    html! {
        section.panel id="password" aria-labelledby="pw" {
            header { h2 id="pw" { "Your password" } }
            details.body {
                summary { "Change it" }
                form.stack method="post" action="/settings/password" {
                    (frame.token())
                    // Whoever keeps passwords knows by this whose it is.
                    input type="hidden" name="username" value=(frame.who.email()) autocomplete="username";
                    label.field { span { "Old password" } input type="password" name="old" required autocomplete="current-password"; }
                    (new_password("new", "New password"))
                    (new_password("again", "New password again"))
                    p.hint { "Your other sessions end, and your tokens for scripts are revoked." }
                    button.btn.primary { "Change the password" }
                }
            }
        }
    }
}

/// What gives somebody else another password.
pub(super) fn reset_form(frame: &Frame, operator: &StoredOperator) -> Markup {
    html! {
        details {
            summary.btn { "Set password" span.vh { " of " (operator.email) } }
            form.stack method="post" action="/settings/operators/password" {
                (frame.token())
                input type="hidden" name="email" value=(operator.email);
                (new_password("password", "New password"))
                p.hint { "Their sessions end, and their tokens for scripts are revoked." }
                button.btn.danger { "Set it" }
            }
        }
    }
}

fn new_password(name: &str, label: &str) -> Markup {
    html! {
        label.field { span { (label) } input type="password" name=(name) required minlength=(PASSWORD_CHARACTERS_MIN) autocomplete="new-password"; }
    }
}
