//! What each client's configuration looks like, and where it lies. Formats follow the clients' own
//! documentation as of November 2026. No key is ever part of it.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use domain::names::ServiceName;
use serde_json::{Map, Value, json};

use crate::output::shell_quote;

/// A program that can be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// Claude Code: `.mcp.json` of the project.
    ClaudeCode,
    /// Claude Desktop: speaks stdio, so it gets a bridge.
    ClaudeDesktop,
    /// Cursor: `.cursor/mcp.json` of the project.
    Cursor,
    /// VS Code: `.vscode/mcp.json` of the workspace.
    Vscode,
    /// Codex: `config.toml`.
    Codex,
    /// Variables for a shell.
    Env,
    /// Commands to try by hand.
    Curl,
}

/// An MCP endpoint of the gateway: one entry of a configuration.
#[derive(Debug)]
pub enum Endpoint {
    /// One service's.
    Of(ServiceName),
    /// That of all services in scope.
    All,
}

impl Endpoint {
    /// What the entry is called.
    fn name(&self) -> &str {
        match self {
            Self::Of(service) => service.as_str(),
            Self::All => "toolgate",
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Of(service) => format!("/mcp/{service}"),
            Self::All => "/mcp".to_owned(),
        }
    }
}

/// What a configuration is made from.
#[derive(Debug)]
pub struct Target<'a> {
    /// The gateway, without a slash at the end.
    pub gateway: &'a str,
    /// The MCP endpoints for the agent's scope.
    pub endpoints: &'a [Endpoint],
    /// The HTTP APIs in the agent's scope.
    pub apis: &'a [ServiceName],
    /// The whole path of this program, for clients that start it.
    pub program: &'a Path,
}

/// A configuration, in the form its client reads.
#[derive(Debug)]
pub enum Configuration {
    /// Members to merge into a JSON file: the servers below `servers`, and `inputs` for VS Code.
    Json {
        /// The member that holds the servers.
        servers: &'static str,
        /// The servers by name.
        entries: Map<String, Value>,
        /// Elements of the member `inputs`.
        inputs: Vec<Value>,
    },
    /// Tables `[mcp_servers.NAME]` of a TOML file: name and URL.
    Toml(Vec<(String, String)>),
    /// Lines for a shell.
    Shell(Vec<String>),
}

/// The placeholder where a client takes no variable: somebody must put the key there.
pub const PLACEHOLDER: &str = "agt_…";

impl Client {
    /// The configuration for `target`.
    pub fn configuration(self, target: &Target<'_>) -> Configuration {
        let url = |endpoint: &Endpoint| format!("{}{}", target.gateway, endpoint.path());
        let each = |entry: &dyn Fn(&Endpoint) -> Value| -> Map<String, Value> {
            target.endpoints.iter().map(|endpoint| (endpoint.name().to_owned(), entry(endpoint))).collect()
        };
        let headers = |key: &str| json!({ "Authorization": format!("Bearer {key}") });
        let servers = if self == Self::Vscode { "servers" } else { "mcpServers" };
        let (entries, inputs) = match self {
            Self::ClaudeCode => {
                let headers = headers("${TOOLGATE_KEY}");
                (each(&|at| json!({ "type": "http", "url": url(at), "headers": headers })), vec![])
            }
            Self::Cursor => {
                let headers = headers("${env:TOOLGATE_KEY}");
                (each(&|at| json!({ "url": url(at), "headers": headers })), vec![])
            }
            Self::Vscode => {
                let headers = headers("${input:TOOLGATE_KEY}");
                let input = json!({
                    "type": "promptString", "id": "TOOLGATE_KEY",
                    "description": "Key of the agent (agt_…)", "password": true
                });
                (each(&|at| json!({ "type": "http", "url": url(at), "headers": headers })), vec![input])
            }
            Self::ClaudeDesktop => (each(&|at| bridge(target, at)), vec![]),
            Self::Codex => {
                let tables = target.endpoints.iter().map(|at| (at.name().to_owned(), url(at)));
                return Configuration::Toml(tables.collect());
            }
            Self::Env => return Configuration::Shell(variables(target)),
            Self::Curl => {
                let mcp = target.endpoints.iter().map(|at| curl(&url(at)));
                return Configuration::Shell(
                    mcp.chain(target.apis.iter().map(|api| curl_api(target, api))).collect(),
                );
            }
        };
        Configuration::Json { servers, entries, inputs }
    }

    /// Whether it can call HTTP APIs too, not only MCP servers.
    pub fn takes_apis(self) -> bool {
        matches!(self, Self::Env | Self::Curl)
    }

    /// The client's file; `None` for those that have none. `variable` reads the environment.
    pub fn file(self, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        let user = || variable("HOME").map(PathBuf::from);
        match self {
            Self::ClaudeCode => Some(".mcp.json".into()),
            Self::Cursor => Some(".cursor/mcp.json".into()),
            Self::Vscode => Some(".vscode/mcp.json".into()),
            Self::Codex => {
                let folder = variable("CODEX_HOME").map(PathBuf::from);
                Some(folder.or_else(|| Some(user()?.join(".codex")))?.join("config.toml"))
            }
            Self::ClaudeDesktop => {
                let folder = if cfg!(target_os = "macos") {
                    user()?.join("Library/Application Support")
                } else {
                    variable("XDG_CONFIG_HOME")
                        .map(PathBuf::from)
                        .or_else(|| Some(user()?.join(".config")))?
                };
                Some(folder.join("Claude/claude_desktop_config.json"))
            }
            Self::Env | Self::Curl => None,
        }
    }

    /// Where the client takes the key from.
    pub fn key_hint(self) -> &'static str {
        match self {
            Self::ClaudeCode => "the client fills in ${TOOLGATE_KEY}",
            Self::Cursor => "the client fills in ${env:TOOLGATE_KEY}",
            Self::Vscode => "the client asks for the key once and keeps it",
            Self::Codex => "the client reads the key from TOOLGATE_KEY",
            Self::ClaudeDesktop => "the client passes no variables on: put the key in place of agt_… there",
            Self::Env | Self::Curl => "the key stays in TOOLGATE_KEY",
        }
    }
}

fn bridge(target: &Target<'_>, endpoint: &Endpoint) -> Value {
    let program = target.program.display().to_string();
    let mut arguments = vec!["bridge"];
    if let Endpoint::Of(service) = endpoint {
        arguments.push(service.as_str());
    }
    let mut entry = json!({ "command": program, "args": arguments });
    let mut variables = json!({ "TOOLGATE_KEY": PLACEHOLDER });
    if let Some(variables) = variables.as_object_mut() {
        variables.insert("TOOLGATE_URL".to_owned(), target.gateway.into());
    }
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("env".to_owned(), variables);
    }
    entry
}

fn variables(target: &Target<'_>) -> Vec<String> {
    let mut lines = vec![
        format!("export TOOLGATE_URL={}", shell_quote(target.gateway)),
        ": \"${TOOLGATE_KEY:?make a key: toolgate keys create}\"".to_owned(),
        "export TOOLGATE_KEY".to_owned(),
    ];
    lines.extend(target.endpoints.iter().map(|at| format!("# {}: $TOOLGATE_URL{}", at.name(), at.path())));
    lines.extend(target.apis.iter().map(|api| format!("# {api}: $TOOLGATE_URL/http/{api}/")));
    lines
}

/// The root of an HTTP API; its paths come behind it.
fn curl_api(target: &Target<'_>, api: &ServiceName) -> String {
    let url = shell_quote(&format!("{}/http/{api}/", target.gateway));
    format!("curl -sS {url} \\\n  -H \"Authorization: Bearer $TOOLGATE_KEY\"")
}

/// Says hello to a server in the version that most of them speak.
fn curl(url: &str) -> String {
    let hello = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "curl", "version": "1" }
        }
    });
    [
        format!("curl -sS {} \\", shell_quote(url)),
        "  -H \"Authorization: Bearer $TOOLGATE_KEY\" \\".to_owned(),
        "  -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \\"
            .to_owned(),
        format!("  -d {}", shell_quote(&hello.to_string())),
    ]
    .join("\n")
}

/// A JSON configuration as people read it: one server a few lines, nothing wider than it must be.
pub fn loose(servers: &str, entries: &Map<String, Value>, inputs: &[Value]) -> String {
    let mut text = String::from("{ ");
    if !inputs.is_empty() {
        let inputs: Vec<String> = inputs.iter().map(inline).collect();
        text.push_str(&format!("\"inputs\": [ {} ],\n  ", inputs.join(", ")));
    }
    let entries: Vec<String> = entries
        .iter()
        .map(|(name, entry)| format!("{}: {}", Value::from(name.as_str()), entry_lines(entry)))
        .collect();
    text.push_str(&format!("\"{servers}\": {{ {} }} }}", entries.join(",\n  ")));
    text
}

/// An entry on one line up to its first object, which begins the next.
fn entry_lines(entry: &Value) -> String {
    let Some(members) = entry.as_object() else { return inline(entry) };
    let mut text = String::from("{ ");
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            text.push_str(if value.is_object() { ",\n    " } else { ", " });
        }
        text.push_str(&format!("\"{name}\": {}", inline(value)));
    }
    text.push_str(" }");
    text
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}: {}", json!(name), inline(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(inline).collect();
            format!("[{}]", elements.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(client: Client, services: &[&str]) -> String {
        let one = |name: &&str| match *name {
            "" => Endpoint::All,
            name => Endpoint::Of(ServiceName::parse(name).unwrap()),
        };
        let endpoints: Vec<_> = services.iter().map(one).collect();
        let target = Target {
            gateway: "http://127.0.0.1:8484",
            endpoints: &endpoints,
            apis: &[],
            program: Path::new("/usr/local/bin/toolgate"),
        };
        match client.configuration(&target) {
            Configuration::Json { servers, entries, inputs } => loose(servers, &entries, &inputs),
            Configuration::Toml(tables) => super::super::merge::toml_text(&tables),
            Configuration::Shell(lines) => lines.join("\n"),
        }
    }

    #[test]
    fn each_client_gets_what_it_reads() {
        assert_eq!(
            shown(Client::ClaudeCode, &["files"]),
            r#"{ "mcpServers": { "files": { "type": "http", "url": "http://127.0.0.1:8484/mcp/files",
    "headers": { "Authorization": "Bearer ${TOOLGATE_KEY}" } } } }"#
        );
        assert_eq!(
            shown(Client::Cursor, &["files", "notes"]),
            r#"{ "mcpServers": { "files": { "url": "http://127.0.0.1:8484/mcp/files",
    "headers": { "Authorization": "Bearer ${env:TOOLGATE_KEY}" } },
  "notes": { "url": "http://127.0.0.1:8484/mcp/notes",
    "headers": { "Authorization": "Bearer ${env:TOOLGATE_KEY}" } } } }"#
        );
        assert_eq!(
            shown(Client::ClaudeDesktop, &["files"]),
            r#"{ "mcpServers": { "files": { "command": "/usr/local/bin/toolgate", "args": ["bridge", "files"],
    "env": { "TOOLGATE_KEY": "agt_…", "TOOLGATE_URL": "http://127.0.0.1:8484" } } } }"#
        );
        assert_eq!(
            shown(Client::Codex, &["files"]),
            "[mcp_servers.files]\nurl = \"http://127.0.0.1:8484/mcp/files\"\nbearer_token_env_var = \"TOOLGATE_KEY\""
        );
        assert_eq!(
            shown(Client::ClaudeDesktop, &[""]),
            r#"{ "mcpServers": { "toolgate": { "command": "/usr/local/bin/toolgate", "args": ["bridge"],
    "env": { "TOOLGATE_KEY": "agt_…", "TOOLGATE_URL": "http://127.0.0.1:8484" } } } }"#
        );
        assert!(shown(Client::Cursor, &[""]).contains(r#""url": "http://127.0.0.1:8484/mcp","#));
        assert!(shown(Client::Vscode, &["files"]).contains("Bearer ${input:TOOLGATE_KEY}"));
        assert!(shown(Client::Env, &["files"]).contains("export TOOLGATE_URL=http://127.0.0.1:8484\n"));
    }

    #[test]
    fn shells_get_http_apis_too() {
        let names = ["billing"].map(|name| ServiceName::parse(name).unwrap());
        let gateway = "http://127.0.0.1:8484";
        let target = Target { gateway, endpoints: &[], apis: &names, program: Path::new("toolgate") };
        let lines = |client: Client| match client.configuration(&target) {
            Configuration::Shell(lines) => lines,
            _ => panic!("no shell"),
        };
        assert_eq!(lines(Client::Env).last().unwrap(), "# billing: $TOOLGATE_URL/http/billing/");
        assert_eq!(
            lines(Client::Curl),
            ["curl -sS http://127.0.0.1:8484/http/billing/ \\\n  -H \"Authorization: Bearer $TOOLGATE_KEY\""]
        );
        for client in Client::value_variants() {
            assert_eq!(client.takes_apis(), matches!(client.configuration(&target), Configuration::Shell(_)));
        }
    }

    #[test]
    fn what_is_printed_for_json_clients_is_json() {
        for client in [Client::ClaudeCode, Client::ClaudeDesktop, Client::Cursor, Client::Vscode] {
            for services in [&[][..], &["files"], &["a", "b", "c"]] {
                let value: Value = serde_json::from_str(&shown(client, services)).unwrap();
                let servers = if client == Client::Vscode { "servers" } else { "mcpServers" };
                assert_eq!(value[servers].as_object().unwrap().len(), services.len());
            }
        }
    }
}
