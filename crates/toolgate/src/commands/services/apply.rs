//! `services apply`: makes the home's services what a file says, and tells what changed.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use admin::{Dropped, ServiceChange, WantedService, What, Why};
use anyhow::{Context as _, anyhow};
use domain::{
    policy::Policy,
    service::{ApiUpstream, Declared, Upstream, parse_declarations},
};
use pipeline::dial::check_anchors;
use serde_json::{Value, json};

use super::{
    super::{Context, Verdict, doctor::find_program, read_optional},
    kind, travels_unencrypted, upstream,
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
        .map(|declared| with_its_files(&name, &folder, declared))
        .collect::<anyhow::Result<Vec<WantedService>>>()?;
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
    if changes.is_empty() {
        context.output.talk(format!("no services in it ({name}), so nothing was changed"));
    }
    let width = changes.iter().map(|change| change.service.name.as_str().len()).max().unwrap_or_default();
    for change in &changes {
        let (mark, line) = line(change, width);
        context.output.answer_marked(mark, line)?;
    }
    let policy = context.policy();
    for change in &changes {
        for advice in advice(change, policy.as_ref()) {
            context.output.answer_marked(Mark::Look, context.invocation.adapt(&advice))?;
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

/// The service with what its files say: a trust anchor, documentation. They lie relative to the file that names them.
fn with_its_files(name: &str, folder: &Path, declared: Declared) -> anyhow::Result<WantedService> {
    let Declared { mut service, ca_path, documentation_path, line } = declared;
    let read = |key: &str, path: &str| {
        let path: PathBuf = folder.join(path);
        let at = format!("{}, `{key}` on line {line} of {name}", path.display());
        match read_optional(&path)? {
            Some(text) => Ok((at, text)),
            None => Err(anyhow!("there is no such file ({at}); check the path")),
        }
    };
    if let (Some(path), Upstream::Http(http) | Upstream::Api(ApiUpstream { http, .. })) =
        (ca_path, &mut service.upstream)
    {
        let (at, pem) = read("ca", &path)?;
        if check_anchors(&pem).is_err() {
            return Err(anyhow!("there is no certificate that can be read ({at}); give a PEM file"));
        }
        http.ca_pem = Some(pem);
    }
    let documentation = match documentation_path {
        None => None,
        Some(path) => {
            let (at, text) = read("documentation", &path)?;
            if text.trim().is_empty() {
                return Err(anyhow!("the documentation is empty ({at}); write some, or leave the key out"));
            }
            Some(text)
        }
    };
    Ok(WantedService { service, documentation })
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
fn advice(change: &ServiceChange, policy: Option<&Policy>) -> Vec<String> {
    let (service, name) = (&change.service, change.service.name.as_str());
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
    advice.extend(change.dropped.iter().map(|Dropped { name: credential, why }| {
        let why = match why {
            Why::OtherOrigin => "it belonged to the old address; set it again",
            Why::OtherKind => "it belonged to the old kind; set it again",
            Why::Undeclared => "the file does not name it any more",
        };
        format!("{name}  credential `{credential}` dropped, {why}")
    }));
    let never_set =
        change.missing.iter().filter(|name| !change.dropped.iter().any(|dropped| dropped.name == **name));
    advice.extend(never_set.map(|credential| {
        format!(
            "{name}  credential `{credential}` has no value yet: toolgate credentials set {name} {credential}"
        )
    }));
    advice.extend(travels_unencrypted(service));
    if policy.is_some_and(|policy| !policy.grants_anything_on(name)) {
        advice.push(format!(
            "{name}  no allow rule names it, only `admin` can call it; in policy.yaml, roles.user.allow:\n\
             {:15}{}",
            "",
            service.example_rule()
        ));
    }
    advice
}

fn change_json(change: &ServiceChange) -> Value {
    let mut json = admin::service_json(&change.service);
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
        let dropped = change.dropped.iter().map(|dropped| dropped.name.as_str());
        members.insert("dropped".to_owned(), json!(dropped.collect::<Vec<_>>()));
        members.insert("missing".to_owned(), json!(change.missing));
    }
    json
}

#[cfg(test)]
mod tests {
    use admin::Difference;
    use domain::{policy, service::Service};

    use super::*;

    fn services(text: &str) -> Vec<Service> {
        parse_declarations("services.yaml", text)
            .unwrap()
            .into_iter()
            .map(|declared| declared.service)
            .collect()
    }

    fn change(service: &Service, what: What) -> ServiceChange {
        ServiceChange { service: service.clone(), what, dropped: Vec::new(), missing: Vec::new() }
    }

    #[test]
    fn what_changed_reads_as_the_experience_has_it() {
        let services = services(
            "services:\n  - { name: files, kind: mcp, command: [npx, -y, server, /srv/data] }\n  \
             - { name: billing, kind: http, url: 'https://api.example.com' }\n",
        );
        let url = Difference { field: "url", from: "https://a".into(), to: "https://b".into() };
        let shown: Vec<String> = [
            change(&services[0], What::Added),
            change(&services[1], What::Added),
            change(&services[0], What::Same),
            change(&services[1], What::Changed(vec![url])),
        ]
        .iter()
        .map(|change| line(change, 7).1)
        .collect();
        assert_eq!(
            shown,
            [
                "files     mcp, stdio  npx -y server /srv/data",
                "billing   http        https://api.example.com",
                "files",
                "billing   url https://a → https://b"
            ]
        );
    }

    #[test]
    fn a_service_that_only_admin_can_call_is_told() {
        let services = services(
            "services:\n  - { name: notes, kind: mcp, url: 'https://n.example' }\n  \
             - { name: billing, kind: http, url: 'https://b.example' }\n",
        );
        let (policy, _) =
            policy::parse("policy.yaml", "version: 1\nroles:\n  user:\n    allow: []\n").unwrap();
        let told = |at: usize, policy: &Policy| advice(&change(&services[at], What::Same), Some(policy));
        assert_eq!(
            told(0, &policy),
            [
                "notes  no allow rule names it, only `admin` can call it; in policy.yaml, roles.user.allow:\n               \
              - { service: notes, tools: [\"read_*\", \"list_*\"] }"
            ]
        );
        assert!(told(1, &policy)[0].ends_with("- { service: billing, requests: [\"GET /**\"] }"));
        let text = "version: 1\nroles:\n  user:\n    allow:\n      - { service: notes, tools: ['*'] }\n";
        let (policy, _) = policy::parse("policy.yaml", text).unwrap();
        assert!(told(0, &policy).is_empty());
    }
}
