//! `services apply`: says what it changed, leaves the others alone, and shows no value of the environment.

use crate::terminal::Terminal;

const FILES: &str = "\
services:
  - name: files
    kind: mcp
    command: [sh, -c, 'true']
    env: { TOKEN: swordfish }
";
const NOTES: &str =
    "services:\n  - { name: notes, kind: mcp, url: 'http://127.0.0.1:9/mcp', network: private }\n";

fn apply(terminal: &Terminal, text: &str) -> String {
    terminal.write("services.yaml", text);
    terminal.run(&["services", "apply", "-f", "services.yaml"]).ok().stdout
}

#[test]
fn what_changed_is_told_and_the_rest_stays() {
    let terminal = Terminal::with_home();
    assert_eq!(apply(&terminal, FILES), "+ files   mcp, stdio  sh -c true\n");
    assert_eq!(apply(&terminal, FILES), "= files\n");
    let notes = apply(&terminal, NOTES);
    assert!(notes.starts_with("+ notes   mcp, http   http://127.0.0.1:9/mcp\n"), "{notes}");
    assert!(
        notes.contains("! notes  no allow rule names it, only `admin` can call it; in policy.yaml"),
        "{notes}"
    );
    let changed = apply(&terminal, &FILES.replace("'true'", "'false'"));
    assert!(changed.starts_with("~ files   command ") && changed.contains(" → "), "{changed}");
    let names = terminal.run(&["services", "list", "--json"]).ok().json();
    let names: Vec<_> = names.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["files", "notes"]);
}

#[test]
fn values_of_the_environment_are_never_shown() {
    let terminal = Terminal::with_home();
    apply(&terminal, FILES);
    for command in [&["services", "show", "files"][..], &["services", "list", "--json"], &["audit", "export"]]
    {
        assert!(!terminal.run(command).ok().stdout.contains("swordfish"), "{command:?}");
    }
    assert!(terminal.run(&["services", "show", "files"]).stdout.contains("TOKEN"));
    let changed = apply(&terminal, &FILES.replace("swordfish", "marlin99"));
    assert!(!changed.contains("marlin99") && !changed.contains("swordfish"), "{changed}");
}

#[test]
fn a_fault_in_the_file_changes_nothing() {
    let terminal = Terminal::with_home();
    terminal.write("services.yaml", &format!("{FILES}    comand: x\n"));
    let done = terminal.run(&["services", "apply", "-f", "services.yaml"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(
        done.stderr.starts_with("services.yaml:6:5: error: unknown key `comand`; did you mean `command`?"),
        "{done:?}"
    );
    assert_eq!(terminal.run(&["services", "list", "--json"]).ok().stdout, "[]\n");
}

#[test]
fn a_program_that_is_not_there_is_told_at_once() {
    let terminal = Terminal::with_home();
    let told =
        apply(&terminal, "services:\n  - { name: files, kind: mcp, command: [no-such-program-here] }\n");
    assert!(
        told.contains("! files  `no-such-program-here` was not found; install it, or write its full path\n"),
        "{told}"
    );
    let doctor = terminal.run(&["doctor", "--json"]);
    assert_eq!(doctor.code, 1);
    assert_eq!(
        doctor.stdout,
        "{\"store\":true,\"counters\":true,\"vault\":true,\"policy\":true,\"services\":{\"files\":false}}\n"
    );
}

#[test]
fn a_removed_service_is_gone_and_a_misspelt_one_is_guessed() {
    let terminal = Terminal::with_home();
    apply(&terminal, FILES);
    terminal
        .run(&["services", "remove", "fils"])
        .fails(1, "error: there is no service `fils`; did you mean `files`? all: toolgate services list");
    let done = terminal.run(&["services", "remove", "files"]).ok();
    assert_eq!(done.stdout, "✓ files removed; agents are refused within a second, its history stays\n");
    assert_eq!(terminal.run(&["services", "list"]).ok().stdout, "");
}

#[test]
fn the_example_in_this_repository_applies() {
    let terminal = Terminal::with_home();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/files/services.yaml");
    let done = terminal.run(&["services", "apply", "-f", file]).ok();
    assert!(
        done.stdout.starts_with("+ files   mcp, stdio  npx -y @modelcontextprotocol/server-filesystem "),
        "{done:?}"
    );
}
