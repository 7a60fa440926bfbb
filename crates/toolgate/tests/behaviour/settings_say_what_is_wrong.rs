//! Settings: one wrong word anywhere is an error that says where, and what is in force can be seen.

use std::fs;

use crate::terminal::Terminal;

#[test]
fn an_unknown_key_stops_every_command_with_its_line() {
    let terminal = Terminal::with_home();
    fs::write(terminal.home().join("toolgate.yaml"), "gateway:\n  listn: 127.0.0.1:1\n").unwrap();
    for command in [&["serve"][..], &["keys", "list"], &["config", "show"], &["doctor"]] {
        terminal.run(command).fails(
            1,
            "~/.local/share/toolgate/toolgate.yaml:2:3: error: unknown key `listn`; did you mean `listen`?\n   \
             2 |   listn: 127.0.0.1:1\n     |   ^^^^^",
        );
    }
}

#[test]
fn config_show_names_the_source_that_won() {
    let mut terminal = Terminal::with_home();
    fs::write(terminal.home().join("toolgate.yaml"), "audit: { sync: os }\ntelemetry: { level: warn }\n")
        .unwrap();
    terminal.write(".env", "TOOLGATE_TELEMETRY_LEVEL=error\nTOOLGATE_AUDIT_RECORD=everything\nOTHER=x\n");
    terminal.set("TOOLGATE_TELEMETRY_LEVEL", "debug");
    let shown = terminal.run(&["config", "show", "--json", "--set", "gateway.body_limit=1MB"]).ok().json();
    let row = |path: &str| {
        let row = shown.as_array().unwrap().iter().find(|row| row["setting"] == path).unwrap();
        format!("{} {}", row["value"].as_str().unwrap(), row["from"].as_str().unwrap())
    };
    assert_eq!(row("audit.sync"), "os ~/.local/share/toolgate/toolgate.yaml:1");
    assert_eq!(row("telemetry.level"), "debug TOOLGATE_TELEMETRY_LEVEL");
    assert_eq!(row("audit.record"), "everything .env TOOLGATE_AUDIT_RECORD");
    assert_eq!(row("gateway.body_limit"), "1MB --set");
    assert_eq!(row("gateway.listen"), "127.0.0.1:8484 default");
}

#[test]
fn a_misspelt_variable_is_an_error() {
    let mut terminal = Terminal::with_home();
    terminal.set("TOOLGATE_GATEWAY_LISEN", "127.0.0.1:1");
    terminal.run(&["config", "show"]).fails(
        1,
        "error: there is no setting `TOOLGATE_GATEWAY_LISEN` (environment); did you mean `TOOLGATE_GATEWAY_LISTEN`?",
    );
}

#[test]
fn what_the_command_line_sets_wrongly_is_a_mistake_of_usage() {
    let terminal = Terminal::with_home();
    for (assignment, words) in [
        (
            "gateway.listn=x",
            "error: there is no setting `gateway.listn` (--set); did you mean `gateway.listen`?",
        ),
        (
            "gateway.listen",
            "error: `gateway.listen` is not `path=value` (--set); write `--set gateway.listen=…`",
        ),
        (
            "telemetry.level=loud",
            "error: `loud` is unknown (--set telemetry.level); write one of error, warn, info, debug",
        ),
    ] {
        terminal.run(&["config", "show", "--set", assignment]).fails(2, words);
    }
}

#[test]
fn a_settings_file_that_is_no_file_is_one_clear_error() {
    let terminal = Terminal::with_home();
    let file = terminal.home().join("toolgate.yaml");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let done = terminal.run(&["config", "show"]);
    assert!(done.stderr.starts_with("error: a file cannot be read ("), "{done:?}");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, [0xff, 0xfe, 0]).unwrap();
    let done = terminal.run(&["config", "show"]);
    assert!(done.stderr.starts_with("error: a file is not UTF-8 text ("), "{done:?}");
    assert_eq!(done.stderr.lines().count(), 1);
}

#[test]
fn causes_are_printed_at_debug_level_only() {
    let mut terminal = Terminal::with_home();
    fs::remove_file(terminal.home().join("policy.yaml")).unwrap();
    let sentence =
        "error: there is no policy (~/.local/share/toolgate/policy.yaml); `toolgate init` writes a starter";
    terminal.run(&["policy", "check"]).fails(1, sentence);
    terminal.set("TOOLGATE_TELEMETRY_LEVEL", "debug");
    let done = terminal.run(&["policy", "check"]);
    assert!(done.stderr.starts_with(&format!("{sentence}\n  because ")), "{done:?}");
}

#[test]
fn schemas_are_json_schemas() {
    let terminal = Terminal::new();
    for command in [["config", "schema"], ["policy", "schema"]] {
        let schema = terminal.run(&command).ok().json();
        assert!(schema["$schema"].as_str().unwrap().starts_with("https://json-schema.org/"), "{command:?}");
    }
}

#[test]
fn a_dotenv_of_another_program_does_no_harm() {
    let terminal = Terminal::with_home();
    std::fs::write(terminal.work().join(".env"), [0xff, b'\n', b'A', b'=', b'\'']).unwrap();
    terminal.run(&["keys", "list"]).ok();
    std::fs::remove_file(terminal.work().join(".env")).unwrap();
    std::fs::create_dir(terminal.work().join(".env")).unwrap();
    terminal.run(&["keys", "list"]).ok();
}
