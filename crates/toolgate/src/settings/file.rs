//! Settings as `toolgate.yaml` has them: read along the table, every fault told at its place.

use domain::yaml::{self, Node, Problem, Source};

use super::{
    entries::Fault,
    issuers,
    kind::{Kind, Value},
    notify,
    sources::{Choices, Faults, From},
    table::{SETTINGS, Setting},
};

/// Reads the settings file into `choices`. A file of comments chooses nothing.
///
/// # Errors
/// Every fault of the file.
pub fn read(choices: &mut Choices, name: &str, text: &str) -> Result<(), Faults> {
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.trim_start_matches('\u{feff}').lines().all(blank) {
        return Ok(());
    }
    let tree = yaml::parse(name, text).map_err(Faults::File)?;
    let mut reader = FileReader { source: Source { file: name, text }, choices, problems: Vec::new() };
    reader.group("", &tree);
    let problems = reader.problems;
    if problems.is_empty() { Ok(()) } else { Err(Faults::File(problems)) }
}

/// Walks the tree of the settings file and collects every problem.
struct FileReader<'a> {
    source: Source<'a>,
    choices: &'a mut Choices,
    problems: Vec<Problem>,
}

impl FileReader<'_> {
    fn group(&mut self, prefix: &str, node: &Node) {
        if node.is_null() && !prefix.is_empty() {
            return; // `gateway:` with everything below it commented out
        }
        let Some(members) = node.as_map() else {
            let what = if prefix.is_empty() { "settings" } else { prefix.trim_end_matches('.') };
            let message = format!("{what} must be a mapping, this is {}", node.kind());
            self.problems.push(self.source.error(node.place, message));
            return;
        };
        for (key, value) in members {
            let path = format!("{prefix}{}", key.text);
            let below = format!("{path}.");
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.path == path) {
                self.leaf(setting, value);
            } else if SETTINGS.iter().any(|setting| setting.path.starts_with(&below)) {
                self.group(&below, value);
            } else {
                let mut known: Vec<&str> = SETTINGS
                    .iter()
                    .filter_map(|setting| setting.path.strip_prefix(prefix)?.split('.').next())
                    .collect();
                known.dedup();
                self.problems.push(self.source.unknown_key(key, &known));
            }
        }
    }

    fn leaf(&mut self, setting: &'static Setting, node: &Node) {
        if node.is_null() {
            return; // the default stays
        }
        match setting.kind {
            Kind::Sinks => {
                return self.entries(
                    setting,
                    node,
                    notify::read(node).map(Value::Sinks),
                    notify::without_paths,
                );
            }
            Kind::Issuers => {
                return self.entries(setting, node, issuers::read(node).map(Value::Issuers), str::to_owned);
            }
            _ => {}
        }
        let texts: Option<Vec<String>> = match node.as_list() {
            Some(list) => list.iter().map(|element| element.as_text().map(str::to_owned)).collect(),
            None => node.as_text().map(|text| vec![text.to_owned()]),
        };
        let Some(texts) = texts else {
            let message =
                format!("`{}` is {}; this is {}", setting.path, setting.kind.describe(), node.kind());
            self.problems.push(self.source.error(node.place, message));
            return;
        };
        let written =
            if node.as_list().is_some() { format!("[{}]", texts.join(", ")) } else { texts.concat() };
        let from = From::File(self.source.file.to_owned(), node.place.line);
        if let Err((what, instead)) = self.choices.put(setting, texts, &written, from) {
            let mut problem = self.source.error(node.place, format!("{what}; {instead}"));
            if let (Kind::Variable, Some(text)) = (setting.kind, node.as_text()) {
                // It may be the secret itself, put in the wrong place.
                let stars = "*".repeat(text.chars().count());
                problem.line_text = problem.line_text.replace(text, &stars);
            }
            self.problems.push(problem);
        }
    }

    /// Takes a list of mappings, or tells its faults, on lines as they may be shown.
    fn entries(
        &mut self,
        setting: &'static Setting,
        node: &Node,
        read: Result<Value, Vec<Fault>>,
        shown: fn(&str) -> String,
    ) {
        match read {
            Ok(value) => {
                let from = From::File(self.source.file.to_owned(), node.place.line);
                self.choices.put_value(setting, value, "", from);
            }
            Err(faults) => self.problems.extend(faults.into_iter().map(|fault| {
                let message = format!("{}; {}", fault.what, fault.instead);
                let mut problem = self.source.error(fault.place, message);
                problem.line_text = shown(&problem.line_text);
                problem
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sources::Sources, *};

    fn file(text: &str) -> Sources<'_> {
        Sources { file: Some(("toolgate.yaml", text)), ..Sources::default() }
    }

    fn faults(sources: &Sources<'_>) -> String {
        sources.choose().unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place_and_a_guess() {
        assert_eq!(
            faults(&file("gateway:\n  listn: 127.0.0.1:1\naudti: {}\n")),
            "toolgate.yaml:2:3: error: unknown key `listn`; did you mean `listen`?\n   \
             2 |   listn: 127.0.0.1:1\n     |   ^^^^^\n\
             toolgate.yaml:3:1: error: unknown key `audti`; did you mean `audit`?\n   \
             3 | audti: {}\n     | ^^^^^"
        );
    }

    #[test]
    fn a_wrong_value_is_an_error_with_its_place() {
        let text = faults(&file("gateway: { body_limit: 10 MiB, insecure: maybe, listen: [a] }"));
        for part in
            ["toolgate.yaml:1:24: error: `10 MiB` is no size", "`maybe` is neither", "`a` is no address"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(faults(&file("- a")).contains("settings must be a mapping"));
        assert!(faults(&file("gateway: 3")).contains("gateway must be a mapping"));
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_shown() {
        for text in [
            "vault: { key_env: 4OHi4+Tl5ufo6err7O3u7/Dx }",
            "vault: { passphrase_env: 'four OHi4+Tl5ufo6err7O3u7/Dx words' }",
            "vault: { passphrase: 4OHi4+Tl5ufo6err7O3u7/Dx }",
            "store: { url: mysql://ada:4OHi4+Tl5ufo6err7O3u7%2FDx@db/x }",
            "gateway: { public_url: 'https://ada:4OHi4+Tl5ufo6err7O3u7@db/x' }",
        ] {
            let said = faults(&file(text));
            assert!(!said.contains("4OHi4") && said.contains("****"), "{said}");
        }
    }

    #[test]
    fn a_file_of_comments_and_empty_groups_chooses_nothing() {
        for text in ["", "# all defaults\n\n", "gateway:\n  # listen: x\nconsole: {}\npolicy: { path: }\n"] {
            let choices = file(text).choose().unwrap();
            assert!(choices.all().iter().all(|choice| choice.from == From::Default), "{text}");
        }
    }
}
