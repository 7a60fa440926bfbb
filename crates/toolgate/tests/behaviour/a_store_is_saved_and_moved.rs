//! The store can be saved while calls go on, brought back, and moved to another place; whoever is killed on the way leaves
//! the old or the new, never a half one. That an older store stands in its place shows against a checkpoint.

use std::{path::Path, time::Duration};

use serde_json::Value;

use crate::harness::*;

fn rounds() -> u64 {
    std::env::var("TOOLGATE_SOAK_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}{}", ran.stdout, ran.stderr))
}

/// A home on a file, whatever else the tests run on.
fn on_file() -> Home {
    let home = Home::new(POLICY);
    match home.place() {
        store::Place::File(_) => home,
        store::Place::Server(_) => {
            let home = home.variable("TOOLGATE_STORE_URL", "sqlite");
            home.ok(&["init"]);
            home
        }
    }
}

/// The usual stage on a file, with one child less: `web` alone.
fn stage() -> (Gateway, Upstream, String) {
    let web = Upstream::mcp();
    let home = on_file().services(&[web.declare("web")]);
    let key = home.key("laptop", "user", "web");
    (home.serve(), web, key)
}

#[test]
fn a_backup_comes_back_and_a_checkpoint_of_later_shows_that_it_did() {
    let (mut gateway, web, key) = stage();
    let folder = tempfile::tempdir().unwrap();
    let [backup, early, late] = ["a.db", "early.jsonl", "late.jsonl"].map(|name| folder.path().join(name));
    let agent = gateway.agent(&key, "web");
    assert_eq!(agent.call("echo", "{}").verdict(), 200);
    std::fs::write(&early, gateway.ok(&["audit", "verify", "--json"]).stdout).unwrap();
    // While it runs.
    let told = gateway.ok(&["store", "backup", text(&backup)]);
    assert!(told.stdout.starts_with(&format!("✓ {}   ", backup.display())), "{}", told.stdout);
    assert!(told.stdout.contains("in 1 chain; newest: gw-1 "), "{}", told.stdout);
    assert!(told.stderr.contains("vault.key"), "{}", told.stderr);
    let again = gateway.run(&["store", "backup", text(&backup)]);
    assert_eq!((again.code, again.stdout.as_str()), (1, ""));
    assert!(again.stderr.contains("; nothing is overwritten: choose another name"), "{}", again.stderr);
    // A backup of ours has no secret in it either: the key is looked for where the gateway's end looks for it.
    std::fs::copy(&backup, gateway.path().join("looked-through.db")).unwrap();

    let later = gateway.key("later", "user", "web");
    assert_eq!(gateway.agent(&later, "web").call("echo", "{}").verdict(), 200);
    let kept = gateway.run(&["store", "restore", text(&backup)]);
    assert_eq!(kept.code, 1);
    assert!(kept.stderr.contains("a gateway runs on this store"), "{}", kept.stderr);
    assert!(gateway.stop().success());
    let checkpoint = gateway.ok(&["audit", "verify", "--json"]).stdout;
    std::fs::write(&late, format!("{}{checkpoint}", std::fs::read_to_string(&early).unwrap())).unwrap();
    let verify = |file: &Path, json: bool| {
        let arguments = ["audit", "verify", "--checkpoint", text(file), "--json"];
        gateway.run(&arguments[..if json { 5 } else { 4 }])
    };
    assert_eq!(verify(&late, false).code, 0);
    assert!(verify(&late, false).stdout.contains("it is the trail of 2 checkpoints"));

    let told = gateway.ok(&["store", "restore", text(&backup)]);
    assert!(told.stdout.contains("toolgate.db.until-20"), "{}", told.stdout);
    assert!(told.stderr.contains("are good again"), "{}", told.stderr);
    assert_eq!(verify(&early, false).code, 0, "what was before the backup still holds");
    let (words, answer) = (verify(&late, false), verify(&late, true));
    assert_eq!((words.code, answer.code), (1, 1));
    assert!(words.stdout.starts_with("✗ the trail ends at event "), "{}", words.stdout);
    assert!(words.stdout.contains("an older store was restored"), "{}", words.stdout);
    let checkpoint: Value = serde_json::from_str(&checkpoint).unwrap();
    assert_eq!(
        (&json(&answer)["ok"], &json(&answer)["not_the_trail_of"]),
        (&false.into(), &checkpoint["newest"])
    );
    // The trail tells what happened, and what it was before.
    let events = gateway.events();
    let restore = events.last().unwrap();
    assert_eq!((&restore["action"], &restore["kind"]), (&"store.restore".into(), &"operator".into()));
    assert_eq!(restore["args"]["replaced"]["seq"], checkpoint["newest"]["seq"]);

    gateway.restart();
    assert_eq!(gateway.agent(&key, "web").call("echo", "{}").verdict(), 200, "its key opens what came back");
    assert_eq!(gateway.agent(&later, "web").call("echo", "{}").verdict(), 401, "nobody made that key");
    assert_eq!(web.count(), 3);
}

#[test]
fn a_file_that_is_no_list_of_checkpoints_is_refused() {
    let home = on_file();
    for (written, said) in [
        ("", "there is no checkpoint in it"),
        ("{\"ok\":true}\n", "there is no checkpoint in it"),
        ("newest: gw-1 3 6a0f\n", "is no answer of"),
        ("{\"ok\":true,\"newest\":{\"writer\":\"gw-1\",\"seq\":1,\"hash\":\"00\"}}\n", "is no answer of"),
    ] {
        home.write("kept.jsonl", written);
        let ran = home.run(&["audit", "verify", "--checkpoint", "kept.jsonl"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(ran.stderr.contains(said), "{written}: {}", ran.stderr);
    }
    assert!(home.run(&["audit", "verify", "--checkpoint", "none"]).stderr.contains("there is no such file"));
}

#[test]
fn a_copy_is_the_same_install_in_another_place() {
    let (mut gateway, web, key) = stage();
    assert_eq!(gateway.agent(&key, "web").call("echo", "{}").verdict(), 200);
    let other = Home::empty();
    let to = match other.place() {
        store::Place::File(path) => format!("sqlite://{}", path.display()),
        store::Place::Server(_) => other.store_url().unwrap(),
    };
    // A rehearsal while the gateway runs says what it is.
    let rehearsal = tempfile::tempdir().unwrap();
    let ran =
        gateway.ok(&["store", "copy", "--from", "sqlite", "--to", text(&rehearsal.path().join("a.db"))]);
    assert!(ran.stderr.contains("a gateway runs on the source"), "{}", ran.stderr);
    assert!(gateway.stop().success());
    let before = json(&gateway.ok(&["audit", "verify", "--json"]));
    let copied = gateway.ok(&["store", "copy", "--from", "sqlite", "--to", &to, "--json"]);
    let copied = json(&copied);
    for member in ["ok", "events", "newest"] {
        assert_eq!(copied[member], before[member], "{member}");
    }
    assert_eq!((&copied["missed"], &copied["source_is_served"]), (&0.into(), &false.into()));
    assert!(!copied.to_string().contains("password"), "{copied}");
    let again = gateway.run(&["store", "copy", "--from", "sqlite", "--to", &to]);
    assert_eq!(again.code, 1, "{}", again.stdout);
    for name in ["vault.key", "policy.yaml"] {
        std::fs::copy(gateway.path().join(name), other.path().join(name)).unwrap();
    }
    assert_eq!(json(&other.ok(&["audit", "verify", "--json"])), before);
    let moved = other.serve();
    assert_eq!(moved.agent(&key, "web").call("echo", "{}").verdict(), 200, "keys and services came along");
    assert_eq!(web.count(), 2);
    drop(moved);
    gateway.restart();
}

#[test]
fn places_are_told_from_mistakes_and_no_password_is_repeated() {
    let home = on_file();
    for (from, to, said) in [
        ("none.db", "a.db", "there is no store (none.db, --from)"),
        ("sqlite", "mysql://ada:s3cret@h/d", "this is no address of a Postgres server (--to)"),
        ("postgres://ada:s3cret@h:port/d", "a.db", "this is no address of a Postgres server (--from)"),
        ("sqlite", "sqlite:", "there is no file's name (--to)"),
        ("sqlite", "postgres://ada:s3cret@127.0.0.1:1/d", "the store did not answer"),
    ] {
        let ran = home.run(&["store", "copy", "--from", from, "--to", to]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{from} {to}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{from} {to}: {}", ran.stderr);
        assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
    }
    let server = home.variable("TOOLGATE_STORE_URL", "postgres://ada:s3cret@127.0.0.1:1/d");
    for command in ["backup", "restore"] {
        let ran = server.run(&["store", command, "a.db"]);
        assert!(
            ran.stderr.contains("this store is on a server (postgres://ada@127.0.0.1:1/d)"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn who_is_killed_on_the_way_leaves_the_old_or_the_new() {
    let home = on_file();
    // Enough that it takes a moment.
    let path = home.path().join("toolgate.db");
    fill(&path, 6_000);
    let backup = home.path().join("whole.db");
    home.ok(&["store", "backup", text(&backup)]);
    let whole = json(&home.ok(&["audit", "verify", "--json"]));
    for round in 0..rounds() {
        for command in ["backup", "copy", "restore"] {
            let to = home.path().join(format!("{command}{round}.db"));
            let mut killed = match command {
                "backup" => home.spawn(&["store", "backup", text(&to)]),
                "copy" => home.spawn(&["store", "copy", "--from", "sqlite", "--to", text(&to)]),
                _ => home.spawn(&["store", "restore", text(&backup)]),
            };
            std::thread::sleep(Duration::from_millis(10 + round * 67 % 400));
            killed.kill().unwrap();
            killed.wait().unwrap();
            if command == "restore" {
                // A backup that came back has the event that says so.
                let now = json(&home.ok(&["audit", "verify", "--json"]));
                assert!(now["events"].as_u64() >= whole["events"].as_u64(), "{now}");
                continue;
            }
            if !std::fs::metadata(&to).is_ok_and(|file| file.len() > 0) {
                // Nothing, or an empty file, is no store; and it is in nobody's way.
                home.ok(&["store", "backup", text(&to)]);
            }
            let moved = tempfile::tempdir().unwrap();
            let found = moved.path().join("toolgate.db");
            std::fs::copy(&to, &found).unwrap();
            let at = ["audit", "verify", "--json", "--home", text(moved.path())];
            let found = json(&home.run(&at));
            assert!(found["events"].as_u64() >= whole["events"].as_u64(), "{command}: {found}");
            std::fs::remove_file(&to).unwrap();
        }
    }
    let left: Vec<_> =
        std::fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    home.ok(&["store", "restore", text(&backup)]);
    assert!(!home.path().join("toolgate.db.restored").exists(), "{left:?}");
}

/// Appends events, as a store that was used for long has them.
fn fill(path: &Path, events: u32) {
    use domain::audit::{Event, Kind};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = store::StoreOptions { place: path.into(), sync: store::Sync::Os, create: None };
        let store = store::Store::open(&options).await.unwrap();
        let mut event = Event::new(jiff::Timestamp::UNIX_EPOCH, Kind::Outcome);
        event.action = Some("echo".into());
        let entries: Vec<store::Entry> = (0..events).map(|_| event.clone().into()).collect();
        store.append(&entries).await.unwrap();
        store.close().await;
    });
}

#[test]
fn a_gateway_goes_on_with_a_newer_schema_only_where_that_says_so() {
    let (mut gateway, web, key) = stage();
    let agent = gateway.agent(&key, "web");
    assert_eq!(agent.call("echo", "{}").verdict(), 200);
    let path = gateway.path().join("toolgate.db");
    let known = number(&path, "SELECT user_version FROM pragma_user_version");
    // A newer program adds something that this one need not know.
    for sql in [
        "ALTER TABLE agents ADD COLUMN of_the_future TEXT NOT NULL DEFAULT 'new'".to_owned(),
        format!("UPDATE meta SET value = '{known}' WHERE name = 'oldest'"),
        "UPDATE meta SET value = '0.9' WHERE name = 'needs'".to_owned(),
        format!("PRAGMA user_version = {}", known + 1),
    ] {
        execute(&path, &sql);
    }
    assert_eq!(agent.call("echo", "{}").verdict(), 200);
    let fresh = gateway.key("fresh", "user", "web");
    until("the new key to be known", || gateway.agent(&fresh, "web").call("echo", "{}").verdict() == 200);
    let sent = web.count();
    // And then something that it must know.
    execute(&path, &format!("UPDATE meta SET value = '{}' WHERE name = 'oldest'", known + 1));
    until("calls to be refused", || agent.call("echo", "{}").verdict() == 503);
    let hits = web.count();
    assert_eq!(agent.call("echo", "{}").verdict(), 503);
    assert_eq!(web.count(), hits, "nothing is forwarded from then on");
    assert!(hits >= sent);
    let words = format!(
        "this home needs toolgate 0.9 or newer (schema {}, this binary knows {known}); use that, or a backup",
        known + 1
    );
    until("the log to say why", || gateway.said().contains(&words));
    let ran = gateway.run(&["keys", "list"]);
    assert_eq!((ran.code, ran.stderr.trim_end()), (1, format!("error: {words}").as_str()));
    assert!(gateway.stop().success());
    assert!(gateway.try_serve().stderr.contains(&words));
    execute(&path, &format!("PRAGMA user_version = {known}"));
    execute(&path, &format!("UPDATE meta SET value = '{known}' WHERE name = 'oldest'"));
}

fn execute(path: &Path, sql: &str) {
    let file = format!("sqlite://{}", path.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::{Connection as _, Executor as _};
        let mut connection = sqlx::SqliteConnection::connect(&file).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(sql.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    });
}

fn number(path: &Path, sql: &'static str) -> i64 {
    let file = format!("sqlite://{}", path.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::Connection as _;
        let mut connection = sqlx::SqliteConnection::connect(&file).await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    })
}
