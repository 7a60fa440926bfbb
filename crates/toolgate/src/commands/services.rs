//! `toolgate services`: the upstreams, made from a file. Values of environment variables and credentials are not
//! shown again.

mod apply;
mod tools;

use std::path::PathBuf;

use clap::Subcommand;
use domain::{
    credential::{CredentialKind, CredentialSlot},
    names::ServiceName,
    service::{ApiUpstream, Network, Service, Upstream},
};
use serde_json::{Value, json};

use super::{Context, Verdict};
use crate::output::{Column, Mark, Table, escape_foreign, shell_quote, size};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/services_apply.txt"))]
    Apply {
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    #[command(override_help = include_str!("help/services_list.txt"))]
    List,
    #[command(override_help = include_str!("help/services_show.txt"))]
    Show {
        #[arg(value_name = "NAME")]
        name: String,
    },
    #[command(override_help = include_str!("help/services_tools.txt"))]
    Tools(tools::Asked),
    #[command(override_help = include_str!("help/services_remove.txt"))]
    Remove {
        #[arg(value_name = "NAME")]
        name: ServiceName,
    },
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Apply { file } => apply::apply(context, &file),
        Command::List => list(context),
        Command::Show { name } => show(context, &name),
        Command::Tools(asked) => tools::run(context, &asked),
        Command::Remove { name } => remove(context, &name),
    }
}

fn list(context: &Context) -> anyhow::Result<Verdict> {
    let services = context.block_on(async {
        let desk = context.desk().await?;
        let services = desk.admin.list_services().await?;
        desk.close().await;
        Ok(services)
    })?;
    if context.output.json {
        context.output.json(&services.iter().map(admin::service_json).collect::<Vec<_>>())?;
        return Ok(Verdict::Done);
    }
    if services.is_empty() {
        let apply = context.invocation.command("services apply -f services.yaml");
        context.output.talk(format!("no services yet: {apply}"));
        return Ok(Verdict::Done);
    }
    let mut table = Table::new([Column::left("SERVICE"), Column::left("KIND"), Column::left("UPSTREAM")]);
    for service in &services {
        table.row([service.name.to_string(), kind(service).to_owned(), upstream(service)]);
    }
    for line in table.lines(&context.output.stdout) {
        context.output.answer(line)?;
    }
    Ok(Verdict::Done)
}

fn show(context: &Context, name: &str) -> anyhow::Result<Verdict> {
    let (service, credentials) = context.block_on(async {
        let desk = context.desk().await?;
        let service = desk.admin.show_service(name).await?;
        let credentials = desk.admin.list_credentials(name).await?;
        desk.close().await;
        Ok((service, credentials))
    })?;
    let mut json = admin::service_json(&service);
    if let Some(members) = json.as_object_mut() {
        members.insert("credentials".to_owned(), credentials.iter().map(admin::credential_json).collect());
    }
    if context.output.json {
        context.output.json(&json)?;
        return Ok(Verdict::Done);
    }
    for (key, value) in json.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Array(words) if key == "command" => {
                words.iter().filter_map(Value::as_str).map(shell_quote).collect::<Vec<_>>().join(" ")
            }
            Value::Array(words) if words.is_empty() => "–".to_owned(),
            Value::Null => "–".to_owned(),
            Value::Array(credentials) if key == "credentials" => {
                credentials.iter().map(credential_text).collect::<Vec<_>>().join(", ")
            }
            Value::Object(members) if key == "documentation" => {
                members.get("bytes").and_then(Value::as_u64).map(size).unwrap_or_default()
            }
            Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        context.output.answer(format!("{key:<18}  {}", escape_foreign(&value)))?;
    }
    Ok(Verdict::Done)
}

/// `secret_key (bearer, version 2)`.
fn credential_text(credential: &Value) -> String {
    let text = |key: &str| credential.get(key).and_then(Value::as_str).unwrap_or_default();
    let version = match credential.get("version").and_then(Value::as_u64) {
        Some(version) => format!("version {version}"),
        None => "no value yet".to_owned(),
    };
    format!("{} ({}, {version})", text("name"), text("kind"))
}

fn remove(context: &Context, name: &ServiceName) -> anyhow::Result<Verdict> {
    let dropped = context.block_on(async {
        let desk = context.desk().await?;
        let dropped = desk.admin.remove_service(&context.actor(), context.now().wall, name, None).await?;
        desk.close().await;
        Ok(dropped)
    })?;
    if context.output.json {
        context.output.json(&json!({ "service": name, "changed": true, "dropped": dropped }))?;
        return Ok(Verdict::Done);
    }
    let text = format!("{name} removed; agents are refused within a second, its history stays");
    context.output.answer_marked(Mark::Done, text)?;
    for credential in dropped {
        context
            .output
            .answer_marked(Mark::Look, format!("{name}  credential `{credential}` dropped with it"))?;
    }
    Ok(Verdict::Done)
}

/// `mcp, stdio` or `mcp, http`.
fn kind(service: &Service) -> &'static str {
    match service.upstream {
        Upstream::Stdio(_) => "mcp, stdio",
        Upstream::Http(_) => "mcp, http",
        Upstream::Api(_) => "http",
    }
}

/// The command, to be pasted, or the address.
fn upstream(service: &Service) -> String {
    let text = match &service.upstream {
        Upstream::Stdio(stdio) => {
            stdio.command.iter().map(|word| shell_quote(word)).collect::<Vec<_>>().join(" ")
        }
        Upstream::Http(http) | Upstream::Api(ApiUpstream { http, .. }) => http.url.to_string(),
    };
    escape_foreign(&text).into_owned()
}

/// What to tell somebody whose credentials anybody on the way could read; nothing when nobody can.
pub fn travels_unencrypted(service: &Service) -> Option<String> {
    let http = service.upstream.http()?;
    let in_the_open = !http.url.is_tls() && http.network == Network::Public;
    let sent = |slot: &CredentialSlot| !matches!(slot.kind, CredentialKind::AwsSigv4 { .. });
    (in_the_open && service.credentials.iter().any(sent)).then(|| {
        format!(
            "{}  its credential would travel unencrypted (http://); use an https:// address",
            service.name
        )
    })
}
