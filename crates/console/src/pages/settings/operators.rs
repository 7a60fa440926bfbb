//! Settings: operators, who they are and what they may do.

use domain::operator::{Email, OperatorRole, OperatorState};
use http::Response;
use maud::{Markup, html};
use pipeline::flow::Flow;
use store::StoredOperator;

use super::{
    super::{
        layout::Frame,
        ui::{Tone, badge, day, icon},
    },
    after,
    passwords::reset_form,
};
use crate::{asked::Asked, login, problem::Problem};

/// What operators may be, the least first.
const ROLES: [OperatorRole; 3] = [OperatorRole::Viewer, OperatorRole::Approver, OperatorRole::Owner];

/// Adds an operator.
pub(in crate::pages) async fn create_operator(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let done = async {
        let email = Email::parse(form.get("email").unwrap_or_default())
            .map_err(|bad| Problem::invalid(bad.to_string()))?;
        let role = OperatorRole::parse(form.get("role").unwrap_or_default());
        let role = role.ok_or_else(|| Problem::invalid("choose a role: viewer, approver or owner"))?;
        let password = form.get("password").unwrap_or_default().to_owned();
        let (actor, now) = (asked.who()?.operator.actor(), asked.now.wall);
        login::hashing(&asked, async move |desk| {
            desk.admin.create_operator(&actor, now, email, role, &password).await
        })
        .await?;
        Ok("operator")
    };
    after(&asked, done.await, "#operators").await
}

/// Disables an operator, lets them in again, or gives them another role.
pub(in crate::pages) async fn change_operator(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let done = async {
        let email = Email::parse(form.get("email").unwrap_or_default())
            .map_err(|bad| Problem::invalid(bad.to_string()))?;
        let (admin, now, actor) = (&asked.desk.admin, asked.now.wall, asked.who()?.operator.actor());
        match (form.get("state"), form.get("role").map(OperatorRole::parse)) {
            (Some("disabled"), _) => admin.disable_operator(&actor, now, &email).await?,
            (Some("active"), _) => admin.enable_operator(&actor, now, &email).await?,
            (None, Some(Some(role))) => admin.set_operator_role(&actor, now, &email, role).await?,
            _ => return Err(Problem::invalid("there is no such state or role; reload the page")),
        };
        Ok("changed")
    };
    after(&asked, done.await, "#operators").await
}

pub(super) fn operator_panel(frame: &Frame, operators: &[StoredOperator], owner: bool) -> Markup {
    html! {
        section.panel id="operators" aria-labelledby="op" {
            header { h2 id="op" { "Operators" } p { b { "viewer" } " reads, arguments redacted; " b { "approver" } " also decides; " b { "owner" } " also changes" } }
            table.fold {
                thead { tr { th { "E-mail" } th { "Role" } th { "State" } th { "Since" } th { span.vh { "Change" } } } }
                tbody {
                    @for operator in operators {
                        @let active = operator.state == OperatorState::Active;
                        tr {
                            th.span scope="row" { (operator.email) }
                            td {
                                @if owner && operator.email != *frame.who.email() { (role_form(frame, operator)) }
                                @else { span.tag { (operator.role.as_str()) } }
                            }
                            td { @if active { (badge(Tone::Good, "check", "Active")) } @else { (badge(Tone::Plain, "ban", "Disabled")) } }
                            td data-l="since" { (day(operator.created_at)) }
                            td.num {
                                @if operator.email == *frame.who.email() { span.muted { "you" } }
                                @else if owner {
                                    (reset_form(frame, operator))
                                    form method="post" action="/settings/operators/change" data-confirm=[active.then(|| format!("Disable {}? Password, sessions and tokens stop at once.", operator.email))] {
                                        (frame.token())
                                        input type="hidden" name="email" value=(operator.email);
                                        @if active { button.btn.danger name="state" value="disabled" { "Disable" span.vh { " " (operator.email) } } }
                                        @else { button.btn name="state" value="active" { "Enable" span.vh { " " (operator.email) } } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if owner {
                details.body {
                    summary { (icon("plus")) " New operator" }
                    form.stack method="post" action="/settings/operators" {
                        (frame.token())
                        div.fields {
                            label.field { span { "E-mail" } input type="email" name="email" required autocomplete="off"; }
                            label.field { span { "Role" } select name="role" { @for role in ROLES { option value=(role.as_str()) { (role.as_str()) } } } }
                            label.field { span { "First password" } input type="password" name="password" required minlength=(admin::PASSWORD_CHARACTERS_MIN) autocomplete="new-password"; }
                        }
                        p.hint { "At least " (admin::PASSWORD_CHARACTERS_MIN) " characters." }
                        button.btn.primary { "Add" }
                    }
                }
            }
        }
    }
}

fn role_form(frame: &Frame, operator: &StoredOperator) -> Markup {
    html! {
        form.row method="post" action="/settings/operators/change" {
            (frame.token())
            input type="hidden" name="email" value=(operator.email);
            label {
                span.vh { "Role of " (operator.email) }
                select name="role" { @for role in ROLES { option value=(role.as_str()) selected[role == operator.role] { (role.as_str()) } } }
            }
            button.btn { "Set" span.vh { " the role of " (operator.email) } }
        }
    }
}
