//! `approvals watch`: the inbox live. On a terminal a full screen where decisions are made; elsewhere a line a change.

mod draw;
mod follow;
mod keys;
mod lines;
mod model;
mod screen;
mod session;

use std::{io::IsTerminal as _, time::Duration};

use crate::commands::{Context, Verdict};

/// How often the store is asked whether something changed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub fn run(context: &Context) -> anyhow::Result<Verdict> {
    let output = &context.output;
    if output.json || !output.stdout.terminal || !std::io::stdin().is_terminal() {
        return context.block_on(lines::print(context));
    }
    let operator = context.operator()?;
    context.block_on(session::run(context, operator))
}
