//! Arrows point downwards: a crate imports crates of lower floors only. A module may import its siblings in
//! circles, a crate may not; so this table is the architecture, and it must never be bent for one import.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// Every product crate and the floor it stands on.
const FLOORS: &[(&str, u8)] = &[
    ("wire", 0),
    ("domain", 1),
    ("counters", 2),
    ("store", 2),
    ("vault", 2),
    ("pipeline", 3),
    ("admin", 4),
    ("console", 5),
    ("ingress", 5),
    ("toolgate", 6),
];

/// Tests of several floors at once. No floor, and nobody imports them; they alone may switch on what only they need.
const TESTS: &[&str] = &["simulation"];

/// Members that are no part of the product. They import none of it, and it imports none of them.
const TOOLS: &[&str] = &["xtask"];

/// Downwards, but not allowed: operators change what calls are judged by, they do not send calls.
const NOT_EVEN_DOWNWARDS: &[(&str, &str)] = &[("admin", "pipeline")];

/// What the floors that only decide must not be able to do: I/O, async, chance.
const NOT_BELOW_FLOOR_2: &[&str] = &["aws-lc-rs", "hyper", "nix", "rand", "socket2", "sqlx", "tokio"];

#[test]
fn every_member_of_the_workspace_has_a_floor() {
    let members = dependencies_of_members();
    for name in members.keys().filter(|name| ![TOOLS, TESTS].concat().contains(&name.as_str())) {
        assert!(floor(name).is_some(), "`{name}` has no floor; give it one in FLOORS");
    }
    for (name, _) in FLOORS {
        assert!(members.contains_key(*name), "`{name}` has a floor and is no member any more");
    }
}

#[test]
fn a_crate_imports_lower_floors_only() {
    let members = dependencies_of_members();
    for (name, dependencies) in members.iter().filter(|(name, _)| !TESTS.contains(&name.as_str())) {
        for dependency in dependencies.iter().filter(|dependency| members.contains_key(*dependency)) {
            match (floor(name), floor(dependency)) {
                (Some(above), Some(below)) => assert!(
                    below < above,
                    "`{name}` (floor {above}) imports `{dependency}` (floor {below}); arrows point downwards"
                ),
                _ => panic!("`{name}` imports `{dependency}`; tools and product stay apart"),
            }
            assert!(
                !NOT_EVEN_DOWNWARDS.contains(&(name.as_str(), dependency.as_str())),
                "`{name}` must not import `{dependency}`, though it is below"
            );
        }
    }
}

#[test]
fn the_floors_that_decide_can_neither_read_nor_wait() {
    for (name, dependencies) in dependencies_of_members() {
        if floor(&name).is_some_and(|floor| floor < 2) {
            for able in NOT_BELOW_FLOOR_2 {
                assert!(!dependencies.iter().any(|found| found == able), "`{name}` imports `{able}`");
            }
        }
    }
}

/// The simulation decides what becomes of each step to the store, and where connections lead. No other build can.
#[test]
fn nobody_but_the_simulation_is_built_with_its_ways_in() {
    for package in packages() {
        let name = package["name"].as_str().expect("it has a name");
        for dependency in package["dependencies"].as_array().expect("it has dependencies") {
            let simulates = dependency["features"].to_string().contains("\"simulation\"");
            assert!(
                name == "simulation" || !simulates,
                "`{name}` builds {} with the feature `simulation`",
                dependency["name"]
            );
        }
        for (feature, others) in package["features"].as_object().expect("they are an object") {
            let switches = others.to_string().contains("simulation");
            assert!(!switches, "the feature `{feature}` of `{name}` switches on `simulation`");
        }
    }
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor)
}

/// Each member of the workspace and all it depends on directly, in code, tests and build scripts alike.
fn dependencies_of_members() -> BTreeMap<String, Vec<String>> {
    let name = |value: &Value| value["name"].as_str().expect("it has a name").to_owned();
    let dependencies = |package: &Value| {
        package["dependencies"].as_array().expect("it has dependencies").iter().map(name).collect()
    };
    packages().iter().map(|package| (name(package), dependencies(package))).collect()
}

/// The members of the workspace, as cargo sees them.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("there are packages").clone()
}
