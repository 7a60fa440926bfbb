//! An MCP server over stdio that counts: a script in a temporary folder, which writes down every line it gets.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use tempfile::TempDir;

/// The server's script and its log.
pub struct ChildServer {
    folder: TempDir,
    options: &'static str,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The process that wrote it.
    pub pid: i32,
    /// `start`, `in`, `eof`, `grandchild`, `hanging`.
    pub kind: String,
    /// What it says.
    pub text: String,
}

impl ChildServer {
    /// A well-behaved server.
    pub fn new() -> Self {
        Self::that_is("")
    }

    /// A server that is `stubborn` (ends on nothing but SIGKILL), `dies-at-once`, or `tells` when its tools change.
    pub fn that_is(options: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.py"), include_str!("child.py")).unwrap();
        Self { folder, options }
    }

    /// Its declaration as a service.
    pub fn declare(&self, name: &str) -> String {
        self.declare_with(name, "")
    }

    /// Its declaration as a service, with more members: `", share: true"`.
    pub fn declare_with(&self, name: &str, more: &str) -> String {
        let script = self.folder.path().join("server.py");
        let python = python();
        let (script, log) = (script.display(), self.log().display().to_string());
        let options = if self.options.is_empty() { String::new() } else { format!(", {}", self.options) };
        format!(
            "  - {{ name: {name}, kind: mcp, command: [\"{python}\", -I, -S, \"{script}\", \"{log}\"{options}], pins: off{more} }}\n"
        )
    }

    /// Everything that it wrote down so far.
    pub fn notes(&self) -> Vec<Note> {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let note = |line: &str| {
            let mut parts = line.splitn(3, '\t');
            let pid = parts.next()?.parse().ok()?;
            Some(Note { pid, kind: parts.next()?.to_owned(), text: parts.next()?.to_owned() })
        };
        text.lines().filter_map(note).collect()
    }

    /// The notes of one kind.
    pub fn noted(&self, kind: &str) -> Vec<Note> {
        self.notes().into_iter().filter(|note| note.kind == kind).collect()
    }

    /// How many lines it received.
    pub fn count(&self) -> usize {
        self.noted("in").len()
    }

    /// The processes that were started.
    pub fn pids(&self) -> Vec<i32> {
        self.noted("start").iter().map(|note| note.pid).collect()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("received.log")
    }
}

/// The interpreter itself: what `python3` names may be a script that starts it, with variables of its own.
fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output =
            Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

/// Whether a process runs; one that only waits to be buried does not.
pub fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}
