//! `toolgate doctor`: what works, and what to do about the rest. It repairs nothing.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use counters::{Reach, Trouble};
use domain::{
    clock::Agreement,
    credential::CredentialKind,
    kill::Kill,
    names::CredentialName,
    policy,
    service::{ApiUpstream, Service, Upstream},
};
use pipeline::{
    dial::{self, DialError, Dialler},
    issuers::try_keys,
};
use serde_json::{Map, Value, json};
use store::{Check, Order, Query, Store, StoreError, StoredCredential};
use vault::KeyFileFault;

use super::{Context, Verdict, kill::in_words, read_trusted, servers};
use crate::{
    output::{Mark, count_of, escape_foreign, milliseconds},
    settings::{Issuer, Settings},
    unlock::{Unlocked, unlock},
    wiring::{self, issuers},
};

/// How long an upstream may take to answer a knock.
const KNOCK_MAX: Duration = Duration::from_secs(5);

/// How long an issuer may take to tell its keys.
const KEYS_MAX: Duration = Duration::from_secs(10);

/// One thing that was looked at: whether it works, and what is to be known or done.
struct Finding {
    name: String,
    works: bool,
    /// It works, and should be looked at all the same.
    look: bool,
    note: String,
}

/// What was found.
struct Examined {
    findings: Vec<Finding>,
    services: Vec<Finding>,
    /// Whether the keys of issuers can be fetched; most installs have none.
    issuers: Vec<Finding>,
    /// What weakens the install: ways on which others can listen, tables that others own.
    dangers: Vec<(&'static str, String)>,
    /// The kill switch, while it is on.
    kill: Option<Kill>,
}

pub fn run(context: &Context) -> anyhow::Result<Verdict> {
    let settings = context.settings()?;
    let Examined { mut findings, services, issuers, dangers, kill } =
        context.block_on(async { Ok(examine(context, &settings).await) })?;
    let all_work = findings.iter().chain(&services).chain(&issuers).all(|finding| finding.works);
    if context.output.json {
        let each = |findings: &[Finding]| -> Map<String, Value> {
            findings.iter().map(|finding| (finding.name.clone(), json!(finding.works))).collect()
        };
        let mut map = each(&findings);
        map.insert("services".to_owned(), Value::Object(each(&services)));
        if !issuers.is_empty() {
            map.insert("issuers".to_owned(), Value::Object(each(&issuers)));
        }
        context.output.json(&map)?;
    } else {
        findings.extend(services);
        findings.extend(issuers);
        tell(context, &findings, &dangers, kill.as_ref())?;
    }
    Ok(if all_work { Verdict::Done } else { Verdict::No })
}

async fn examine(context: &Context, settings: &Settings) -> Examined {
    let mut dangers: Vec<_> = servers::open_ways(settings).into_iter().map(|way| ("way", way)).collect();
    let mut clocks = Vec::new();
    let store = context.store(settings).await;
    let (store_finding, services) = match &store {
        Ok(store) => {
            let check = store.check(&context.clock).await;
            if let Ok(check) = &check {
                clocks.extend(check.clock.map(|apart| (check.kind, apart)));
                dangers.extend(check.other_owner.as_deref().map(|owner| {
                    let owner = escape_foreign(owner);
                    ("store", format!("its schema belongs to `{owner}`, who can change all that is in it"))
                }));
            }
            (store_works(check), store.load_services().await.unwrap_or_default())
        }
        Err(error) => (finding("store", Err(error.to_string())), Vec::new()),
    };
    let vault = vault_works(context, settings, store.as_ref().ok()).await;
    let reach = reach_of_counters(context, settings, store.as_ref().ok()).await;
    let counts = match &reach {
        Ok(Some(reach)) => {
            clocks.push((reach.kind(), reach.clock));
            Ok(counters_work(reach))
        }
        Ok(None) => Ok("memory".to_owned()),
        Err(trouble) => Err(trouble.clone()),
    };
    let mut findings = vec![
        store_finding,
        finding("counters", counts),
        finding("vault", vault),
        finding("policy", policy_works(context, settings)),
    ];
    if let Some((agreement, note)) = servers::clocks(&clocks) {
        let (works, look) = (agreement != Agreement::Disagree, agreement != Agreement::Agree);
        findings.push(Finding { name: "clocks".to_owned(), works, look, note });
    }
    let mut knocked = Vec::new();
    for stored in &services {
        let works = match values_are_set(store.as_ref().ok(), &stored.service).await {
            Ok(()) => service_works(&stored.service).await,
            Err(note) => Err(note),
        };
        knocked.push(finding(stored.service.name.as_str(), works));
    }
    let mut issuers = Vec::new();
    for issuer in &settings.gateway.issuers {
        issuers.push(finding(&issuer.terms.issuer, keys_are_there(issuer).await));
    }
    let mut kill = None;
    if let Ok(store) = store {
        // A store that cannot say so has its own finding.
        kill = store.kill().await.unwrap_or_default();
        store.close().await;
    }
    Examined { findings, services: knocked, issuers, dangers, kill }
}

fn finding(name: &str, result: Result<String, String>) -> Finding {
    let works = result.is_ok();
    Finding { name: name.to_owned(), works, look: false, note: result.unwrap_or_else(|note| note) }
}

/// The server that counts, if there is one and it can.
async fn reach_of_counters(
    context: &Context,
    settings: &Settings,
    store: Option<&Store>,
) -> Result<Option<Reach>, String> {
    let install = store.map(|store| *store.install()).unwrap_or_default();
    let server = wiring::counting_server(&settings.counters, install, true);
    let Some(server) = server.map_err(|error| error.to_string())? else { return Ok(None) };
    server.check(&context.clock).await.map(Some).map_err(|trouble| match &trouble {
        Trouble::Untrusted(why) => format!("{trouble} (counters.url): {}", why.next("counters")),
        Trouble::Other(_) => format!("{trouble} (counters.url): start the server, or correct the URL"),
    })
}

fn counters_work(reach: &Reach) -> String {
    let tls = if reach.tls { ", TLS" } else { "" };
    format!("{}{tls}", escape_foreign(&reach.server))
}

fn store_works(check: Result<Check, StoreError>) -> Finding {
    let note = |check: Check| {
        let flush = milliseconds(check.flush.as_secs_f64() * 1000.0);
        let tls = check.tls.map(|version| format!(", {}", escape_foreign(&version))).unwrap_or_default();
        format!("{}, schema {}{tls}, last flush {flush} ms", check.kind, check.schema)
    };
    finding("store", check.map(note).map_err(|error| error.to_string()))
}

async fn vault_works(
    context: &Context,
    settings: &Settings,
    store: Option<&Store>,
) -> Result<String, String> {
    let Some(store) = store else {
        return Err("its key ring is in the store, which does not open".to_owned());
    };
    let vault = match unlock(&settings.root_key, store, context.now().wall).await {
        Ok(Unlocked::Open(vault)) => vault,
        Ok(Unlocked::Sealed(why)) => return Err(why),
        Err(error) => {
            return Err(match error.downcast_ref() {
                Some(KeyFileFault::OthersCanRead { path, mode }) => format!(
                    "others can read {} (mode {mode:04o}): chmod 600 {}",
                    path.file_name().unwrap_or_default().to_string_lossy(),
                    context.invocation.path(path)
                ),
                _ => error.to_string(),
            });
        }
    };
    admin::open_pepper(store, &vault).await.map_err(|error| error.to_string())?;
    let ring = store.keyring().await.map_err(|error| error.to_string())?;
    if ring.iter().filter(|term| term.key.active).count() > 1 {
        let rotate = context.invocation.command("vault rotate");
        return Ok(format!("open, and a rotation was cut off: finish it with {rotate}"));
    }
    Ok(format!("open, term {}", vault.active_term()))
}

fn policy_works(context: &Context, settings: &Settings) -> Result<String, String> {
    let text = read_trusted(&settings.policy_file).map_err(|error| error.to_string())?;
    let check = context.invocation.command("policy check");
    let Some(text) = text else {
        let shown = context.invocation.path(&settings.policy_file);
        return Err(format!("there is no policy ({shown}): {}", context.invocation.command("init")));
    };
    match policy::parse("policy.yaml", &text) {
        Ok((policy, warnings)) if warnings.is_empty() => {
            Ok(format!("{}, no warnings", policy.hash().short()))
        }
        Ok((policy, warnings)) => {
            Ok(format!("{}, {}: {check}", policy.hash().short(), count_of(warnings.len(), "warning")))
        }
        Err(problems) => Err(format!("{}: {check}", count_of(problems.len(), "problem"))),
    }
}

/// A service with a credential that has no value is not called at all.
async fn values_are_set(store: Option<&Store>, service: &Service) -> Result<(), String> {
    let Some(store) = store else { return Ok(()) };
    let values = store.credentials(&service.name).await.map_err(|error| error.to_string())?;
    let has_value = |name: &CredentialName| values.iter().any(|value| value.has_value && value.name == *name);
    match service.credentials.iter().map(|slot| &slot.name).find(|name| !has_value(name)) {
        None => login_goes_on(store, service, &values).await,
        Some(name) => {
            Err(format!("credential `{name}` has no value: toolgate credentials set {} {name}", service.name))
        }
    }
}

/// Whether the last that the trail tells of a service's OAuth login is not that it has ended. A value that was stored since is
/// another one.
async fn login_goes_on(store: &Store, service: &Service, values: &[StoredCredential]) -> Result<(), String> {
    let is_login = |name: &CredentialName| {
        service
            .credentials
            .iter()
            .any(|slot| slot.name == *name && matches!(slot.kind, CredentialKind::Oauth2RefreshToken(_)))
    };
    let Some(login) = values.iter().filter(|value| is_login(&value.name)).max_by_key(|value| value.set_at)
    else {
        return Ok(());
    };
    let query = Query {
        service: Some(service.name.as_str().to_owned()),
        action: Some("credentials.ended".to_owned()),
        since: Some(login.set_at),
        order: Order::NewestFirst,
        limit: Some(1),
        ..Query::default()
    };
    match store.events(&query).await.map_err(|error| error.to_string())?.first() {
        None => Ok(()),
        Some(ended) => Err(format!(
            "the login of credential `{}` ended at {:.0}: log in anew, then: toolgate credentials set {} {}",
            login.name, ended.at, service.name, login.name
        )),
    }
}

async fn service_works(service: &Service) -> Result<String, String> {
    match &service.upstream {
        Upstream::Stdio(stdio) => {
            let program = stdio.command.first().map(String::as_str).unwrap_or_default();
            let shown = escape_foreign(program);
            match find_program(program) {
                Some(_) => Ok(format!("stdio, `{shown}` is there")),
                None => {
                    Err(format!("`{shown}` was not found: install it, or write its full path in `command`"))
                }
            }
        }
        Upstream::Http(http) | Upstream::Api(ApiUpstream { http, .. }) => {
            let (host, port) = (http.url.host(), http.url.port());
            match tokio::time::timeout(KNOCK_MAX, dial::dial(host, port, http.network)).await {
                Ok(Ok(_)) => Ok(format!("http, {}:{port} answers", escape_foreign(host))),
                // It says itself what to do.
                Ok(Err(error @ DialError::Forbidden { .. })) => {
                    Err(escape_foreign(&error.to_string()).into_owned())
                }
                Ok(Err(error)) => {
                    Err(format!("{}: check `url`, or the server itself", escape_foreign(&error.to_string())))
                }
                Err(_) => Err(format!(
                    "{} does not answer in 5 s: check `url`, or the server itself",
                    escape_foreign(host)
                )),
            }
        }
    }
}

async fn keys_are_there(issuer: &Issuer) -> Result<String, String> {
    let settings = issuers(std::slice::from_ref(issuer)).map_err(|error| error.to_string())?;
    let Some(settings) = settings.first() else { return Ok(String::new()) };
    match tokio::time::timeout(KEYS_MAX, try_keys(settings, &Dialler::new())).await {
        Ok(Ok(keys)) => Ok(format!("issuer, {}", count_of(keys, "key"))),
        Ok(Err(why)) => Err(format!("{}: check gateway.issuers, or the issuer", escape_foreign(&why))),
        Err(_) => Err("does not answer in 10 s: check gateway.issuers, or the issuer".to_owned()),
    }
}

fn tell(
    context: &Context,
    findings: &[Finding],
    dangers: &[(&str, String)],
    kill: Option<&Kill>,
) -> anyhow::Result<()> {
    let output = &context.output;
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default().max(8);
    for finding in findings {
        let mark = match (finding.works, finding.look) {
            (true, false) => Mark::Done,
            (true, true) => Mark::Look,
            (false, _) => Mark::Failed,
        };
        let note = context.invocation.adapt(&finding.note);
        output.answer_marked(mark, format!("{:<width$}   {note}", finding.name))?;
    }
    for (name, note) in dangers {
        output.answer_marked(Mark::Look, format!("{name:<width$}   {note}"))?;
    }
    if let Some(kill) = kill {
        let note = format!(
            "{}; nothing is forwarded until: {}",
            in_words(kill),
            context.invocation.command("kill off")
        );
        output.answer_marked(Mark::Look, format!("{:<width$}   {note}", "kill"))?;
    }
    if let Some(user) = context.home.login_owner() {
        let note =
            format!("belongs to `{user}`; agents that run as `{user}` can read it: docs/operations.md");
        output.answer_marked(Mark::Look, format!("{:<width$}   {note}", "home"))?;
    }
    let failed = findings.iter().filter(|finding| !finding.works).count();
    match failed {
        0 => output.answer(format!("all {} work", findings.len()))?,
        failed => output.answer(format!("{failed} of {} not working", findings.len()))?,
    }
    Ok(())
}

/// Where a program is: a path as it stands, a name along `$PATH`; `None` when it cannot be run.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let runs =
        |path: &Path| path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| runs(path));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| runs(path))
}
