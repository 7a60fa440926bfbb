//! `toolgate init`: makes a home. What exists is left as it is, so it can be run again at any time.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use dialoguer::Input;
use domain::operator::{Email, OperatorRole};
use serde_json::{Value, json};
use store::{Birth, Place};
use vault::{KeyFileFault, RootKey};
use zeroize::Zeroizing;

use super::{Context, Verdict, context::Desk, operators::new_password};
use crate::{
    output::{Mark, Style},
    settings::RootKeySource,
};

#[derive(Debug, Args)]
pub struct Options {
    #[arg(long, value_name = "E", value_parser = Email::parse)]
    email: Option<Email>,
    #[arg(long, requires = "email")]
    password_stdin: bool,
}

const SETTINGS: &str = include_str!("../../assets/toolgate.yaml");
const POLICY: &str = include_str!("../../assets/policy.yaml");

/// What became of one part of the home.
struct Part {
    name: String,
    made: bool,
    /// What a new one is; an old one is left as it is.
    note: &'static str,
}

pub fn run(context: &Context, options: &Options) -> anyhow::Result<Verdict> {
    make_folder(context)?;
    // Settings that are there decide where the rest goes.
    let settings = context.settings()?;
    let had_store = context.block_on(context.has_store(&settings))?;
    let password = operator_password(context, options, had_store)?;
    let settings_made = write_new(&context.home.settings_file(), SETTINGS)?;
    let mut parts = vec![Part {
        name: "toolgate.yaml".into(),
        made: settings_made,
        note: "settings, all at their defaults",
    }];
    parts.push(Part {
        name: file_name(&settings.policy_file),
        made: write_new(&settings.policy_file, POLICY)?,
        note: "starter: `user`, `readonly` may read from `files`; deletes denied; else no",
    });
    let key_made = match &settings.root_key {
        RootKeySource::File(path) => Some((path, make_vault_key(context, path, had_store)?)),
        RootKeySource::Variable(_) | RootKeySource::Passphrase(_) => None,
    };
    parts.push(Part { name: store_name(&settings.store), made: !had_store, note: "store" });
    if let Some((path, made)) = key_made {
        parts.push(Part {
            name: file_name(path),
            made,
            note: "keep a copy elsewhere: without it no stored credential can be opened again",
        });
    }
    let operator = context.block_on(async {
        let birth = Birth { install: vault::random::bytes(), now: context.now().wall };
        let desk = Desk::over(context.open_store(&settings, Some(birth)).await?, &settings);
        // Made now, so that a home whose vault key is lost shows it before the first key is made.
        desk.pepper().await?;
        let operator = add_operator(context, &desk, password).await?;
        desk.close().await;
        Ok(operator)
    })?;
    tell(context, &parts, &operator)?;
    Ok(Verdict::Done)
}

/// The first operator, and the password they chose; nobody when nobody was named and nobody can be asked.
fn operator_password(
    context: &Context,
    options: &Options,
    had_store: bool,
) -> anyhow::Result<Option<(Email, Zeroizing<String>)>> {
    let email = match &options.email {
        Some(email) => email.clone(),
        // A home that has a store has been asked before.
        None if !context.output.can_ask() || had_store => return Ok(None),
        None => {
            let typed: String = Input::new()
                .with_prompt("E-mail of the first operator")
                .allow_empty(true)
                .validate_with(|typed: &String| match typed.is_empty() || Email::parse(typed).is_ok() {
                    true => Ok(()),
                    false => Err("this is no e-mail address; nothing means: no operator yet"),
                })
                .interact_text()?;
            match Email::parse(&typed) {
                Ok(email) => email,
                Err(_) => return Ok(None),
            }
        }
    };
    let password = new_password(&context.output, options.password_stdin)?;
    if let Err(wrong) = admin::check_password(&password) {
        bail!(wrong);
    }
    Ok(Some((email, password)))
}

/// How the first operator stands: made now, there before, or nobody.
enum FirstOperator {
    Made(Email),
    Exists(Email),
    Nobody,
}

async fn add_operator(
    context: &Context,
    desk: &Desk,
    wanted: Option<(Email, Zeroizing<String>)>,
) -> anyhow::Result<FirstOperator> {
    let Some((email, password)) = wanted else {
        let known = desk.admin.list_operators().await?;
        return Ok(known
            .into_iter()
            .next()
            .map_or(FirstOperator::Nobody, |operator| FirstOperator::Exists(operator.email)));
    };
    let (actor, now) = (context.actor(), context.now().wall);
    match desk.admin.create_operator(&actor, now, email.clone(), OperatorRole::Owner, &password).await {
        Ok(()) => Ok(FirstOperator::Made(email)),
        Err(admin::AdminError::OperatorExists(email)) => Ok(FirstOperator::Exists(email)),
        Err(error) => Err(error.into()),
    }
}

fn tell(context: &Context, parts: &[Part], operator: &FirstOperator) -> anyhow::Result<()> {
    let output = &context.output;
    if output.json {
        let files: Vec<Value> =
            parts.iter().map(|part| json!({ "file": part.name, "made": part.made })).collect();
        let email = match operator {
            FirstOperator::Made(email) | FirstOperator::Exists(email) => Some(email.as_str()),
            FirstOperator::Nobody => None,
        };
        output.json(&json!({ "home": context.home.path(), "files": files, "operator": email }))?;
        return Ok(());
    }
    let line = |name: &str, text: &str| format!("{name:<13}   {text}");
    for part in parts {
        match part.made {
            true => output.answer_marked(Mark::Done, line(&part.name, part.note))?,
            false => output.answer_marked(Mark::Same, line(&part.name, "exists, left as it is"))?,
        }
    }
    match operator {
        FirstOperator::Made(email) => {
            output.answer_marked(Mark::Done, line("operator", &format!("{email} (owner)")))?
        }
        FirstOperator::Exists(email) => {
            output.answer_marked(Mark::Same, line("operator", &format!("{email} exists, left as it is")))?;
        }
        FirstOperator::Nobody => {
            let later = context.invocation.command("operators create E --role owner");
            output.answer_marked(Mark::Look, line("operator", &format!("none; later: {later}")))?;
        }
    }
    let home = context.invocation.path(context.home.path());
    let next = context.invocation.command("services apply -f examples/files/services.yaml");
    output.answer(format!("Home {} is ready. Next: {next}", output.stdout.paint(Style::Bold, home)))?;
    Ok(())
}

/// The folder, for its owner alone. One that is there keeps its mode.
fn make_folder(context: &Context) -> anyhow::Result<()> {
    let path = context.home.path();
    if path.exists() {
        return context.check_writable();
    }
    let shown = context.invocation.path(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("the home cannot be made ({shown}); make it by hand, or use --home"))
}

/// Writes a file unless there is one; whether it did.
fn write_new(path: &Path, text: &str) -> anyhow::Result<bool> {
    use std::io::ErrorKind::{AlreadyExists, IsADirectory};
    let failed = || format!("a file cannot be written ({}); check its folder", path.display());
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(failed)?;
            Ok(true)
        }
        Err(error) if matches!(error.kind(), AlreadyExists | IsADirectory) => Ok(false),
        Err(error) => Err(error).with_context(failed),
    }
}

/// Makes the vault's key; whether it did. A store whose key is gone gets no other one: nothing in it would open.
fn make_vault_key(context: &Context, path: &Path, had_store: bool) -> anyhow::Result<bool> {
    if had_store && !fs::exists(path).unwrap_or(true) {
        return Err(anyhow!(
            "this home has a store, and its vault key is gone ({}); bring back the copy of it",
            context.invocation.path(path)
        ));
    }
    match RootKey::create(path) {
        Ok(_) => Ok(true),
        Err(KeyFileFault::Exists { .. }) => RootKey::load(path).map(|_| false).map_err(Into::into),
        Err(fault) => Err(fault.into()),
    }
}

fn store_name(store: &Place) -> String {
    match store {
        Place::File(path) => file_name(path),
        Place::Server(url) => url.to_string(),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
