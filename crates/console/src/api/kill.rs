//! The kill switch.

use domain::kill::{Kill, KillReason};
use http::Response;
use pipeline::flow::Flow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Time;
use crate::{answer, asked::Asked, problem::Problem};

/// How it stands.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KillView {
    on: bool,
    since: Option<Time>,
    reason: Option<String>,
    /// Who turned it on.
    by: Option<String>,
}

/// How it is to stand.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KillBody {
    on: bool,
    /// Why; wanted to turn it on.
    reason: Option<String>,
}

pub(crate) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    answer::ok(&view(asked.desk.admin.kill().await?))
}

pub(crate) async fn turn(asked: Asked) -> Result<Response<Flow>, Problem> {
    let KillBody { on, reason } = asked.json()?;
    let (desk, now, actor) = (&asked.desk, asked.now.wall, asked.who()?.operator.actor());
    let kill = if on {
        let reason = KillReason::parse(reason.as_deref().unwrap_or_default())
            .map_err(|bad| Problem::invalid(bad.to_string()))?;
        Some(desk.admin.turn_kill_on(&actor, now, reason).await?.0)
    } else {
        desk.admin.turn_kill_off(&actor, now).await?;
        None
    };
    // Here it holds at once, on other nodes within a second.
    if desk.freshness.refresh().await.is_err() {
        return Err(Problem::unavailable(
            "it is stored, but this gateway cannot read it back; look at: toolgate doctor",
        ));
    }
    answer::ok(&view(kill))
}

fn view(kill: Option<Kill>) -> KillView {
    match kill {
        None => KillView { on: false, since: None, reason: None, by: None },
        Some(kill) => KillView {
            on: true,
            since: Some(Time(kill.since)),
            reason: Some(kill.reason.as_str().to_owned()),
            by: Some(kill.by),
        },
    }
}
