//! The binary: commands, settings and wiring. Everything it decides is decided in the crates below it.

mod commands;
mod home;
mod logging;
mod output;
mod settings;
mod unlock;
mod wiring;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    commands::run(std::env::args_os().collect())
}
