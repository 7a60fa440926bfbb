//! `toolgate audit`: the trail, read. It changes nothing and decides nothing.

mod calls;
mod export;
mod filters;
mod show;
mod tail;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use self::filters::Filters;
pub use self::verify::as_json;
use super::{Context, Verdict, usage::rows};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/audit_list.txt"))]
    List {
        #[command(flatten)]
        filters: Filters,
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = rows, allow_negative_numbers = true)]
        limit: u32,
    },
    #[command(override_help = include_str!("help/audit_show.txt"))]
    Show {
        #[arg(value_name = "CALL")]
        call: String,
    },
    #[command(override_help = include_str!("help/audit_tail.txt"))]
    Tail {
        #[command(flatten)]
        filters: Filters,
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
        limit: u32,
    },
    #[command(override_help = include_str!("help/audit_verify.txt"))]
    Verify {
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    #[command(override_help = include_str!("help/audit_export.txt"))]
    Export {
        #[command(flatten)]
        filters: Filters,
        #[arg(long, value_name = "F", value_enum, default_value_t)]
        format: export::Format,
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: Option<u32>,
    },
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    context.block_on(async {
        let desk = context.desk().await?;
        let store = desk.store();
        let verdict = match command {
            Command::List { filters, limit } => calls::list(context, &desk, &filters, limit).await,
            Command::Show { call } => show::show(context, store, &call).await,
            Command::Tail { filters, limit } => tail::tail(context, &desk, &filters, limit).await,
            Command::Verify { checkpoint } => verify::verify(context, store, checkpoint.as_deref()).await,
            Command::Export { filters, format, limit } => {
                export::export(context, &desk, &filters, format, limit).await
            }
        };
        desk.close().await;
        verdict
    })
}
