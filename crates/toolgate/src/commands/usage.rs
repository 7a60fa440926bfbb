//! Command lines that make no sense: one sentence, the one `--help` to read, exit 2.

use std::{ffi::OsString, process::ExitCode};

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::output::{Color, Output, escape_foreign};

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
            let sentence = sentence(error);
            let pause = if sentence.ends_with('?') { "" } else { ";" };
            output.complain(format!("error: {sentence}{pause} see {path} --help"));
            ExitCode::from(2)
        }
    }
}

fn sentence(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(text).filter(|text| !text.is_empty());
    let argument = context(ContextKind::InvalidArg).map(|argument| plain(&argument)).unwrap_or_default();
    let near = |kind| context(kind).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!(
                "there is no command `{}`{}",
                escape_foreign(&name),
                near(ContextKind::SuggestedSubcommand)
            )
        }
        ErrorKind::UnknownArgument => {
            let what = if argument.starts_with('-') { "there is no option" } else { "there is no place for" };
            format!("{what} `{}`{}", escape_foreign(&argument), near(ContextKind::SuggestedArg))
        }
        ErrorKind::MissingRequiredArgument => format!("{argument} is missing"),
        ErrorKind::InvalidValue => match context(ContextKind::InvalidValue) {
            None => format!("{argument} needs a value"),
            Some(value) => {
                let known =
                    context(ContextKind::ValidValue).map(|known| format!(" ({known})")).unwrap_or_default();
                let near = near(ContextKind::SuggestedValue);
                format!("`{}` is no value of {argument}{known}{near}", escape_foreign(&value))
            }
        },
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            format!("{cause} ({argument})")
        }
        ErrorKind::ArgumentConflict => {
            let other = context(ContextKind::PriorArg).map(|other| plain(&other)).unwrap_or_default();
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

fn text(value: &ContextValue) -> String {
    match value {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        ContextValue::StyledStr(text) => text.to_string(),
        _ => String::new(),
    }
}

/// clap's `<AGENT>` and `--role <R>` as our pages write them: `AGENT`, `--role`.
fn plain(argument: &str) -> String {
    let options: Vec<_> = argument
        .split(", ")
        .map(|one| match one.split_once(" <") {
            Some((option, _)) => option.to_owned(),
            None => one.replace(['<', '>'], ""),
        })
        .collect();
    options.join(", ")
}

/// The command that the arguments reach, and how it is typed.
fn deepest<'c>(arguments: &[OsString], root: &'c Command) -> (String, &'c Command) {
    let (mut path, mut command) = ("toolgate".to_owned(), root);
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
