//! What the documents point at is there: a promise whose test was renamed must not go on claiming it.

#![allow(clippy::expect_used, reason = "tests may fail loudly")]

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let documents: Vec<PathBuf> = ["", "docs", "docs/decisions", "docs/recipes", "examples/files"]
        .iter()
        .flat_map(|folder| documents_in(&root.join(folder)))
        .collect();
    assert!(documents.iter().any(|path| path.ends_with("README.md")), "the README is among them");

    let mut dead = Vec::new();
    for document in &documents {
        let text = fs::read_to_string(document).expect("documents are UTF-8");
        let folder = document.parent().expect("a file is in a folder");
        for link in links(&text).filter(|link| !folder.join(link).exists()) {
            dead.push(format!("{}: {link}", document.display()));
        }
    }
    assert!(dead.is_empty(), "these links lead nowhere:\n{}", dead.join("\n"));
}

fn documents_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The targets of `[text](target)`, without those on the web, those on the same page, and the `#part`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split_once('#').map_or(target, |(file, _)| file))
        .filter(|target| !target.is_empty() && !target.contains("://"))
}
