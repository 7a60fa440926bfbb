//! `toolgate completions SHELL`: a script for the shell's own completion.

use clap::Args;
use clap_complete::Shell;

use super::{Context, Verdict};

#[derive(Debug, Args)]
pub struct Options {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn run(context: &Context, options: &Options, mut command: clap::Command) -> anyhow::Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "toolgate", &mut script);
    context.output.raw(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Verdict::Done)
}
