//! `audit verify`: any change inside the trail is found, at the right event, and ends in exit 1.

use serde_json::json;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::terminal::Terminal;

/// A home with five events, and a change made to its file behind our back.
fn tampered(statement: &str) -> Terminal {
    let terminal = Terminal::with_home();
    for agent in ["a", "b"] {
        terminal.run(&["keys", "create", agent]).ok();
    }
    terminal.run(&["agents", "disable", "a"]).ok();
    terminal.run(&["audit", "verify"]).ok();
    let file = format!("sqlite://{}", terminal.home().join("toolgate.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = SqliteConnection::connect(&file).await.unwrap();
        let done = connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{statement}");
        connection.close().await.unwrap();
    });
    terminal
}

#[test]
fn an_edit_a_removal_and_a_wrong_column_are_found_where_they_are() {
    for (statement, seq) in [
        ("UPDATE audit SET rec = replace(rec, '\"agent\":\"a\"', '\"agent\":\"x\"') WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = 3", 3),
        ("UPDATE audit SET agent = 'x' WHERE seq = 4", 4),
    ] {
        let terminal = tampered(statement);
        let json = terminal.run(&["audit", "verify", "--json"]);
        assert_eq!(json.code, 1, "{statement}");
        assert_eq!(json.json()["first_broken"], json!({ "writer": "gw-1", "seq": seq }), "{statement}");
        let told = terminal.run(&["audit", "verify"]);
        assert_eq!(told.code, 1);
        assert!(told.stdout.starts_with(&format!("✗ chain gw-1 breaks at event {seq}")), "{}", told.stdout);
        assert!(
            told.stdout.ends_with("prove nothing: compare with a backup, keep this file\n"),
            "{}",
            told.stdout
        );
    }
}

#[test]
fn an_export_is_the_records_byte_for_byte_with_their_hashes() {
    use sha2::{Digest as _, Sha256};
    let terminal = Terminal::with_home();
    terminal.run(&["keys", "create", "a"]).ok();
    let export = terminal.run(&["audit", "export"]).ok().stdout;
    let mut prev = "0".repeat(64);
    for line in export.lines() {
        let (record, hash) = line.rsplit_once(",\"hash\":\"").unwrap();
        let hash = hash.trim_end_matches("\"}");
        let digest: String =
            Sha256::digest(format!("{record}}}")).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, hash);
        assert!(record.contains(&format!("\"prev\":\"{prev}\"")), "{record}");
        prev = hash.to_owned();
    }
    assert_eq!(export.lines().count(), 2);
}
