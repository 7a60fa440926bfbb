//! Help, usage errors and exit codes.

use crate::terminal::Terminal;

#[test]
fn the_first_page_names_every_command() {
    let terminal = Terminal::new();
    let done = terminal.run(&["--help"]).ok();
    assert_eq!(done.stdout, include_str!("../../src/commands/help/toolgate.txt"));
    assert_eq!(done.stderr, "");
    let version = terminal.run(&["--version"]).ok();
    assert_eq!(version.stdout, format!("toolgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn keys_create_has_the_page_of_the_design() {
    let page = Terminal::new().run(&["keys", "create", "--help"]).ok().stdout;
    assert_eq!(
        page,
        "Make a key for an agent and print it once. Makes the agent when there is none of that name.\n\
         Usage: toolgate keys create AGENT [--role R] [--scope a,b] [--expires 30d]\n  \
           --role R       a role of policy.yaml; default for a new agent: readonly\n  \
           --scope a,b    services it may reach; a new agent without --scope reaches none\n  \
           --expires 30d  the key stops then; default: never\n\
         The key goes to stdout, the rest to stderr. Only a hash is kept: a lost key is replaced.\n\
         Example: export TOOLGATE_KEY=$(toolgate keys create laptop --role user --scope files)\n"
    );
}

#[test]
fn a_usage_error_ends_with_the_help_to_read() {
    let terminal = Terminal::new();
    for (arguments, error) in [
        (&["keyz"][..], "there is no command `keyz`; did you mean `keys`? see toolgate --help"),
        (
            &["agents", "updat"],
            "there is no command `updat`; did you mean `update`? see toolgate agents --help",
        ),
        (&["keys", "create"], "AGENT is missing; see toolgate keys create --help"),
        (
            &["keys", "create", "a", "--rol", "x"],
            "there is no option `--rol`; did you mean `--role`? see toolgate keys create --help",
        ),
        (&["keys", "list", "x"], "there is no place for `x`; see toolgate keys list --help"),
        (
            &["keys", "create", "a", "--expires", "soon"],
            "`soon` is no length of time up to ten years (--expires); write it like 30d or 12h; \
             see toolgate keys create --help",
        ),
        (
            &["demo", "--color", "purple"],
            "`purple` is no value of --color (auto, always, never); see toolgate demo --help",
        ),
        (
            &["connect", "emacs"],
            "`emacs` is no value of CLIENT (claude-code, claude-desktop, cursor, vscode, codex, env, curl); \
             see toolgate connect --help",
        ),
        (
            &["policy", "explain", "--agent", "a", "--service", "s"],
            "--tool, --resource, --prompt or --request is missing; see toolgate policy explain --help",
        ),
        (
            &["keys", "create", "Ada"],
            concat!(
                "`Ada` is no agent name (AGENT); use 1 to 64 of a-z, 0-9 and -_., starting with a letter or digit; ",
                "see toolgate keys create --help"
            ),
        ),
        // Of several near names the nearest, and nobody who asks for help is sent to `health`.
        (
            &["operators", "creat"],
            "there is no command `creat`; did you mean `create`? see toolgate operators --help",
        ),
        (&["help", "keys"], "there is no command `help`; see toolgate keys --help"),
        (
            &["agents", "rm", "a"],
            "there is no command `rm`; did you mean `delete`? see toolgate agents --help",
        ),
        (&["operators", "create"], "--role and EMAIL are missing; see toolgate operators create --help"),
        (&["agents", "update", "a"], "--role or --scope is missing; see toolgate agents update --help"),
        (
            &["audit", "list", "--limit", "-1"],
            "`-1` is no number from 1 to 100,000 (--limit); write it like 50; see toolgate audit list --help",
        ),
        (
            &["audit", "list", "--limit", "many"],
            "`many` is no number from 1 to 100,000 (--limit); write it like 50; see toolgate audit list --help",
        ),
        (
            &["bridge", "A B"],
            "`A B` is no service name (SERVICE); use 1 to 40 of a-z, 0-9 and -, starting with a letter or digit; \
             see toolgate bridge --help",
        ),
    ] {
        terminal.run(arguments).fails(2, &format!("error: {error}"));
    }
}

#[test]
fn a_group_without_a_command_shows_its_page() {
    let done = Terminal::new().run(&["keys"]);
    assert_eq!((done.code, done.stdout.as_str()), (2, ""));
    assert_eq!(done.stderr, include_str!("../../src/commands/help/keys.txt"));
}

#[test]
fn global_options_stand_before_or_behind_the_command() {
    let terminal = Terminal::with_home();
    for arguments in [["--json", "keys", "list"], ["keys", "--json", "list"], ["keys", "list", "--json"]] {
        assert_eq!(terminal.run(&arguments).ok().stdout, "[]\n");
    }
}

#[test]
fn colours_are_kept_out_of_files_unless_asked_for() {
    let terminal = Terminal::with_home();
    assert!(!terminal.run(&["init"]).stdout.contains('\u{1b}'));
    assert!(terminal.run(&["init", "--color", "always"]).stdout.contains('\u{1b}'));
}

#[test]
fn commands_are_printed_so_that_they_can_be_pasted() {
    let terminal = Terminal::new();
    let home = terminal.work().join("my home");
    let done = terminal.run(&["keys", "list", "--home", home.to_str().unwrap()]);
    done.fails(
        1,
        "error: there is no home (~/work/my home); make one: toolgate init --home '/FOLDER/work/my home'",
    );
}

#[test]
fn the_name_of_a_file_cannot_move_the_cursor() {
    let terminal = Terminal::with_home();
    let name = "a\u{1b}[2K\u{202e}.yaml";
    terminal
        .run(&["services", "apply", "-f", name])
        .fails(1, "error: there is no such file (a\\u{1b}[2K\\u{202e}.yaml); name a services.yaml with -f");
    terminal.write(name, "services: 3\n");
    for command in [["services", "apply", "-f"].as_slice(), &["policy", "check"], &["policy", "test"]] {
        let said = terminal.run(&[command, &[name]].concat()).stderr;
        assert!(said.contains("a\\u{1b}[2K") && !said.contains(['\u{1b}', '\u{202e}']), "{said}");
    }
}

#[test]
fn completions_are_written_for_every_shell() {
    let terminal = Terminal::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(terminal.run(&["completions", shell]).ok().stdout.contains("toolgate"), "{shell}");
    }
}
