//! `audit export`: every event to stdout, the oldest first, as it was hashed or as a table for spreadsheets.

use std::{
    io::{BufWriter, Write as _},
    ops::ControlFlow,
};

use clap::ValueEnum;
use store::Store;

use super::{
    super::{Context, Verdict},
    Filters,
};

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// One JSON object a line: the record's own bytes, its hash added as the last member.
    #[default]
    Jsonl,
    /// Comma-separated values (RFC 4180) with a head.
    Csv,
}

pub async fn export(
    context: &Context,
    store: &Store,
    filters: &Filters,
    format: Format,
) -> anyhow::Result<Verdict> {
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    if format == Format::Csv {
        out.write_all(admin::csv_head().as_bytes())?;
    }
    let mut written = Ok(());
    store
        .for_each_event(&filters.query(context.now()), |event| {
            written = match format {
                Format::Jsonl => writeln!(out, "{}", event.json()),
                Format::Csv => out.write_all(admin::csv_line(&event).as_bytes()),
            };
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await?;
    written.and_then(|()| out.flush())?;
    Ok(Verdict::Done)
}
