//! Who is logged in.

use http::Response;
use pipeline::flow::Flow;
use serde::Serialize;

use crate::{answer, asked::Asked, problem::Problem};

/// An operator, as the API shows one.
#[derive(Serialize)]
pub(crate) struct Me<'a> {
    email: &'a str,
    role: &'static str,
}

pub(crate) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let operator = &asked.who()?.operator;
    answer::ok(&Me { email: operator.email().as_str(), role: operator.role().as_str() })
}
