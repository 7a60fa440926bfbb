//! What the documents say is so: links lead somewhere, and what stands there to be copied can be read.

#![allow(clippy::expect_used, clippy::panic, reason = "tests may fail loudly")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use domain::{
    credential::KIND_WORDS,
    policy,
    service::{Declared, parse_declarations},
    yaml::render_all,
};

/// Where documents are, from the root of the repository.
const FOLDERS: [&str; 10] = [
    "",
    "docs",
    "docs/decisions",
    "docs/recipes",
    "examples/approvals",
    "examples/conditions",
    "examples/files",
    "examples/http-api",
    "examples/idempotency",
    "examples/oauth",
];

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut dead = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = document.parent().expect("a file is in a folder");
        for link in links(&text).filter(|link| !folder.join(link).exists()) {
            dead.push(format!("{}: {link}", document.display()));
        }
    }
    assert!(dead.is_empty(), "these links lead nowhere:\n{}", dead.join("\n"));
}

/// Documents whose tables say in the last cell of a row which tests prove it: `file::test`, `::test` of the same file, or,
/// where that is said here, a file; where such files are; how many there are at least.
const PROVEN: [(&str, bool, &str, usize); 2] =
    [("docs/mcp.md", true, "behaviour", 30), ("docs/operations.md", false, "cluster", 8)];

#[test]
fn every_proof_that_a_document_names_is_there() {
    for (document, names_files, folder, at_least) in PROVEN {
        let (mut named, mut missing) = (0, Vec::new());
        for cell in read(&root().join(document))
            .lines()
            .filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next())
        {
            let mut tests = String::new();
            for word in cell.split('`').skip(1).step_by(2) {
                let (file, test) = word.split_once("::").unwrap_or((word, ""));
                // Modules of crates and files of `tests/peers` are named too.
                if !file.is_empty() && !file.contains('_') || file.starts_with("test_") {
                    continue;
                }
                if test.is_empty() && !names_files {
                    continue;
                }
                if !file.is_empty() {
                    let path = root().join(format!("crates/toolgate/tests/{folder}/{file}.rs"));
                    tests = fs::read_to_string(path).unwrap_or_default();
                }
                named += 1;
                if tests.is_empty() || !tests.contains(&format!("fn {test}")) {
                    missing.push(word.to_owned());
                }
            }
        }
        assert!(named > at_least, "{document} names only {named} proofs: it is written in another way now");
        assert!(missing.is_empty(), "{document}: there is no such test: {missing:?}");
    }
}

#[test]
fn every_metric_that_operators_are_told_to_watch_is_there() {
    let known = read(&root().join("docs/metrics.md"));
    let text = read(&root().join("docs/operations.md"));
    let (mut named, mut missing) = (0, Vec::new());
    for word in text.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '_')) {
        if word.starts_with("toolgate_") {
            named += 1;
            if !known.contains(&format!("`{word}`")) {
                missing.push(word);
            }
        }
    }
    assert!(named > 10 && missing.is_empty(), "of {named} metrics, these are not there: {missing:?}");
}

#[test]
fn every_file_on_the_map_is_there() {
    let map = read(&root().join("ARCHITECTURE.md"));
    let (mut files, mut gone) = (0, Vec::new());
    for row in map.lines().filter(|line| line.starts_with("| `crates/")) {
        let cell = row.split(" | ").next().unwrap_or_default();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        // The names behind the first one stand in the same folder.
        let folder = Path::new(names.first().copied().unwrap_or_default()).parent().unwrap_or(Path::new(""));
        for (at, name) in names.iter().enumerate() {
            let path = if at == 0 { PathBuf::from(name) } else { folder.join(name) };
            files += 1;
            if !root().join(&path).exists() {
                gone.push(path.display().to_string());
            }
        }
    }
    assert!(files > 40 && gone.is_empty(), "of {files} files, these are not there: {}", gone.join(", "));
}

#[test]
fn every_folder_of_examples_is_among_them() {
    let folders = fs::read_dir(root().join("examples")).expect("there are examples");
    for folder in folders {
        let name = folder.expect("it can be listed").file_name().into_string().expect("names are UTF-8");
        assert!(FOLDERS.contains(&format!("examples/{name}").as_str()), "FOLDERS lacks examples/{name}");
    }
}

#[test]
fn every_snippet_in_the_documents_can_be_read() {
    let (mut services, mut policies) = (0, 0);
    for document in documents() {
        let text = read(&document);
        for (line, block) in blocks(&text) {
            let place = format!("{}:{line}", document.display());
            match block.lines().next().unwrap_or_default() {
                "services:" => {
                    declared(&place, &block);
                    services += 1;
                }
                "version: 1" => {
                    check_policy(&place, &block);
                    policies += 1;
                }
                "roles:" => {
                    check_policy(&place, &format!("version: 1\n{block}"));
                    policies += 1;
                }
                _ => {}
            }
        }
    }
    assert!(services >= 3 && policies >= 2, "{services} services files and {policies} policies were found");
}

#[test]
fn every_example_can_be_read() {
    for folder in FOLDERS.iter().filter(|folder| folder.starts_with("examples/")) {
        let folder = root().join(folder);
        let (services, policy) = (folder.join("services.yaml"), folder.join("policy.yaml"));
        assert!(services.exists() || policy.exists(), "{} shows nothing", folder.display());
        if services.exists() {
            declared(&folder.display().to_string(), &read(&services));
        }
        if policy.exists() {
            check_policy(&folder.display().to_string(), &read(&policy));
        }
    }
}

/// Documentation tests are switched off (`doctest = false`): code that nobody runs would only look like a proof.
#[test]
fn no_documentation_comment_has_code_that_nobody_runs() {
    let mut folders: Vec<_> =
        ["crates", "xtask", "tests/simulation"].map(|folder| root().join(folder)).into();
    let (mut found, mut seen) = (Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder)
            .expect("the folder can be read")
            .map(|entry| entry.expect("it has a name").path())
        {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            seen += 1;
            let text = read(&path);
            let fences = text.lines().map(str::trim_start).filter_map(|line| {
                line.strip_prefix("///").or(line.strip_prefix("//!"))?.trim_start().strip_prefix("```")
            });
            // Every second one closes.
            if fences.step_by(2).any(|kind| kind.trim() != "text") {
                found.push(path.display().to_string());
            }
        }
    }
    assert!(seen > 300, "only {seen} files were looked at");
    assert!(found.is_empty(), "code in documentation, which no test runs: {}", found.join(", "));
}

#[test]
fn the_reference_has_every_key_and_a_snippet_of_every_kind_of_credential() {
    let reference = read(&root().join("docs/services.md"));
    for kind in ["mcp", "http"] {
        let text =
            format!("services:\n  - {{ name: a, kind: {kind}, url: \"https://a.example\", zzzzzzzz: 1 }}\n");
        let faults = parse_declarations("services.yaml", &text).expect_err("there is no such key");
        for key in known(&render_all(&faults)) {
            assert!(
                reference.contains(&format!("\n| `{key}` | ")),
                "docs/services.md lacks `{key}` of `{kind}`"
            );
        }
    }

    let shown: BTreeSet<String> = blocks(&reference)
        .into_iter()
        .filter(|(_, block)| block.starts_with("services:\n"))
        .flat_map(|(line, block)| declared(&format!("docs/services.md:{line}"), &block))
        .flat_map(|declared| declared.service.credentials)
        .map(|slot| slot.kind.word().to_owned())
        .collect();
    assert_eq!(shown, KIND_WORDS.map(str::to_owned).into(), "kinds with a snippet");
}

/// The words of a sentence that ends in `known: a, b, c`.
fn known(sentence: &str) -> Vec<String> {
    let (_, list) =
        sentence.split_once("known: ").unwrap_or_else(|| panic!("nothing is known in {sentence}"));
    let list = list.lines().next().unwrap_or_default();
    list.split(", ").map(str::to_owned).collect()
}

fn declared(place: &str, text: &str) -> Vec<Declared> {
    parse_declarations(place, text).unwrap_or_else(|faults| panic!("{}", render_all(&faults)))
}

fn check_policy(place: &str, text: &str) {
    if let Err(faults) = policy::parse(place, text) {
        panic!("{}", render_all(&faults));
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents() -> Vec<PathBuf> {
    let documents: Vec<PathBuf> =
        FOLDERS.iter().flat_map(|folder| documents_in(&root().join(folder))).collect();
    assert!(documents.iter().any(|path| path.ends_with("README.md")), "the README is among them");
    documents
}

fn documents_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The indented code blocks of a document (CommonMark §4.4), each with the number of its first line.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let (mut open, mut after_blank) = (false, true);
    for (number, line) in (1..).zip(text.lines()) {
        match line.strip_prefix("    ") {
            Some(code) if open || after_blank => {
                if !open {
                    blocks.push((number, String::new()));
                }
                open = true;
                if let Some((_, block)) = blocks.last_mut() {
                    block.push_str(code);
                    block.push('\n');
                }
            }
            _ if line.trim().is_empty() => {
                if let Some((_, block)) = blocks.last_mut().filter(|_| open) {
                    block.push('\n');
                }
            }
            _ => open = false,
        }
        after_blank = line.trim().is_empty();
    }
    blocks
}

/// The targets of `[text](target)`, without those on the web, those on the same page, and the `#part`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split_once('#').map_or(target, |(file, _)| file))
        .filter(|target| !target.is_empty() && !target.contains("://"))
}
