//! Command lines that make no sense: one sentence, the one `--help` to read, exit 2.

use std::{ffi::OsString, process::ExitCode, time::Duration};

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    output::{Color, Output, escape_foreign, program},
    settings::duration,
};

/// Names that people type for commands which have another here. Each group is one wish.
const SYNONYMS: [&[&str]; 5] = [
    &["delete", "remove", "revoke", "rm", "del"],
    &["list", "ls"],
    &["show", "get", "describe", "view", "inspect"],
    &["create", "add", "new", "make"],
    &["serve", "start", "run", "up"],
];

/// Prints a help page or the version when that was asked for, else what is wrong with the command line.
pub fn explain(error: &clap::Error, arguments: &[OsString], root: &Command) -> ExitCode {
    let output = Output::new(color(arguments), false, false);
    let (path, command) = deepest(arguments, root);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe is nothing to complain about.
            let _ = output.answer(error.render().to_string().trim_end());
            ExitCode::SUCCESS
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output.complain(command.clone().render_help().to_string().trim_end());
            ExitCode::from(2)
        }
        _ => {
            let sentence = sentence(error, command);
            let pause = if sentence.ends_with('?') { "" } else { ";" };
            let program = program(arguments.first().map(OsString::as_os_str));
            output.complain(format!("error: {sentence}{pause} see {program}{path} --help"));
            ExitCode::from(2)
        }
    }
}

/// A length of time from now on, as `--expires` takes it.
///
/// # Errors
/// One sentence when it is none.
pub fn lifetime(text: &str) -> Result<Duration, String> {
    let shown = escape_foreign(text);
    duration(text)
        .ok_or_else(|| format!("`{shown}` is no length of time up to ten years; write it like 30d or 12h"))
}

/// A number of rows, as lists take it.
///
/// # Errors
/// One sentence when it is none, or out of bounds.
pub fn rows(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=100_000).contains(number));
    let shown = escape_foreign(text);
    number.ok_or_else(|| format!("`{shown}` is no number from 1 to 100,000; write it like 50"))
}

fn sentence(error: &clap::Error, command: &Command) -> String {
    let context = |kind| error.get(kind).map(texts).filter(|texts| !texts.is_empty());
    let first = |kind| context(kind).and_then(|texts| texts.into_iter().next());
    let argument = || first(ContextKind::InvalidArg).map(|argument| plain(&argument)).unwrap_or_default();
    // The last one is the nearest.
    let near = |kind| context(kind).and_then(|mut texts| texts.pop());
    let hint =
        |near: Option<String>| near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = first(ContextKind::InvalidSubcommand).unwrap_or_default();
            // `help` is near to `health`, and nobody who types it means that.
            let near = match name.as_str() {
                "help" => None,
                _ => near(ContextKind::SuggestedSubcommand).or_else(|| synonym(&name, command)),
            };
            format!("there is no command `{}`{}", escape_foreign(&name), hint(near))
        }
        ErrorKind::UnknownArgument => {
            let argument = argument();
            let what = if argument.starts_with('-') { "there is no option" } else { "there is no place for" };
            format!("{what} `{}`{}", escape_foreign(&argument), hint(near(ContextKind::SuggestedArg)))
        }
        ErrorKind::MissingRequiredArgument => {
            let mut missing: Vec<String> = context(ContextKind::InvalidArg)
                .unwrap_or_default()
                .iter()
                .map(|argument| plain(argument))
                .collect();
            match (missing.pop(), missing.is_empty()) {
                (last, true) => format!("{} is missing", last.unwrap_or_default()),
                (last, false) => {
                    format!("{} and {} are missing", missing.join(", "), last.unwrap_or_default())
                }
            }
        }
        ErrorKind::InvalidValue => match first(ContextKind::InvalidValue) {
            None => format!("{} needs a value", argument()),
            Some(value) => {
                let known = context(ContextKind::ValidValue)
                    .map(|known| format!(" ({})", known.join(", ")))
                    .unwrap_or_default();
                let near = hint(near(ContextKind::SuggestedValue));
                format!("`{}` is no value of {}{known}{near}", escape_foreign(&value), argument())
            }
        },
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            match cause.split_once("; ") {
                Some((what, instead)) => format!("{what} ({}); {instead}", argument()),
                None => format!("{cause} ({})", argument()),
            }
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8 text; write it as UTF-8".to_owned(),
        ErrorKind::ArgumentConflict => {
            let (argument, other) = (argument(), first(ContextKind::PriorArg));
            let other = other.map(|other| plain(&other)).unwrap_or_default();
            if other == argument || other.is_empty() {
                format!("{argument} is there twice")
            } else {
                format!("{argument} and {other} do not go together")
            }
        }
        _ => {
            let rendered = error.render().to_string();
            let first = rendered.lines().next().unwrap_or_default();
            escape_foreign(first.trim_start_matches("error: ")).into_owned()
        }
    }
}

/// What `name` is called here.
fn synonym(name: &str, command: &Command) -> Option<String> {
    let wish = SYNONYMS.iter().find(|wish| wish.contains(&name))?;
    wish.iter().find(|other| command.find_subcommand(other).is_some()).map(|&other| other.to_owned())
}

fn texts(value: &ContextValue) -> Vec<String> {
    match value {
        ContextValue::String(text) if text.is_empty() => Vec::new(),
        ContextValue::String(text) => vec![text.clone()],
        ContextValue::Strings(texts) => texts.clone(),
        ContextValue::StyledStr(text) => vec![text.to_string()],
        _ => Vec::new(),
    }
}

/// clap's `<AGENT>`, `[SERVICE]`, `--role <R>` and `<--tool <T>|--request <R>>` as our pages write them: `AGENT`,
/// `SERVICE`, `--role`, `--tool or --request`.
fn plain(argument: &str) -> String {
    let option = |one: &str| match one.split_once(" <") {
        Some((option, _)) => option.trim_start_matches('<').to_owned(),
        None => one.replace(['<', '>', '[', ']'], ""),
    };
    match argument.rsplit_once('|') {
        Some((others, last)) => {
            let others: Vec<_> = others.split('|').map(option).collect();
            format!("{} or {}", others.join(", "), option(last))
        }
        None => option(argument),
    }
}

/// The command that the arguments reach, and how it is typed behind the program's name.
fn deepest<'c>(arguments: &[OsString], root: &'c Command) -> (String, &'c Command) {
    let (mut path, mut command) = (String::new(), root);
    for argument in arguments.iter().skip(1).filter_map(|argument| argument.to_str()) {
        if let Some(below) = command.find_subcommand(argument) {
            path = format!("{path} {argument}");
            command = below;
        }
    }
    (path, command)
}

/// `--color` before anything was parsed.
fn color(arguments: &[OsString]) -> Color {
    let mut arguments = arguments.iter().filter_map(|argument| argument.to_str());
    while let Some(argument) = arguments.next() {
        let value = if argument == "--color" { arguments.next() } else { argument.strip_prefix("--color=") };
        match value {
            Some("always") => return Color::Always,
            Some("never") => return Color::Never,
            _ => {}
        }
    }
    Color::Auto
}
