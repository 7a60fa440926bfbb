//! Services: what agents can reach, and the credentials that are added for them. Values go in and never come out.

use std::collections::BTreeMap;

use admin::{CredentialView, ServiceChange, WantedService, Why};
use domain::{
    credential::{CredentialKind, KIND_WORDS, PARAMETERS, kind_of},
    names::{CredentialName, ServiceName},
    operator::OperatorRole,
    service::{
        ApiUpstream, HttpUpstream, Network, OddPaths, RefusalForm, Service, UnknownMethods, Upstream,
        parse_declarations,
    },
};
use http::{Response, StatusCode};
use maud::{Markup, html};
use pipeline::flow::Flow;
use serde_json::json;
use vault::Secret;

use super::{
    agents::wrong,
    layout::{Frame, Tab},
    see, tools,
    ui::{Tone, badge, count, foreign, foreign_cut, icon, moment, note, number, part},
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
        let admin = &asked.desk.admin;
        let text = |name: &str| form.get(name).unwrap_or_default();
        let service = declared(&form, text("name"), text("kind"), OddPaths::Refuse)?;
        if admin.list_services().await?.iter().any(|known| known.name == service.name) {
            let name = &service.name;
            return Err(Problem::conflict(format!("there is a service `{name}` already; change that one")));
        }
        apply(&asked, service, &form).await
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
        @if let Some(said) = said { (said) }
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
        @if owner { (new_form(&frame, typed)) }
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

fn kind(service: &Service) -> &'static str {
    match service.upstream {
        Upstream::Http(_) | Upstream::Stdio(_) => "mcp",
        Upstream::Api(_) => "http",
    }
}

fn place(service: &Service) -> String {
    match &service.upstream {
        Upstream::Stdio(child) => child.command.join(" "),
        Upstream::Http(http) | Upstream::Api(ApiUpstream { http, .. }) => http.url.to_string(),
    }
}

fn new_form(frame: &Frame, typed: Option<&Pairs>) -> Markup {
    let text = |name: &str| typed.and_then(|typed| typed.get(name)).unwrap_or_default();
    html! {
        section.panel id="new" aria-labelledby="ns" {
            header { h2 id="ns" { "New service" } }
            form.body method="post" action="/services" {
                (frame.token())
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

fn network(chosen: Network) -> Markup {
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

/// One service.
pub(super) async fn one(asked: Asked) -> Result<Response<Flow>, Problem> {
    let query = asked.query()?;
    let done = match query.get("done") {
        Some("made") => Some(
            "The service is there. Put it into the scope of an agent, and allow something on it in the policy.",
        ),
        Some("saved") => Some("Saved. Running gateways know within a second."),
        Some("sealed") => Some("Sealed. Running gateways use it within a second; nobody reads it back."),
        Some("accepted") => Some("Accepted. Agents see and call the tool within a second."),
        Some("dropped") => Some("The value is dropped. The service is not called without it."),
        _ => None,
    };
    let lost = query.get("lost").and_then(|lost| lost.parse::<u64>().ok()).filter(|lost| *lost > 0);
    let said = done.map(|done| {
        html! {
            (note(Tone::Good, "check", &html! { b { (done) } }))
            @if let Some(lost) = lost {
                (note(Tone::Look, "alert", &html! {
                    b { (count(lost, "credential")) (if lost == 1 { " has" } else { " have" }) " no value any more." }
                    " A value is sealed for one scheme, host and port: set it anew."
                }))
            }
        }
    });
    single(&asked, said, StatusCode::OK).await
}

pub(super) async fn single(
    asked: &Asked,
    said: Option<Markup>,
    code: StatusCode,
) -> Result<Response<Flow>, Problem> {
    let frame = Frame::of(asked).await?;
    let admin = &asked.desk.admin;
    let service = admin.show_service(asked.part("name")).await?;
    let credentials = admin.list_credentials(service.name.as_str()).await?;
    let documentation = admin.documentation(service.name.as_str()).await?;
    let owner = frame.may(OperatorRole::Owner);
    let name = part(service.name.as_str());
    let content = html! {
        div.head {
            div {
                p.crumb { a href="/services" { "Services" } " / " (service.name) }
                h1 { (service.name) }
                p { a href={ "/calls?time=week&service=" (name) } { "Its calls" } }
            }
            span.tag { (kind(&service)) }
        }
        @if let Some(said) = said { (said) }
        (facts(&service))
        (tools::panel(asked, &frame, &service).await?)
        (credential_panel(&frame, &service, &credentials, owner))
        @if let (Some(http), true) = (service.upstream.http(), owner) { (edit(&frame, &service, http, documentation.as_deref())) }
        @else { (read_documentation(documentation.as_deref())) }
        @if owner { (removal(&frame, &service)) }
    };
    Ok(frame.page(code, service.name.as_str(), Some(Tab::Services), &content))
}

fn facts(service: &Service) -> Markup {
    html! {
        section.panel aria-label="How it is reached" {
            div.body {
                dl.facts.wide {
                    div { dt { "Address" } dd { code { (foreign(&place(service))) } } }
                    @match &service.upstream {
                        Upstream::Http(http) => {
                            div { dt { "Kind" } dd { "MCP, Streamable HTTP" } }
                            div { dt { "Network" } dd { (network_word(http.network)) } }
                        }
                        Upstream::Api(api) => {
                            div { dt { "Kind" } dd { "HTTP API" } }
                            div { dt { "Network" } dd { (network_word(api.http.network)) } }
                            div { dt { "Long answers" } dd { (if api.stream { "allowed" } else { "at most 30 s and 10 MB" }) } }
                            @if let Some(header) = &api.idempotency_header { div { dt { "Idempotency header" } dd { code { (foreign(header)) } } } }
                        }
                        Upstream::Stdio(child) => {
                            div { dt { "Kind" } dd { "MCP, child process" } }
                            div { dt { "Processes" } dd { "at most " (child.processes) @if child.share { ", one for all" } } }
                            div { dt { "Environment" } dd { (child.env.keys().map(String::as_str).collect::<Vec<_>>().join(", ")) @if child.env.is_empty() { "PATH, HOME, LANG only" } } }
                        }
                    }
                    div { dt { "Unknown methods" } dd { (match service.unknown_methods { UnknownMethods::Refuse => "refuse", UnknownMethods::Pass => "pass" }) } }
                    div { dt { "Refusals" } dd { (match service.refusals { RefusalForm::Error => "as errors", RefusalForm::Result => "as tool results" }) } }
                }
            }
        }
    }
}

fn network_word(network: Network) -> &'static str {
    match network {
        Network::Public => "public",
        Network::Private => "private",
    }
}

fn credential_panel(frame: &Frame, service: &Service, credentials: &[CredentialView], owner: bool) -> Markup {
    let path = format!("/services/{}/credentials", part(service.name.as_str()));
    let child = matches!(service.upstream, Upstream::Stdio(_));
    html! {
        section.panel aria-labelledby="cr" {
            header { h2 id="cr" { "Credentials" } p { "sealed to " (foreign(&service.upstream.origin())) } }
            @if credentials.is_empty() {
                div.empty { (icon("key")) h3 { "It needs none, or none is set" } p { "A credential is added to each call on the way out. Agents never see it." } }
            } @else {
                table.fold {
                    thead { tr { th { "Name" } th { "Kind" } th { "Version" } th { "Set, UTC" } th { span.vh { "Change" } } } }
                    tbody {
                        @for CredentialView { slot, value } in credentials {
                            tr {
                                th scope="row" { code { (slot.name) } }
                                td { (slot.kind.word()) (parameters(&slot.kind)) }
                                @match value {
                                    Some(value) => { td data-l="version" { (value.version) } td { (moment(value.set_at, frame.now)) } }
                                    None => { td { (badge(Tone::Look, "alert", "No value")) } td { span.muted { "not called without it" } } }
                                }
                                td.num {
                                    @if owner && value.is_some() {
                                        form method="post" action={ (path) "/remove" } data-confirm={ "Drop the value of " (slot.name) "? The service is not called without it." } {
                                            (frame.token())
                                            button.btn.danger name="name" value=(slot.name) { "Drop value" span.vh { " of " (slot.name) } }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if owner {
                form.body method="post" action=(path) {
                    (frame.token())
                    h3 { "Set a credential" }
                    div.fields {
                        label.field {
                            span { "Name" }
                            input.mono name="name" required maxlength="64" autocomplete="off" value=[credentials.first().map(|one| one.slot.name.as_str())];
                        }
                        label.field {
                            span { "Kind" }
                            select name="kind" {
                                option value="" { "as declared" }
                                @for word in KIND_WORDS.into_iter().filter(|word| (*word == "env") == child) { option value=(word) { (word) } }
                            }
                        }
                        label.field { span { "Value" } input type="password" name="value" autocomplete="new-password" required; }
                        button.btn { "Seal and replace" }
                    }
                    @if !child {
                        details {
                            summary { (icon("chev")) " Parameters of some kinds" }
                            div.fields { @for parameter in PARAMETERS { label.field { span { code { (parameter) } } input.mono name={ "p." (parameter) } autocomplete="off"; } } }
                        }
                    }
                    p.hint { "It replaces the value at once. Held calls that were shown with another version must be decided again. A certificate is set with " code { "toolgate credentials set" } "." }
                }
            }
        }
    }
}

fn parameters(kind: &CredentialKind) -> Markup {
    let parameters = kind.parameters();
    html! { @for (name, value) in &parameters { ", " (name) " " code { (foreign_cut(value, 80)) } } }
}

fn edit(frame: &Frame, service: &Service, http: &HttpUpstream, documentation: Option<&str>) -> Markup {
    html! {
        section.panel aria-labelledby="ed" {
            header { h2 id="ed" { "Change" } p { "another scheme, host or port drops the credentials’ values" } }
            form.body method="post" action={ "/services/" (part(service.name.as_str())) } {
                (frame.token())
                div.fields {
                    label.field { span { "Address" } input type="url" name="url" required value=(http.url); }
                    (network(http.network))
                }
                label.field {
                    span { "Documentation, for agents in scope" }
                    textarea.mono name="documentation" rows="6" { (documentation.unwrap_or_default()) }
                }
                p.hint { "Text or OpenAPI. Agents read it at " code { "GET /v1/services" } "." }
                button.btn { "Save" }
            }
        }
    }
}

fn read_documentation(documentation: Option<&str>) -> Markup {
    html! {
        @if let Some(text) = documentation {
            section.panel aria-labelledby="doc" {
                header { h2 id="doc" { "Documentation" } p { (number(text.len() as u64)) " bytes" } }
                div.body {
                    details {
                        summary { (icon("chev")) " Show it" }
                        (super::ui::code(&text.lines().map(|line| domain::foreign::escape_foreign(line).into_owned()).collect::<Vec<_>>(), true, "Documentation"))
                    }
                }
            }
        }
    }
}

fn removal(frame: &Frame, service: &Service) -> Markup {
    html! {
        section.panel aria-labelledby="rm" {
            header { h2 id="rm" { "Remove" } }
            div.body {
                details {
                    summary { (icon("chev")) " Remove this service" }
                    form.row method="post" action={ "/services/" (part(service.name.as_str())) "/remove" } {
                        (frame.token())
                        label.field { span { "Type " code { (service.name) } } input name="sure" required autocomplete="off"; }
                        button.btn.danger { "Remove" }
                        span.hint { "Its documentation and the values of its credentials go with it; scopes keep its name, the trail its history." }
                    }
                }
            }
        }
    }
}

/// Another address, network or documentation.
pub(super) async fn update(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let done = async {
        let mut service = asked.desk.admin.show_service(asked.part("name")).await?;
        let odd_paths = match &service.upstream {
            Upstream::Api(api) => api.odd_paths,
            Upstream::Http(_) | Upstream::Stdio(_) => OddPaths::Refuse,
        };
        let wanted = declared(&form, service.name.as_str(), kind(&service), odd_paths)?;
        match (&mut service.upstream, wanted.upstream.http()) {
            (Upstream::Http(old) | Upstream::Api(ApiUpstream { http: old, .. }), Some(new)) => {
                *old = HttpUpstream { ca_pem: old.ca_pem.take(), ..new.clone() };
            }
            _ => {
                return Err(Problem::invalid(
                    "a service with a command is changed with: toolgate services apply -f FILE",
                ));
            }
        }
        apply(&asked, service, &form).await
    };
    match done.await {
        Ok(change) => {
            let lost = change.dropped.iter().filter(|dropped| dropped.why != Why::Undeclared).count();
            Ok(see(&format!("/services/{}?done=saved&lost={lost}", part(change.service.name.as_str()))))
        }
        Err(problem) => again(&asked, problem).await,
    }
}

/// Another value of a credential.
pub(super) async fn set_credential(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let done = async {
        let bad = |what: String| Problem::invalid(what);
        let name = CredentialName::parse(form.get("name").unwrap_or_default())
            .map_err(|error| bad(error.to_string()))?;
        let given: BTreeMap<&'static str, String> = PARAMETERS
            .into_iter()
            .filter_map(|parameter| Some((parameter, form.get(&format!("p.{parameter}"))?.to_owned())))
            .collect();
        let kind = match form.get("kind") {
            Some(word) => Some(
                kind_of(word, &given).map_err(|wrong| bad(format!("{}; {}", wrong.what, wrong.advice)))?,
            ),
            None => None,
        };
        let value = form.get("value").ok_or_else(|| bad("the value is missing; type it".to_owned()))?;
        let (desk, actor) = (&asked.desk, asked.who()?.operator.actor());
        let value = Secret::new(value.as_bytes().to_vec());
        let place = (asked.part("name"), &name);
        desk.admin.set_credential(&actor, asked.now.wall, &desk.vault, place, kind, &value).await?;
        Ok::<_, Problem>(())
    };
    match done.await {
        Ok(()) => Ok(see(&format!("/services/{}?done=sealed", part(asked.part("name"))))),
        Err(problem) => again(&asked, problem).await,
    }
}

/// A credential loses its value.
pub(super) async fn drop_value(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let done = async {
        let name = CredentialName::parse(form.get("name").unwrap_or_default());
        let name = name.map_err(|error| Problem::invalid(error.to_string()))?;
        let actor = asked.who()?.operator.actor();
        Ok::<_, Problem>(
            asked.desk.admin.remove_credential(&actor, asked.now.wall, asked.part("name"), &name).await?,
        )
    };
    match done.await {
        Ok(()) => Ok(see(&format!("/services/{}?done=dropped", part(asked.part("name"))))),
        Err(problem) => again(&asked, problem).await,
    }
}

/// The service goes.
pub(super) async fn remove(asked: Asked) -> Result<Response<Flow>, Problem> {
    let name =
        ServiceName::parse(asked.part("name")).map_err(|_| Problem::not_found("there is no such service"))?;
    if asked.form()?.get("sure") != Some(name.as_str()) {
        return again(&asked, Problem::invalid("to remove a service, type its name; nothing was changed"))
            .await;
    }
    let actor = asked.who()?.operator.actor();
    asked.desk.admin.remove_service(&actor, asked.now.wall, &name).await?;
    Ok(see("/services?done=removed"))
}

async fn again(asked: &Asked, problem: Problem) -> Result<Response<Flow>, Problem> {
    if problem.status.is_server_error() || problem.status == StatusCode::NOT_FOUND {
        return Err(problem);
    }
    let status = problem.status;
    single(asked, Some(wrong(&problem)), status).await
}

async fn apply(asked: &Asked, service: Service, form: &Pairs) -> Result<ServiceChange, Problem> {
    let documentation = form.get("documentation").map(|text| text.replace("\r\n", "\n"));
    if documentation.as_ref().is_some_and(|text| text.len() > DOCUMENTATION_MAX) {
        return Err(Problem::invalid("the documentation is over 1 MB; shorten it"));
    }
    let actor = asked.who()?.operator.actor();
    let wanted = vec![WantedService { service, documentation }];
    let changes = asked.desk.admin.apply_services(&actor, asked.now.wall, wanted).await?;
    changes.into_iter().next().ok_or_else(|| Problem::internal("a service was not applied"))
}

/// The service that the form declares, read and judged as `services.yaml` is.
fn declared(form: &Pairs, name: &str, kind: &str, odd_paths: OddPaths) -> Result<Service, Problem> {
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
        Problem::invalid(first.unwrap_or_else(|| "the service cannot be read".to_owned()))
    })?;
    let declared = declared.into_iter().next().map(|declared| declared.service);
    declared.ok_or_else(|| Problem::invalid("the service cannot be read"))
}
