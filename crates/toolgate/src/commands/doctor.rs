//! `toolgate doctor`: what works, and what to do about the rest. It repairs nothing.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use domain::{
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
use store::Store;
use vault::KeyFileFault;

use super::{Context, Verdict, kill::in_words, read_trusted};
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
    note: String,
}

/// What was found.
struct Examined {
    findings: Vec<Finding>,
    services: Vec<Finding>,
    /// Whether the keys of issuers can be fetched; most installs have none.
    issuers: Vec<Finding>,
    /// The kill switch, while it is on.
    kill: Option<Kill>,
}

pub fn run(context: &Context) -> anyhow::Result<Verdict> {
    let settings = context.settings()?;
    let Examined { mut findings, services, issuers, kill } =
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
        tell(context, &findings, kill.as_ref())?;
    }
    Ok(if all_work { Verdict::Done } else { Verdict::No })
}

async fn examine(context: &Context, settings: &Settings) -> Examined {
    let store = context.store(settings).await;
    let (store_finding, services) = match &store {
        Ok(store) => (store_works(context, store).await, store.load_services().await.unwrap_or_default()),
        Err(error) => (finding("store", Err(error.to_string())), Vec::new()),
    };
    let vault = vault_works(context, settings, store.as_ref().ok()).await;
    let findings = vec![
        store_finding,
        finding("counters", counters_work(settings, store.as_ref().ok()).await),
        finding("vault", vault),
        finding("policy", policy_works(context, settings)),
    ];
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
    Examined { findings, services: knocked, issuers, kill }
}

fn finding(name: &str, result: Result<String, String>) -> Finding {
    let works = result.is_ok();
    Finding { name: name.to_owned(), works, note: result.unwrap_or_else(|note| note) }
}

/// Whether limits can be counted, and where.
async fn counters_work(settings: &Settings, store: Option<&Store>) -> Result<String, String> {
    let install = store.map(|store| *store.install()).unwrap_or_default();
    match wiring::counting_server(&settings.counters, install) {
        Ok(None) => Ok("memory".to_owned()),
        Ok(Some(server)) => match server.check().await {
            Ok(reach) => Ok(reach.server),
            Err(bad) => Err(format!("{bad} (counters.url): start the server, or correct the URL")),
        },
        Err(error) => Err(error.to_string()),
    }
}

async fn store_works(context: &Context, store: &Store) -> Finding {
    let result = store.check(&context.clock).await;
    let note = |check: store::Check| {
        let flush = milliseconds(check.flush.as_secs_f64() * 1000.0);
        format!("{}, schema {}, last flush {flush} ms", store.place().kind(), check.schema)
    };
    finding("store", result.map(note).map_err(|error| error.to_string()))
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
        None => Ok(()),
        Some(name) => {
            Err(format!("credential `{name}` has no value: toolgate credentials set {} {name}", service.name))
        }
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

fn tell(context: &Context, findings: &[Finding], kill: Option<&Kill>) -> anyhow::Result<()> {
    let output = &context.output;
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default().max(8);
    for finding in findings {
        let mark = if finding.works { Mark::Done } else { Mark::Failed };
        let note = context.invocation.adapt(&finding.note);
        output.answer_marked(mark, format!("{:<width$}   {note}", finding.name))?;
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
