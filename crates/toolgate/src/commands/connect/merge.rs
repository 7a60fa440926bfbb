//! Merging servers into a client's own file: what is there stays, a backup is kept beside it, and the new
//! file takes the old one's place in one step.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use domain::clock::Now;
use serde_json::{Map, Value, json};
use toml_edit::{DocumentMut, Item, Table, value};

use super::clients::Configuration;
use crate::commands::context::read_optional;

/// What a merge did.
#[derive(Debug, PartialEq, Eq)]
pub enum Merged {
    /// The file says this already.
    Same,
    /// Written; where the backup is, when there was a file before.
    Written(Option<PathBuf>),
}

/// Merges a configuration into `file`.
///
/// # Errors
/// When the file is not what its client reads, or cannot be written.
pub fn merge(configuration: &Configuration, file: &Path, now: Now) -> anyhow::Result<Merged> {
    // A link stays a link: what it points at is replaced.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let old = read_optional(file)?;
    let before = old.as_deref().unwrap_or_default();
    let new = match configuration {
        Configuration::Json { servers, entries, inputs } => {
            json_text(before, servers, entries, inputs).map_err(|why| not_readable(file, "JSON", &why))?
        }
        Configuration::Toml(tables) => {
            toml_merged(before, tables).map_err(|why| not_readable(file, "TOML", &why))?
        }
        Configuration::Shell(_) => bail!("this client has no file of its own (--write); leave --write out"),
    };
    match old {
        Some(old) if old == new => Ok(Merged::Same),
        old => {
            let backup = old.is_some().then(|| backup_of(file, now));
            if let Some(backup) = &backup {
                fs::copy(file, backup).with_context(|| not_writable(backup))?;
            }
            replace(file, &new).with_context(|| not_writable(file))?;
            Ok(Merged::Written(backup))
        }
    }
}

/// A parser's own words may have a line of the file in them, and with it a key: only ours are shown.
fn not_readable(file: &Path, format: &str, why: &anyhow::Error) -> anyhow::Error {
    let what = match why.downcast_ref::<OtherShape>() {
        Some(shape) => shape.to_string(),
        None => format!("a client's file is not plain {format}"),
    };
    anyhow!("{what} ({}); merge by hand: without --write it is printed", file.display())
}

/// The file can be read, and has something else where the servers belong.
#[derive(Debug, thiserror::Error)]
#[error("{0} of a client's file is not {1}")]
struct OtherShape(String, &'static str);

fn not_writable(file: &Path) -> String {
    format!("a client's file cannot be written ({}); check its owner and mode", file.display())
}

fn backup_of(file: &Path, now: Now) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(now.wall.strftime(".%Y%m%d-%H%M%S.bak").to_string());
    name.into()
}

fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut written = fs::File::create(&new)?;
    if let Ok(old) = fs::metadata(file) {
        written.set_permissions(old.permissions())?;
    }
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&new, file)
}

/// The file's JSON with the servers in it. Members keep their order.
fn json_text(
    before: &str,
    servers: &str,
    entries: &Map<String, Value>,
    inputs: &[Value],
) -> anyhow::Result<String> {
    let mut root = if before.trim().is_empty() { json!({}) } else { serde_json::from_str(before)? };
    let root_members = root.as_object_mut().ok_or_else(|| OtherShape("the whole".to_owned(), "an object"))?;
    if !inputs.is_empty() {
        let known = root_members.entry("inputs").or_insert_with(|| json!([]));
        let known = known.as_array_mut().ok_or_else(|| OtherShape("`inputs`".to_owned(), "a list"))?;
        for input in inputs {
            known.retain(|other| other.get("id") != input.get("id"));
            known.push(input.clone());
        }
    }
    let below = root_members.entry(servers).or_insert_with(|| json!({}));
    let below = below.as_object_mut().ok_or_else(|| OtherShape(format!("`{servers}`"), "an object"))?;
    for (name, entry) in entries {
        below.insert(name.clone(), kept_key(below.get(name), entry));
    }
    Ok(serde_json::to_string_pretty(&root)? + "\n")
}

/// A bridge entry whose placeholder somebody has replaced by a key keeps that key.
fn kept_key(old: Option<&Value>, new: &Value) -> Value {
    let mut entry = new.clone();
    let key = old.and_then(|old| old.pointer("/env/TOOLGATE_KEY")).filter(|key| key.is_string());
    if let (Some(key), Some(place)) = (key, entry.pointer_mut("/env/TOOLGATE_KEY")) {
        *place = key.clone();
    }
    entry
}

/// Tables for Codex, as they are printed.
pub fn toml_text(tables: &[(String, String)]) -> String {
    toml_merged("", tables).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

fn toml_merged(before: &str, tables: &[(String, String)]) -> anyhow::Result<String> {
    let mut document: DocumentMut = before.parse()?;
    let mut parent = Table::new();
    parent.set_implicit(true);
    let servers = document.entry("mcp_servers").or_insert(Item::Table(parent));
    let servers = servers.as_table_mut().ok_or_else(|| OtherShape("`mcp_servers`".to_owned(), "a table"))?;
    for (name, url) in tables {
        let mut table = Table::new();
        table.insert("url", value(url));
        table.insert("bearer_token_env_var", value("TOOLGATE_KEY"));
        let same = servers.get(name).and_then(Item::as_table).is_some_and(|old| {
            old.len() == table.len()
                && table.iter().all(|(key, item)| text_of(old.get(key)) == text_of(Some(item)))
        });
        if !same {
            servers.insert(name, Item::Table(table));
        }
    }
    Ok(document.to_string())
}

fn text_of(item: Option<&Item>) -> Option<&str> {
    item?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Now {
        Now { wall: "2026-11-23T14:02:31Z".parse().unwrap(), monotonic: std::time::Duration::ZERO }
    }

    fn json_configuration(name: &str) -> Configuration {
        let mut entries = Map::new();
        entries.insert(name.to_owned(), json!({ "url": "http://x/mcp/files" }));
        Configuration::Json { servers: "mcpServers", entries, inputs: vec![] }
    }

    #[test]
    fn what_was_there_stays_and_a_backup_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".mcp.json");
        let before = r#"{"other":1,"mcpServers":{"mine":{"command":"x"},"files":{"command":"npx"}}}"#;
        fs::write(&file, before).unwrap();
        let Merged::Written(Some(backup)) = merge(&json_configuration("files"), &file, now()).unwrap() else {
            panic!("there was a file before")
        };
        assert_eq!(fs::read_to_string(backup).unwrap(), before);
        let after: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(
            after,
            json!({ "other": 1, "mcpServers": { "mine": { "command": "x" }, "files": { "url": "http://x/mcp/files" } } })
        );
        assert_eq!(merge(&json_configuration("files"), &file, now()).unwrap(), Merged::Same);
    }

    #[test]
    fn a_new_file_needs_no_backup_and_gets_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".cursor/mcp.json");
        assert_eq!(merge(&json_configuration("files"), &file, now()).unwrap(), Merged::Written(None));
        assert!(file.is_file());
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mcp.json");
        for before in ["{ // comment\n}", "[1]", "{\"mcpServers\":[]}"] {
            fs::write(&file, before).unwrap();
            let error = merge(&json_configuration("files"), &file, now()).unwrap_err();
            assert!(error.to_string().contains("merge by hand"), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), before);
        }
    }

    #[test]
    fn toml_keeps_comments_and_other_tables() {
        let before = "# mine\nmodel = \"x\"\n\n[mcp_servers.other]\ncommand = \"y\" # why\n";
        let tables = [("files".to_owned(), "http://x/mcp/files".to_owned())];
        let after = toml_merged(before, &tables).unwrap();
        assert!(after.starts_with(before), "{after}");
        assert!(after.contains(
            "[mcp_servers.files]\nurl = \"http://x/mcp/files\"\nbearer_token_env_var = \"TOOLGATE_KEY\"\n"
        ));
        assert_eq!(toml_merged(&after, &tables).unwrap(), after, "merging twice changes nothing");
    }

    #[test]
    fn a_key_that_somebody_put_into_a_bridge_entry_stays() {
        let old = json!({ "command": "old", "env": { "TOOLGATE_KEY": "agt_real" } });
        let new = json!({ "command": "new", "env": { "TOOLGATE_KEY": "agt_…", "TOOLGATE_URL": "u" } });
        assert_eq!(
            kept_key(Some(&old), &new),
            json!({ "command": "new", "env": { "TOOLGATE_KEY": "agt_real", "TOOLGATE_URL": "u" } })
        );
    }
}
