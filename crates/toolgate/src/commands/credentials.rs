//! `toolgate credentials`: values of credentials go in, from a prompt or stdin, never from an argument; they never
//! come out again.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Read as _},
};

use admin::{AdminError, CredentialView, SetCredential};
use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use dialoguer::Password;
use domain::{
    credential::{
        BadKind, CredentialKind, CredentialSlot, KIND_WORDS, VALUE_BYTES_MAX, check_value, kind_of,
    },
    names::CredentialName,
};
use serde_json::json;
use vault::Secret;
use wire::mask::SECRET_BYTES_MIN;

use super::{Context, Verdict, services::travels_unencrypted};
use crate::output::{Column, Mark, Output, Table, day_and_time, escape_foreign};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/credentials_set.txt"))]
    Set(Box<Set>),
    #[command(override_help = include_str!("help/credentials_list.txt"))]
    List {
        #[arg(value_name = "SERVICE")]
        service: String,
    },
    #[command(override_help = include_str!("help/credentials_remove.txt"))]
    Remove {
        #[arg(value_name = "SERVICE")]
        service: String,
        #[arg(value_name = "NAME")]
        name: CredentialName,
    },
}

#[derive(Debug, Args)]
pub struct Set {
    #[arg(value_name = "SERVICE")]
    service: String,
    #[arg(value_name = "NAME")]
    name: CredentialName,
    #[arg(long, value_name = "K", value_parser = PossibleValuesParser::new(KIND_WORDS))]
    kind: Option<String>,
    #[arg(long, value_name = "U", requires = "kind")]
    username: Option<String>,
    #[arg(long, value_name = "H", requires = "kind")]
    header: Option<String>,
    #[arg(long, value_name = "F", requires = "kind")]
    format: Option<String>,
    #[arg(long, value_name = "P", requires = "kind")]
    parameter: Option<String>,
    #[arg(long, value_name = "URL", requires = "kind")]
    token_url: Option<String>,
    #[arg(long, value_name = "ID", requires = "kind")]
    client_id: Option<String>,
    #[arg(long, value_name = "S", requires = "kind")]
    scope: Option<String>,
    #[arg(long, value_name = "A", requires = "kind")]
    audience: Option<String>,
    #[arg(long, value_name = "W", requires = "kind")]
    client_auth: Option<String>,
    #[arg(long, value_name = "ID", requires = "kind")]
    access_key_id: Option<String>,
    #[arg(long, value_name = "R", requires = "kind")]
    region: Option<String>,
    #[arg(long, value_name = "S", requires = "kind")]
    aws_service: Option<String>,
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Set(options) => set(context, *options),
        Command::List { service } => list(context, &service),
        Command::Remove { service, name } => remove(context, &service, &name),
    }
}

fn set(context: &Context, options: Set) -> anyhow::Result<Verdict> {
    let kind = options.kind()?;
    let Set { service, name, .. } = options;
    // What cannot be set is told before anybody types a value.
    let slot = context.block_on(async {
        let desk = context.desk().await?;
        let slot = desk.admin.credential_slot(&service, &name, kind.clone()).await?;
        desk.vault().await?;
        desk.close().await;
        Ok(slot)
    })?;
    let value = value(&context.output, &service, &slot)?;
    let (set, service) = context.block_on(async {
        let desk = context.desk().await?;
        let vault = desk.vault().await?;
        let (actor, now) = (context.actor(), context.now().wall);
        let set = desk.admin.set_credential(&actor, now, &vault, (&service, &name), kind, &value).await?;
        let service = desk.admin.show_service(&service).await?;
        desk.close().await;
        Ok((set, service))
    })?;
    let SetCredential { slot, version, origin, declared, masked } = set;
    if context.output.json {
        context.output.json(&json!({
            "service": service.name, "name": slot.name, "kind": slot.kind.word(), "version": version,
            "origin": origin, "masked": masked
        }))?;
        return Ok(Verdict::Done);
    }
    let goes = goes_to(&slot.kind, &origin);
    context.output.answer_marked(
        Mark::Done,
        format!("{} {} ({}) sealed, version {version}; {goes}", service.name, slot.name, slot.kind.word()),
    )?;
    if !declared {
        let text = format!(
            "{}  `{}` is declared now; name it in services.yaml too, or the next apply drops it",
            service.name, slot.name
        );
        context.output.answer_marked(Mark::Look, text)?;
    }
    if !masked {
        let text = format!(
            "{}  `{}` is too short to be masked in what comes back (under {SECRET_BYTES_MIN} bytes); use a longer value",
            service.name, slot.name
        );
        context.output.answer_marked(Mark::Look, text)?;
    }
    if let Some(advice) = travels_unencrypted(&service) {
        context.output.answer_marked(Mark::Look, advice)?;
    }
    Ok(Verdict::Done)
}

/// The only places that a value of this kind is sent to.
fn goes_to(kind: &CredentialKind, origin: &str) -> String {
    let origin = escape_foreign(origin);
    match kind {
        CredentialKind::Env => "goes into the environment of its processes only".to_owned(),
        CredentialKind::Oauth2ClientCredentials(client) | CredentialKind::Oauth2RefreshToken(client) => {
            let endpoint = client.token_url.origin();
            format!("goes to {} only, its tokens to {origin}", escape_foreign(&endpoint))
        }
        CredentialKind::AwsSigv4 { .. } => format!("signs requests to {origin} only"),
        CredentialKind::ClientCertificate => format!("is shown to {origin} only"),
        _ => format!("goes to {origin} only"),
    }
}

impl Set {
    /// The kind that the options name; none when they name none.
    fn kind(&self) -> anyhow::Result<Option<CredentialKind>> {
        let Some(word) = &self.kind else { return Ok(None) };
        let given: BTreeMap<&'static str, String> = [
            ("username", &self.username),
            ("header", &self.header),
            ("format", &self.format),
            ("parameter", &self.parameter),
            ("token_url", &self.token_url),
            ("client_id", &self.client_id),
            ("scope", &self.scope),
            ("audience", &self.audience),
            ("client_auth", &self.client_auth),
            ("access_key_id", &self.access_key_id),
            ("region", &self.region),
            ("aws_service", &self.aws_service),
        ]
        .into_iter()
        .filter_map(|(parameter, value)| Some((parameter, value.clone()?)))
        .collect();
        let kind = kind_of(word, &given).map_err(|BadKind { parameter, what, advice }| {
            let option = format!("--{}", parameter.unwrap_or("kind").replace('_', "-"));
            anyhow!("{what} ({option}); {advice}")
        })?;
        Ok(Some(kind))
    }
}

/// The value: typed at a prompt that does not show it, else all of stdin without its last newline.
fn value(output: &Output, service: &str, slot: &CredentialSlot) -> anyhow::Result<Secret> {
    let (name, word) = (&slot.name, slot.kind.word());
    if !std::io::stdin().is_terminal() {
        let mut value = Secret::with_capacity(VALUE_BYTES_MAX + 3);
        std::io::stdin()
            .take(VALUE_BYTES_MAX as u64 + 3)
            .read_to_end(value.bytes_mut())
            .context("the value cannot be read; give it on stdin")?;
        value.drop_last_newline();
        check_value(&slot.kind, value.reveal())?;
        return Ok(value);
    }
    if slot.kind == CredentialKind::ClientCertificate || !output.can_ask() {
        bail!("the value of `{name}` must come on stdin: toolgate credentials set {service} {name} < FILE");
    }
    let kind = slot.kind.clone();
    let typed = Password::new()
        .with_prompt(format!("Value of {name} ({word}, not shown)"))
        .allow_empty_password(true)
        .validate_with(move |typed: &String| check_value(&kind, typed.as_bytes()))
        .interact()?;
    Ok(Secret::new(typed.into_bytes()))
}

fn list(context: &Context, service: &str) -> anyhow::Result<Verdict> {
    let views = context.block_on(async {
        let desk = context.desk().await?;
        let views = desk.admin.list_credentials(service).await?;
        desk.close().await;
        Ok(views)
    })?;
    if context.output.json {
        context.output.json(&views.iter().map(admin::credential_json).collect::<Vec<_>>())?;
        return Ok(Verdict::Done);
    }
    if views.is_empty() {
        context
            .output
            .talk(format!("no credentials; name them in services.yaml (`credentials` of {service})"));
        return Ok(Verdict::Done);
    }
    let mut table = Table::new([
        Column::left("CREDENTIAL"),
        Column::left("KIND"),
        Column::right("VERSION"),
        Column::left("SET (UTC)"),
    ]);
    for CredentialView { slot, value } in &views {
        let (version, set) = match value {
            Some(value) => (value.version.to_string(), day_and_time(value.set_at)),
            None => (String::new(), "no value yet".to_owned()),
        };
        table.row([slot.name.to_string(), slot.kind.word().to_owned(), version, set]);
    }
    for line in table.lines(&context.output.stdout) {
        context.output.answer(line)?;
    }
    Ok(Verdict::Done)
}

fn remove(context: &Context, service: &str, name: &CredentialName) -> anyhow::Result<Verdict> {
    context.block_on(async {
        let desk = context.desk().await?;
        let removed = desk.admin.remove_credential(&context.actor(), context.now().wall, service, name).await;
        desk.close().await;
        removed.map_err(|error| match error {
            // Whoever takes one away does not want to hear how to add it.
            AdminError::NoSuchCredential { service, name, near } => {
                let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                anyhow!("service `{service}` has no credential `{name}`; {near}all: toolgate credentials list {service}")
            }
            error => error.into(),
        })
    })?;
    if context.output.json {
        context.output.json(&json!({ "service": service, "name": name, "changed": true }))?;
    } else {
        let text = format!("{service} {name} dropped; {service} is not called until it is set again");
        context.output.answer_marked(Mark::Done, text)?;
    }
    Ok(Verdict::Done)
}
