//! The pages: their table of routes. Each works without script, and what people or agents wrote is text in them, never
//! HTML.

mod agent;
mod agents;
mod approval;
mod calls;
mod decide;
mod files;
mod inbox;
mod layout;
mod login;
mod overview;
mod policy;
mod refused;
mod service;
mod services;
mod settings;
mod tools;
mod ui;

use http::{HeaderValue, Method, Response, StatusCode, header};
use pipeline::flow::Flow;

pub(crate) use refused::page as problem;

use crate::{
    answer,
    route::{ANYONE, APPROVER, OWNER, Opening, Route, VIEWER},
};

/// Every page and file, and the least that somebody must be to see it.
pub(crate) const ROUTES: &[Route] = &[
    page("/", VIEWER, |asked| Box::pin(overview::show(asked))),
    page("/login", ANYONE, |asked| Box::pin(login::show(asked))),
    form("/login", ANYONE, |asked| Box::pin(login::log_in(asked))),
    page("/welcome", ANYONE, |asked| Box::pin(login::welcome(asked))),
    form("/welcome", ANYONE, |asked| Box::pin(login::begin(asked))),
    form("/logout", ANYONE, |asked| Box::pin(login::log_out(asked))),
    page("/approvals", VIEWER, |asked| Box::pin(inbox::show(asked))),
    form("/approvals/batch", APPROVER, |asked| Box::pin(decide::batch(asked))),
    page("/approvals/{id}", VIEWER, |asked| Box::pin(approval::show(asked))),
    form("/approvals/{id}/decide", APPROVER, |asked| Box::pin(decide::decide(asked))),
    form("/approvals/{id}/resolve", APPROVER, |asked| Box::pin(decide::resolve(asked))),
    page("/calls", VIEWER, |asked| Box::pin(calls::show(asked))),
    form("/calls/verify", VIEWER, |asked| Box::pin(calls::verify(asked))),
    page("/calls/{call}", VIEWER, |asked| Box::pin(calls::one(asked))),
    page("/agents", VIEWER, |asked| Box::pin(agents::show(asked))),
    form("/agents", OWNER, |asked| Box::pin(agents::create(asked))),
    page("/agents/{name}", VIEWER, |asked| Box::pin(agent::show(asked))),
    form("/agents/{name}", OWNER, |asked| Box::pin(agent::update(asked))),
    form("/agents/{name}/keys", OWNER, |asked| Box::pin(agent::new_key(asked))),
    form("/agents/{name}/state", OWNER, |asked| Box::pin(agent::set_state(asked))),
    form("/keys/{id}/revoke", OWNER, |asked| Box::pin(agent::revoke(asked))),
    page("/services", VIEWER, |asked| Box::pin(services::show(asked))),
    form("/services", OWNER, |asked| Box::pin(services::create(asked))),
    page("/services/{name}", VIEWER, |asked| Box::pin(service::show(asked))),
    form("/services/{name}", OWNER, |asked| Box::pin(service::update(asked))),
    form("/services/{name}/credentials", OWNER, |asked| Box::pin(service::set_credential(asked))),
    form("/services/{name}/credentials/remove", OWNER, |asked| Box::pin(service::drop_value(asked))),
    form("/services/{name}/tools", OWNER, |asked| Box::pin(tools::accept(asked))),
    form("/services/{name}/remove", OWNER, |asked| Box::pin(service::remove(asked))),
    page("/policy", VIEWER, |asked| Box::pin(policy::show(asked))),
    form("/policy/explain", VIEWER, |asked| Box::pin(policy::explain(asked))),
    page("/settings", VIEWER, |asked| Box::pin(settings::show(asked))),
    form("/settings/kill", OWNER, |asked| Box::pin(settings::kill(asked))),
    form("/settings/operators", OWNER, |asked| Box::pin(settings::operators::create_operator(asked))),
    form("/settings/operators/change", OWNER, |asked| Box::pin(settings::operators::change_operator(asked))),
    form("/settings/operators/password", OWNER, |asked| Box::pin(settings::passwords::reset(asked))),
    form("/settings/password", VIEWER, |asked| Box::pin(settings::passwords::change(asked))),
    form("/settings/sessions/end", VIEWER, |asked| Box::pin(settings::end_session(asked))),
    form("/settings/tokens", VIEWER, |asked| Box::pin(settings::tokens::create_token(asked))),
    form("/settings/tokens/revoke", VIEWER, |asked| Box::pin(settings::tokens::revoke_token(asked))),
    page("/assets/{file}", ANYONE, |asked| Box::pin(files::show(asked))),
    page("/favicon.ico", ANYONE, |asked| Box::pin(files::icon(asked))),
];

const fn page(
    path: &'static str,
    least: crate::route::Least,
    open: fn(crate::asked::Asked) -> Opening,
) -> Route {
    Route { method: Method::GET, path, least, open }
}

const fn form(
    path: &'static str,
    least: crate::route::Least,
    open: fn(crate::asked::Asked) -> Opening,
) -> Route {
    Route { method: Method::POST, path, least, open }
}

/// Sends the browser to another page, so that reloading it does not repeat what was done (303, RFC 9110 §15.4.4).
pub(crate) fn see(path: &str) -> Response<Flow> {
    let mut response = answer::of(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
    if let Ok(path) = HeaderValue::try_from(path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}
