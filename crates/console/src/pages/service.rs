//! One service: how it is reached, and its credentials. Values go in and never come out.

use std::collections::BTreeMap;

use admin::{CredentialView, Expected, SeenService, Why};
use domain::{
    credential::{CredentialKind, KIND_WORDS, PARAMETERS, kind_of},
    names::{CredentialName, ServiceName},
    operator::OperatorRole,
    service::{ApiUpstream, HttpUpstream, Network, OddPaths, RefusalForm, Service, UnknownMethods, Upstream},
};
use http::{Response, StatusCode};
use maud::{Markup, html};
use pipeline::flow::Flow;
use vault::Secret;

use super::{
    layout::{Frame, Tab},
    refused::wrong,
    see,
    services::{apply, declared, kind, network, place},
    tools,
    ui::{Tone, badge, count, foreign, foreign_cut, icon, moment, note, number, part},
};
use crate::{api::services::tag, asked::Asked, etag, problem::Problem};

/// One service.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let query = asked.query()?;
    let done = match query.get("done") {
        Some("made") => {
            Some("The service is there. Next: let a role use it, and put it into the scope of an agent.")
        }
        Some("saved") => Some("Saved. Running gateways know within a second."),
        Some("sealed") => Some("Sealed. Running gateways use it within a second; nobody reads it back."),
        Some("sealed-short") => Some(
            "Sealed. It is too short to be masked in what the upstream sends back; use a value of 8 bytes or more.",
        ),
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
    let seen = admin.see_service(asked.part("name")).await?;
    let seen_tag = tag(&seen);
    let SeenService { service, credentials, .. } = seen;
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
        (no_rule(asked, &service))
        (facts(&service))
        (tools::panel(asked, &frame, &service).await?)
        (credential_panel(&frame, &service, &credentials, owner))
        @if let (Some(http), true) = (service.upstream.http(), owner) { (edit(&frame, (&service, &seen_tag), http, documentation.as_deref())) }
        @else { (read_documentation(documentation.as_deref())) }
        @if owner { (removal(&frame, &service)) }
    };
    Ok(frame.page(code, service.name.as_str(), Some(Tab::Services), &content))
}

/// What to do where no rule lets anybody but `admin` call it.
fn no_rule(asked: &Asked, service: &Service) -> Markup {
    let world = asked.desk.freshness.current();
    if world.policy.grants_anything_on(service.name.as_str()) {
        return html! {};
    }
    note(
        Tone::Look,
        "policy",
        &html! {
            div.stack {
                p { b { "No allow rule names it: only " code { "admin" } " can call it." } " To let others read from it, add a line below " code { "allow" } " of their role in " code { (world.policy.file_name()) } ". The file is read again by itself." }
                pre.code tabindex="0" role="region" aria-label="The line to add" { span { (service.example_rule()) } }
            }
        },
    )
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

fn edit(
    frame: &Frame,
    (service, tag): (&Service, &str),
    http: &HttpUpstream,
    documentation: Option<&str>,
) -> Markup {
    html! {
        section.panel aria-labelledby="ed" {
            header { h2 id="ed" { "Change" } p { "another scheme, host or port drops the credentials’ values" } }
            form.body method="post" action={ "/services/" (part(service.name.as_str())) } {
                (frame.token())
                input type="hidden" name=(etag::SEEN_FIELD) value=(etag::bare(tag));
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
        let seen = asked.desk.admin.see_service(asked.part("name")).await?;
        // Whatever the form does not mean to change must not come back as it was.
        etag::check_form(&form, &tag(&seen), "the service")?;
        let SeenService { mut service, revision, .. } = seen;
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
        apply(&asked, service, &form, Expected::Revision(revision)).await
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
        let set = desk.admin.set_credential(&actor, asked.now.wall, &desk.vault, place, kind, &value).await?;
        Ok::<_, Problem>(if set.masked { "sealed" } else { "sealed-short" })
    };
    match done.await {
        Ok(done) => Ok(see(&format!("/services/{}?done={done}", part(asked.part("name"))))),
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
    asked.desk.admin.remove_service(&actor, asked.now.wall, &name, None).await?;
    Ok(see("/services?done=removed"))
}

async fn again(asked: &Asked, problem: Problem) -> Result<Response<Flow>, Problem> {
    if problem.status.is_server_error() || problem.status == StatusCode::NOT_FOUND {
        return Err(problem);
    }
    let status = problem.status;
    single(asked, Some(wrong(&problem)), status).await
}
