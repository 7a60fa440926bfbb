//! `toolgate audit`: the trail, read. It changes nothing and decides nothing.

mod calls;
mod export;
mod filters;
mod show;
mod tail;
mod verify;

use clap::Subcommand;

use self::filters::{CallFilters, Filters};
use super::{Context, Verdict};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/audit_list.txt"))]
    List {
        #[command(flatten)]
        filters: Filters,
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
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
    },
    #[command(override_help = include_str!("help/audit_verify.txt"))]
    Verify,
    #[command(override_help = include_str!("help/audit_export.txt"))]
    Export {
        #[command(flatten)]
        filters: CallFilters,
        #[arg(long, value_name = "F", value_enum, default_value_t)]
        format: export::Format,
    },
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    context.block_on(async {
        let desk = context.desk().await?;
        let store = desk.store();
        let verdict = match command {
            Command::List { filters, limit } => calls::list(context, store, &filters, limit).await,
            Command::Show { call } => show::show(context, store, &call).await,
            Command::Tail { filters } => tail::tail(context, store, &filters).await,
            Command::Verify => verify::verify(context, store).await,
            Command::Export { filters, format } => export::export(context, &desk, &filters, format).await,
        };
        desk.close().await;
        verdict
    })
}
