//! The command line: one variant a command, one file a command group, one place where errors are printed.
//! Commands parse, ask the crates below, and print; they decide nothing themselves.

mod agents;
mod approvals;
mod audit;
mod bridge;
mod completions;
mod config;
mod connect;
mod context;
mod credentials;
mod demo;
mod doctor;
mod ends;
mod health;
mod init;
mod keys;
mod kill;
mod operators;
mod policy;
mod progress;
mod serve;
mod servers;
mod services;
mod store;
mod usage;
mod vault;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use self::context::{Context, read_optional, read_trusted};
use crate::{
    output::{Color, Output, Style, advice, escape_foreign},
    settings::Faults,
};

/// How a command ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or the check says yes.
    Done,
    /// The check says no; the answer has told why.
    No,
}

#[derive(Debug, Parser)]
#[command(name = "toolgate", version, override_help = include_str!("commands/help/toolgate.txt"))]
#[command(disable_help_subcommand = true, subcommand_required = true)]
struct CommandLine {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes, before or behind its name.
#[derive(Debug, Args)]
pub struct Globals {
    /// The home.
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// No talk.
    #[arg(long, global = true)]
    quiet: bool,
    /// When colours are used.
    #[arg(long, global = true, value_enum, default_value_t)]
    color: Color,
    /// A setting, as `path=value`.
    #[arg(long, global = true, value_name = "PATH=VALUE", hide = true)]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(override_help = include_str!("commands/help/demo.txt"))]
    Demo(demo::Options),
    #[command(override_help = include_str!("commands/help/init.txt"))]
    Init(init::Options),
    #[command(override_help = include_str!("commands/help/serve.txt"))]
    Serve,
    #[command(override_help = include_str!("commands/help/doctor.txt"))]
    Doctor,
    #[command(override_help = include_str!("commands/help/health.txt"))]
    Health(health::Options),
    #[command(subcommand, override_help = include_str!("commands/help/services.txt"))]
    Services(services::Command),
    #[command(subcommand, override_help = include_str!("commands/help/credentials.txt"))]
    Credentials(credentials::Command),
    #[command(subcommand, override_help = include_str!("commands/help/agents.txt"))]
    Agents(agents::Command),
    #[command(subcommand, override_help = include_str!("commands/help/keys.txt"))]
    Keys(keys::Command),
    #[command(override_help = include_str!("commands/help/connect.txt"))]
    Connect(connect::Options),
    #[command(override_help = include_str!("commands/help/bridge.txt"))]
    Bridge(bridge::Options),
    #[command(subcommand, override_help = include_str!("commands/help/policy.txt"))]
    Policy(policy::Command),
    #[command(subcommand, override_help = include_str!("commands/help/approvals.txt"))]
    Approvals(approvals::Command),
    #[command(subcommand, override_help = include_str!("commands/help/kill.txt"))]
    Kill(kill::Command),
    #[command(subcommand, override_help = include_str!("commands/help/audit.txt"))]
    Audit(audit::Command),
    #[command(subcommand, override_help = include_str!("commands/help/operators.txt"))]
    Operators(operators::Command),
    #[command(subcommand, override_help = include_str!("commands/help/vault.txt"))]
    Vault(vault::Command),
    #[command(subcommand, override_help = include_str!("commands/help/store.txt"))]
    Store(store::Command),
    #[command(subcommand, override_help = include_str!("commands/help/config.txt"))]
    Config(config::Command),
    #[command(override_help = include_str!("commands/help/completions.txt"))]
    Completions(completions::Options),
}

/// Runs one command line: `argv[0]` and its arguments.
#[must_use]
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let command_line = match CommandLine::try_parse_from(&arguments) {
        Ok(command_line) => command_line,
        Err(error) => return usage::explain(&error, &arguments, &CommandLine::command()),
    };
    let globals = &command_line.globals;
    let output = Output::new(globals.color, globals.json, globals.quiet);
    // The bridge needs no home, and reads no `.env`.
    if let Command::Bridge(options) = &command_line.command {
        return ended(bridge::run(options, &output), &output, &str::to_owned, false);
    }
    match Context::new(globals, output, arguments.first()) {
        Ok(context) => {
            let result = dispatch(command_line.command, &context);
            let causes = result.is_err() && context.wants_causes();
            ended(result, &output, &|sentence| context.invocation.adapt(sentence), causes)
        }
        Err(error) => ended(Err(error), &output, &str::to_owned, false),
    }
}

fn ended(
    result: anyhow::Result<Verdict>,
    output: &Output,
    adapt: &dyn Fn(&str) -> String,
    causes: bool,
) -> ExitCode {
    match result {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error, output, adapt, causes),
    }
}

fn dispatch(command: Command, context: &Context) -> anyhow::Result<Verdict> {
    match command {
        Command::Demo(options) => demo::run(context, &options),
        Command::Init(options) => init::run(context, &options),
        Command::Serve => serve::run(context),
        Command::Doctor => doctor::run(context),
        Command::Health(options) => health::run(context, &options),
        Command::Services(command) => services::run(context, command),
        Command::Credentials(command) => credentials::run(context, command),
        Command::Agents(command) => agents::run(context, command),
        Command::Keys(command) => keys::run(context, command),
        Command::Connect(options) => connect::run(context, &options),
        // Told apart above; it is here so that the match stays complete.
        Command::Bridge(options) => bridge::run(&options, &context.output),
        Command::Policy(command) => policy::run(context, command),
        Command::Approvals(command) => approvals::run(context, command),
        Command::Kill(command) => kill::run(context, command),
        Command::Audit(command) => audit::run(context, command),
        Command::Operators(command) => operators::run(context, command),
        Command::Vault(command) => vault::run(context, command),
        Command::Store(command) => store::run(context, command),
        Command::Config(command) => config::run(context, &command),
        Command::Completions(options) => completions::run(context, &options, CommandLine::command()),
    }
}

/// Prints an error: one sentence, or the faults of a file with their lines. Causes only where asked for. What is wrong on
/// the command line ends with 2, as with whatever reads it first.
fn failed(error: &anyhow::Error, output: &Output, adapt: &dyn Fn(&str) -> String, causes: bool) -> ExitCode {
    if let Some(Faults::File(problems)) = error.downcast_ref() {
        for problem in problems {
            output.complain(problem.to_string());
        }
    } else {
        // Names of files come from anywhere, and a sentence is one line.
        let sentence = adapt(&advice::sentence(error));
        let sentence = escape_foreign(&sentence);
        output.complain(format!("{} {sentence}", output.stderr.paint(Style::Red, "error:")));
    }
    if causes {
        for cause in error.chain().skip(1) {
            output.complain(format!("  because {cause}"));
        }
    }
    ExitCode::from(if matches!(error.downcast_ref(), Some(Faults::Usage(_))) { 2 } else { 1 })
}

/// `toolgate … | head` is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_command(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&clap::Command, &str)) {
        visit(command, path);
        for below in command.get_subcommands() {
            every_command(below, &format!("{path} {}", below.get_name()), visit);
        }
    }

    #[test]
    fn every_help_page_names_its_usage_options_and_an_example() {
        every_command(&CommandLine::command(), "toolgate", &mut |command, path| {
            let page = command.clone().render_help().to_string();
            assert!(page.contains(&format!("Usage: {path}")), "{path}:\n{page}");
            assert!(page.contains("Example: "), "{path}");
            assert!(page.lines().all(|line| line.chars().count() <= 100), "{path} is wider than 100");
            for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
                if let Some(long) = argument.get_long().filter(|_| !argument.is_hide_set()) {
                    assert!(
                        long == "help" || long == "version" || page.contains(&format!("--{long}")),
                        "{path} --{long}"
                    );
                }
            }
            for below in command.get_subcommands() {
                assert!(page.contains(below.get_name()), "{path} {}", below.get_name());
            }
        });
    }

    #[test]
    fn the_command_tree_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
