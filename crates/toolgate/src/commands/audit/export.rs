//! `audit export`: every event to stdout, the oldest first, as it was hashed or as a table for spreadsheets.

use std::io::{BufWriter, Write as _};

use clap::ValueEnum;

use super::{
    super::{Context, Verdict, context::Desk},
    CallFilters,
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
    desk: &Desk,
    filters: &CallFilters,
    format: Format,
) -> anyhow::Result<Verdict> {
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    if format == Format::Csv {
        out.write_all(admin::csv_head().as_bytes())?;
    }
    let now = context.now();
    let filter = filters.filter(now);
    // What is appended while it is written is not in it.
    let end = desk.admin.newest_event().await?;
    let mut after = Some(0);
    while let Some(behind) = after {
        let found = desk.admin.export(now.wall, &filter, behind, end).await?;
        for event in &found.events {
            match format {
                Format::Jsonl => writeln!(out, "{}", event.json())?,
                Format::Csv => out.write_all(admin::csv_line(event).as_bytes())?,
            }
        }
        after = found.next;
    }
    out.flush()?;
    Ok(Verdict::Done)
}
