//! Ways around Toolgate: entries in a client's file that reach a service's upstream directly.

use domain::service::{Service, Upstream};
use serde_json::Value;
use toml_edit::DocumentMut;

use super::clients::Client;

/// The names of entries in a client's file that start, or connect to, the upstream of one of `services`.
pub fn around(client: Client, file: &str, services: &[&Service]) -> Vec<String> {
    let entries = match client {
        Client::Codex => toml_entries(file),
        Client::Vscode => json_entries(file, "servers"),
        _ => json_entries(file, "mcpServers"),
    };
    let direct = |entry: &Entry| services.iter().any(|service| entry.reaches(&service.upstream));
    entries.into_iter().filter(direct).map(|entry| entry.name).collect()
}

/// One server of a client: what it starts, or where it connects.
#[derive(Debug)]
struct Entry {
    name: String,
    command: Vec<String>,
    url: Option<String>,
}

impl Entry {
    fn reaches(&self, upstream: &Upstream) -> bool {
        match upstream {
            Upstream::Stdio(stdio) => {
                let (ours, theirs) = (program(&stdio.command), program(&self.command));
                ours.is_some() && ours == theirs
            }
            Upstream::Api(_) => false,
            Upstream::Http(http) => {
                let plain = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
                self.url.as_deref().is_some_and(|url| plain(url) == plain(&http.url.to_string()))
            }
        }
    }
}

/// What a command really starts: the package behind `npx`, the module behind `python -m`, without a version.
fn program(command: &[String]) -> Option<String> {
    let (first, rest) = command.split_first()?;
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let launchers = [
        "npx", "bunx", "uvx", "pnpm", "npm", "yarn", "uv", "pipx", "node", "bun", "deno", "python",
        "python3", "docker",
    ];
    if !launchers.contains(&name(first).as_str()) {
        return Some(name(first));
    }
    let verbs = ["exec", "run", "dlx", "x", "tool"];
    let word = rest.iter().find(|word| !word.starts_with('-') && !verbs.contains(&word.as_str()))?;
    // `@scope/name@1.2.3` and `name@1.2.3` are the same program in another version.
    let unversioned = match word.rfind('@') {
        Some(at) if at > 0 => word.get(..at).unwrap_or(word),
        _ => word,
    };
    Some(unversioned.to_owned())
}

fn json_entries(file: &str, servers: &str) -> Vec<Entry> {
    let Ok(root) = serde_json::from_str::<Value>(file) else { return Vec::new() };
    let Some(members) = root.get(servers).and_then(Value::as_object) else { return Vec::new() };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    members
        .iter()
        .map(|(name, entry)| {
            let arguments = entry.get("args").and_then(Value::as_array).into_iter().flatten();
            let command = entry.get("command").into_iter().chain(arguments).filter_map(text).collect();
            Entry { name: name.clone(), command, url: entry.get("url").and_then(text) }
        })
        .collect()
}

fn toml_entries(file: &str) -> Vec<Entry> {
    let Ok(document) = file.parse::<DocumentMut>() else { return Vec::new() };
    let Some(servers) = document.get("mcp_servers").and_then(|servers| servers.as_table_like()) else {
        return Vec::new();
    };
    servers
        .iter()
        .filter_map(|(name, entry)| {
            let entry = entry.as_table_like()?;
            let text = |key: &str| entry.get(key)?.as_str().map(str::to_owned);
            let arguments = entry.get("args").and_then(|args| args.as_array()).into_iter().flatten();
            let arguments = arguments.filter_map(|argument| argument.as_str().map(str::to_owned));
            let command = text("command").into_iter().chain(arguments).collect();
            Some(Entry { name: name.to_owned(), command, url: text("url") })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str) -> Vec<String> {
        command.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_same_server_is_recognised_behind_launchers_and_versions() {
        let ours = program(&words("npx -y @modelcontextprotocol/server-filesystem /srv/data"));
        for same in [
            "/usr/bin/npx @modelcontextprotocol/server-filesystem@2026.1.0 /",
            "bunx --bun @modelcontextprotocol/server-filesystem",
            "pnpm dlx @modelcontextprotocol/server-filesystem /x",
        ] {
            assert_eq!(program(&words(same)), ours, "{same}");
        }
        for other in ["npx -y @modelcontextprotocol/server-memory", "mcp-server-time", "npx -y"] {
            assert_ne!(program(&words(other)), ours, "{other}");
        }
        assert_eq!(program(&words("/opt/bin/mcp-server-time --x")).as_deref(), Some("mcp-server-time"));
    }

    #[test]
    fn entries_are_read_from_both_formats() {
        let json = json_entries(
            r#"{"mcpServers":{"a":{"command":"npx","args":["-y","x"]},"b":{"url":"u"}}}"#,
            "mcpServers",
        );
        assert_eq!(json[0].command, ["npx", "-y", "x"]);
        assert_eq!(json[1].url.as_deref(), Some("u"));
        let toml = toml_entries("[mcp_servers.a]\ncommand = \"npx\"\nargs = [\"-y\", \"x\"]\n");
        assert_eq!(toml[0].command, ["npx", "-y", "x"]);
        assert!(json_entries("not json", "mcpServers").is_empty());
    }
}
