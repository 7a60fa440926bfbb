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
    #[schemars(with = "super::Address")]
    operator: String,
    role: RoleWord,
    #[schemars(length(min = 12))]
    password: String,
}

/// What is to be another.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorPatch {
    state: Option<Switch>,
    /// Another role, which holds for their tokens too.
    role: Option<RoleWord>,
    /// Another password.
    #[schemars(length(min = 12))]
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
    let unknown = |_| Problem::not_found("there is no such operator");
    let email = Email::parse(asked.part("email")).map_err(unknown)?;
    let OperatorPatch { state, role, password } = asked.json()?;
    let (admin, actor, now) = (&asked.desk.admin, asked.who()?.operator.actor(), asked.now.wall);
    if let Some(role) = role {
        admin.set_operator_role(&actor, now, &email, role.into()).await?;
    }
    match state {
        None => false,
        Some(Switch::Active) => admin.enable_operator(&actor, now, &email).await?,
        Some(Switch::Disabled) => admin.disable_operator(&actor, now, &email).await?,
    };
    if let Some(password) = password {
        let whose = email.clone();
        login::hashing(&asked, async move |desk| {
            desk.admin.reset_operator(&actor, now, &whose, &password).await
        })
        .await?;
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
