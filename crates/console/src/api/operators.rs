//! Operators: listed, added, let in and out, given another role or password.

use domain::operator::{Email, OperatorRole, OperatorState};
use http::{Response, StatusCode};
use pipeline::flow::Flow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::StoredOperator;

use super::{Listed, Time, agents::Switch};
use crate::{answer, asked::Asked, login, problem::Problem};

/// An operator.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OperatorView {
    operator: String,
    role: RoleWord,
    state: OperatorStateWord,
    created_at: Time,
}

/// What an operator may do; each may do what the one before it may.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoleWord {
    /// Reads.
    Viewer,
    /// Also decides.
    Approver,
    /// Also changes.
    Owner,
}

impl From<RoleWord> for OperatorRole {
    fn from(role: RoleWord) -> Self {
        match role {
            RoleWord::Viewer => Self::Viewer,
            RoleWord::Approver => Self::Approver,
            RoleWord::Owner => Self::Owner,
        }
    }
}

impl From<OperatorRole> for RoleWord {
    fn from(role: OperatorRole) -> Self {
        match role {
            OperatorRole::Viewer => Self::Viewer,
            OperatorRole::Approver => Self::Approver,
            OperatorRole::Owner => Self::Owner,
        }
    }
}

/// Whether an operator may log in.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OperatorStateWord {
    /// They may.
    Active,
    /// They may not.
    Disabled,
}

/// A new operator.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOperator {
    // The login says `email`.
    #[serde(alias = "email")]
    #[schemars(with = "super::Address")]
    operator: String,
    role: RoleWord,
    #[schemars(length(min = 12, max = 1024))]
    password: String,
}

/// What is to be another: one of these.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorPatch {
    state: Option<Switch>,
    /// Another role, which holds for their tokens too.
    role: Option<RoleWord>,
    /// Another password.
    #[schemars(length(min = 12, max = 1024))]
    password: Option<String>,
}

pub(crate) async fn list(asked: Asked) -> Result<Response<Flow>, Problem> {
    let operators = asked.desk.admin.list_operators().await?;
    answer::ok(&Listed::all(operators.into_iter().map(view).collect()))
}

pub(crate) async fn create(asked: Asked) -> Result<Response<Flow>, Problem> {
    let NewOperator { operator, role, password } = asked.json()?;
    let email = Email::parse(&operator).map_err(|bad| Problem::invalid(bad.to_string()))?;
    let (actor, now, new) = (asked.who()?.operator.actor(), asked.now.wall, email.clone());
    login::hashing(&asked, async move |desk| {
        desk.admin.create_operator(&actor, now, new, role.into(), &password).await
    })
    .await?;
    answer::json(StatusCode::CREATED, &view(asked.desk.admin.show_operator(&email).await?))
}

pub(crate) async fn update(asked: Asked) -> Result<Response<Flow>, Problem> {
    let unknown = |_| Problem::not_found("there is no such operator; look at the list of operators");
    let email = Email::parse(asked.part("email")).map_err(unknown)?;
    let OperatorPatch { state, role, password } = asked.json()?;
    let (admin, actor, now) = (&asked.desk.admin, asked.who()?.operator.actor(), asked.now.wall);
    match (role, state, password) {
        (None, None, None) => {}
        (Some(role), None, None) => {
            admin.set_operator_role(&actor, now, &email, role.into()).await?;
        }
        (None, Some(Switch::Active), None) => {
            admin.enable_operator(&actor, now, &email).await?;
        }
        (None, Some(Switch::Disabled), None) => {
            admin.disable_operator(&actor, now, &email).await?;
        }
        // Whoever has another's session must not lock them out of their account with it.
        (None, None, Some(_)) if email == *asked.who()?.operator.email() => {
            return Err(Problem::conflict(
                "your own password takes the old one too: POST /api/me/password; nothing was changed",
            ));
        }
        (None, None, Some(password)) => {
            let whose = email.clone();
            login::hashing(&asked, async move |desk| {
                desk.admin.reset_operator(&actor, now, &whose, &password).await
            })
            .await?;
        }
        // Each is an event of its own, and none must be done without the others.
        _ => {
            return Err(Problem::invalid(
                "one at a time: `role`, `state` or `password`; nothing was changed",
            ));
        }
    }
    answer::ok(&view(admin.show_operator(&email).await?))
}

fn view(operator: StoredOperator) -> OperatorView {
    OperatorView {
        operator: operator.email.to_string(),
        role: operator.role.into(),
        state: match operator.state {
            OperatorState::Active => OperatorStateWord::Active,
            OperatorState::Disabled => OperatorStateWord::Disabled,
        },
        created_at: Time(operator.created_at),
    }
}
