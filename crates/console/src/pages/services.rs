//! The list of services, the form that makes one, and how such a form is read.

use admin::{Expected, ServiceChange, WantedService};
use domain::{
    operator::OperatorRole,
    service::{ApiUpstream, Network, OddPaths, Service, Upstream, parse_declarations},
};
use http::{Response, StatusCode};
use maud::{Markup, html};
use pipeline::flow::Flow;
use serde_json::json;

use super::{
    layout::{Frame, Tab},
    refused::wrong,
    see,
    ui::{Tone, badge, count, foreign_cut, icon, note, part},
};
use crate::{
    asked::{Asked, Pairs},
    problem::Problem,
};

/// The longest documentation that is taken (bytes); as much as the file of a service may have.
const DOCUMENTATION_MAX: usize = 1024 * 1024;

/// The list.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let said = (asked.query()?.get("done") == Some("removed")).then(|| {
        note(Tone::Good, "check", &html! { b { "Removed, with its documentation and the values of its credentials." } " Its history stays." })
    });
    list(&asked, said, None, StatusCode::OK).await
}

/// Makes a service.
pub(super) async fn create(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let made = async {
        let text = |name: &str| form.get(name).unwrap_or_default();
        let service = declared(&form, text("name"), text("kind"), OddPaths::Refuse)?;
        apply(&asked, service, &form, Expected::Nothing).await
    };
    match made.await {
        Ok(change) => Ok(see(&format!("/services/{}?done=made", part(change.service.name.as_str())))),
        Err(problem) if !problem.status.is_server_error() => {
            let status = problem.status;
            list(&asked, Some(wrong(&problem)), Some(&form), status).await
        }
        Err(problem) => Err(problem),
    }
}

async fn list(
    asked: &Asked,
    said: Option<Markup>,
    typed: Option<&Pairs>,
    code: StatusCode,
) -> Result<Response<Flow>, Problem> {
    let frame = Frame::of(asked).await?;
    let services = asked.desk.admin.list_services().await?;
    let owner = frame.may(OperatorRole::Owner);
    let failing = asked.desk.admin.failing_services(frame.now).await?;
    let content = html! {
        div.head {
            div { h1 { "Services" } p { "What agents can reach, and the credentials Toolgate adds for them. Values are written here and never read back." } }
            @if owner { a.btn.primary href="#new" { (icon("plus")) " New service" } }
        }
        @if let (Some(said), None) = (&said, typed) { (said) }
        section.panel aria-label="All services" {
            @if services.is_empty() {
                div.empty {
                    (icon("plug"))
                    h2 { "No service yet" }
                    p { "An MCP server or an HTTP API that your agents use. Toolgate keeps its credential, so that they need not." }
                    @if owner { a.btn.primary href="#new" { "Add the first service" } }
                }
            } @else {
                table.fold {
                    thead { tr { th { "Service" } th { "Last hour" } th { "Kind and address" } th { "Credentials" } } }
                    tbody {
                        @for service in &services {
                            tr {
                                th scope="row" { a href={ "/services/" (part(service.name.as_str())) } { (service.name) } }
                                td { (health(failing.get(service.name.as_str()).copied())) }
                                td.span { span.tag { (kind(service)) } " " code { (foreign_cut(&place(service), 120)) } }
                                td.span { (match service.credentials.len() { 0 => "no credentials".to_owned(), some => count(some as u64, "credential") }) }
                            }
                        }
                    }
                }
            }
            p.foot { span { (count(services.len() as u64, "service")) ". Those with a command are set up in a file: " code { "toolgate services apply -f services.yaml" } } }
        }
        @if owner { (new_form(&frame, said.filter(|_| typed.is_some()), typed)) }
    };
    Ok(frame.page(code, "Services", Some(Tab::Services), &content))
}

/// What is known of its health: how often it failed of late. Nobody knocks at it only to see.
fn health(failed: Option<u64>) -> Markup {
    match failed {
        Some(failed) => badge(Tone::Look, "alert", count(failed, "failure")),
        None => badge(Tone::Plain, "check", "No failure"),
    }
}

pub(super) fn kind(service: &Service) -> &'static str {
    match service.upstream {
        Upstream::Http(_) | Upstream::Stdio(_) => "mcp",
        Upstream::Api(_) => "http",
    }
}

pub(super) fn place(service: &Service) -> String {
    match &service.upstream {
        Upstream::Stdio(child) => child.command.join(" "),
        Upstream::Http(http) | Upstream::Api(ApiUpstream { http, .. }) => http.url.to_string(),
    }
}

/// The form for a new service, with what did not fit and what was typed.
fn new_form(frame: &Frame, wrong: Option<Markup>, typed: Option<&Pairs>) -> Markup {
    let text = |name: &str| typed.and_then(|typed| typed.get(name)).unwrap_or_default();
    html! {
        section.panel id="new" aria-labelledby="ns" {
            header { h2 id="ns" { "New service" } }
            form.body method="post" action="/services#new" {
                (frame.token())
                @if let Some(wrong) = wrong { (wrong) }
                div.fields {
                    label.field { span { "Name" } input name="name" required maxlength="40" value=(text("name")) placeholder="tickets" autocomplete="off"; }
                    label.field {
                        span { "Kind" }
                        select name="kind" {
                            option value="http" { "http, an API" }
                            option value="mcp" selected[text("kind") == "mcp"] { "mcp, Streamable HTTP" }
                        }
                    }
                    label.field { span { "Address" } input type="url" name="url" required value=(text("url")) placeholder="https://api.tickets.example"; }
                    (network(if text("network") == "private" { Network::Private } else { Network::Public }))
                }
                p.hint { "Small letters, digits and hyphens. " code { "private" } " also allows loopback and private addresses." }
                button.btn.primary { "Create" }
            }
        }
    }
}

pub(super) fn network(chosen: Network) -> Markup {
    html! {
        label.field {
            span { "Network" }
            select name="network" {
                option value="public" { "public" }
                option value="private" selected[chosen == Network::Private] { "private" }
            }
        }
    }
}

pub(super) async fn apply(
    asked: &Asked,
    service: Service,
    form: &Pairs,
    expected: Expected,
) -> Result<ServiceChange, Problem> {
    let documentation = form.get("documentation").map(|text| text.replace("\r\n", "\n"));
    if documentation.as_ref().is_some_and(|text| text.len() > DOCUMENTATION_MAX) {
        return Err(Problem::invalid("the documentation is over 1 MB; shorten it"));
    }
    let actor = asked.who()?.operator.actor();
    let wanted = WantedService { service, documentation };
    Ok(asked.desk.admin.put_documented_service(&actor, asked.now.wall, wanted, expected).await?)
}

/// The service that the form declares, read and judged as `services.yaml` is.
pub(super) fn declared(
    form: &Pairs,
    name: &str,
    kind: &str,
    odd_paths: OddPaths,
) -> Result<Service, Problem> {
    let mut service = json!({
        "name": name,
        "kind": kind,
        "url": form.get("url").unwrap_or_default(),
        "network": form.get("network").unwrap_or("public"),
    });
    if let (OddPaths::Pass, Some(members)) = (odd_paths, service.as_object_mut()) {
        members.insert("odd_paths".to_owned(), "pass".into());
    }
    // JSON is YAML.
    let text = json!({ "services": [service] }).to_string();
    let declared = parse_declarations("the form", &text).map_err(|faults| {
        let first = faults.into_iter().next().map(|fault| fault.message);
        Problem::invalid(first.unwrap_or_else(|| "the service cannot be read; reload the page".to_owned()))
    })?;
    let declared = declared.into_iter().next().map(|declared| declared.service);
    declared.ok_or_else(|| Problem::invalid("the service cannot be read; reload the page"))
}
