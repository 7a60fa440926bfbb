//! `services apply`: makes the home's services what a file says, and tells what changed.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use admin::{ServiceChange, What};
use anyhow::{Context as _, anyhow};
use domain::{
    policy::Policy,
    service::{Declared, Service, Upstream, parse_declarations},
};
use serde_json::{Value, json};

use super::{
    super::{Context, Verdict, doctor::find_program, read_optional},
    as_json, kind, upstream,
};
use crate::{
    output::{Mark, escape_foreign},
    settings::Faults,
};

pub fn apply(context: &Context, file: &Path) -> anyhow::Result<Verdict> {
    let (name, text) = read(file)?;
    let declared = parse_declarations(&name, &text).map_err(Faults::File)?;
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    let services = declared
        .into_iter()
        .map(|declared| with_anchor(&name, &folder, declared))
        .collect::<anyhow::Result<Vec<Service>>>()?;
    let changes = context.block_on(async {
        let desk = context.desk().await?;
        let changes = desk.admin.apply_services(&context.actor(), context.now().wall, services).await?;
        desk.close().await;
        Ok(changes)
    })?;
    if context.output.json {
        context.output.json(&changes.iter().map(change_json).collect::<Vec<_>>())?;
        return Ok(Verdict::Done);
    }
    let width = changes.iter().map(|change| change.service.name.as_str().len()).max().unwrap_or_default();
    for change in &changes {
        let (mark, line) = line(change, width);
        context.output.answer_marked(mark, line)?;
    }
    let policy = context.policy();
    for change in &changes {
        for advice in advice(&change.service, policy.as_ref()) {
            context.output.answer_marked(Mark::Look, advice)?;
        }
    }
    Ok(Verdict::Done)
}

/// The file's name in messages, and its text; `-` is stdin.
fn read(file: &Path) -> anyhow::Result<(String, String)> {
    let name = file.display().to_string();
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .take(1024 * 1024 + 1)
            .read_to_string(&mut text)
            .context("stdin is not UTF-8 text (-f -)")?;
        return Ok(("stdin".to_owned(), text));
    }
    match read_optional(file)? {
        Some(text) => Ok((name, text)),
        None => Err(anyhow!("there is no such file ({name}); name a services.yaml with -f")),
    }
}

/// The service with the trust anchor that its file names, which lies relative to that file.
fn with_anchor(name: &str, folder: &Path, declared: Declared) -> anyhow::Result<Service> {
    let Declared { mut service, ca_path, line } = declared;
    if let (Some(ca_path), Upstream::Http(http)) = (ca_path, &mut service.upstream) {
        let path: PathBuf = folder.join(ca_path);
        let shown = path.display();
        let pem = read_optional(&path)?.ok_or_else(|| {
            anyhow!("there is no such file ({shown}, `ca` on line {line} of {name}); check the path")
        })?;
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(anyhow!(
                "there is no certificate ({shown}, `ca` on line {line} of {name}); it must be PEM"
            ));
        }
        http.ca_pem = Some(pem);
    }
    Ok(service)
}

fn line(change: &ServiceChange, width: usize) -> (Mark, String) {
    let service = &change.service;
    let name = service.name.as_str();
    match &change.what {
        What::Added => {
            (Mark::Added, format!("{name:<width$}   {:<10}  {}", kind(service), upstream(service)))
        }
        What::Changed(differences) => {
            let parts: Vec<String> = differences
                .iter()
                .map(|it| format!("{} {} → {}", it.field, escape_foreign(&it.from), escape_foreign(&it.to)))
                .collect();
            (Mark::Changed, format!("{name:<width$}   {}", parts.join(", ")))
        }
        What::Same => (Mark::Same, name.to_owned()),
    }
}

/// What somebody who applies a service should know about it.
fn advice(service: &Service, policy: Option<&Policy>) -> Vec<String> {
    let name = service.name.as_str();
    let mut advice = Vec::new();
    if let Upstream::Stdio(stdio) = &service.upstream
        && let Some(program) = stdio.command.first()
        && find_program(program).is_none()
    {
        advice.push(format!(
            "{name}  `{}` was not found; install it, or write its full path",
            escape_foreign(program)
        ));
    }
    if policy.is_some_and(|policy| !policy.grants_anything_on(name)) {
        advice.push(format!(
            "{name}  no allow rule names it, only `admin` can call it; in policy.yaml, roles.user.allow:\n\
             {:15}- {{ service: {name}, tools: [\"read_*\", \"list_*\"] }}",
            ""
        ));
    }
    advice
}

fn change_json(change: &ServiceChange) -> Value {
    let mut json = as_json(&change.service);
    let (word, differences) = match &change.what {
        What::Added => ("added", Vec::new()),
        What::Changed(differences) => {
            let each = |it: &admin::Difference| json!({ "field": it.field, "from": it.from, "to": it.to });
            ("changed", differences.iter().map(each).collect())
        }
        What::Same => ("same", Vec::new()),
    };
    if let Some(members) = json.as_object_mut() {
        members.insert("change".to_owned(), json!(word));
        members.insert("differences".to_owned(), json!(differences));
    }
    json
}

#[cfg(test)]
mod tests {
    use admin::Difference;
    use domain::policy;

    use super::*;

    fn services(text: &str) -> Vec<Service> {
        parse_declarations("services.yaml", text)
            .unwrap()
            .into_iter()
            .map(|declared| declared.service)
            .collect()
    }

    #[test]
    fn what_changed_reads_as_the_experience_has_it() {
        let services = services(
            "services:\n  - { name: files, kind: mcp, command: [npx, -y, server, /srv/data] }\n  \
             - { name: billing, kind: mcp, url: 'https://api.example.com' }\n",
        );
        let change = |at: usize, what: What| ServiceChange { service: services[at].clone(), what };
        let url = Difference { field: "url", from: "https://a/".into(), to: "https://b/".into() };
        let shown: Vec<String> = [
            change(0, What::Added),
            change(1, What::Added),
            change(0, What::Same),
            change(1, What::Changed(vec![url])),
        ]
        .iter()
        .map(|change| line(change, 7).1)
        .collect();
        assert_eq!(
            shown,
            [
                "files     mcp, stdio  npx -y server /srv/data",
                "billing   mcp, http   https://api.example.com/",
                "files",
                "billing   url https://a/ → https://b/"
            ]
        );
    }

    #[test]
    fn a_service_that_only_admin_can_call_is_told() {
        let services = services("services:\n  - { name: notes, kind: mcp, url: 'https://n.example' }\n");
        let (policy, _) =
            policy::parse("policy.yaml", "version: 1\nroles:\n  user:\n    allow: []\n").unwrap();
        assert_eq!(
            advice(&services[0], Some(&policy)),
            [
                "notes  no allow rule names it, only `admin` can call it; in policy.yaml, roles.user.allow:\n               \
              - { service: notes, tools: [\"read_*\", \"list_*\"] }"
            ]
        );
        let text = "version: 1\nroles:\n  user:\n    allow:\n      - { service: notes, tools: ['*'] }\n";
        let (policy, _) = policy::parse("policy.yaml", text).unwrap();
        assert!(advice(&services[0], Some(&policy)).is_empty());
    }
}
