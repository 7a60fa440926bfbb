//! `audit export`: every event to stdout, the oldest first, as it was hashed or as a table for spreadsheets.

use std::{
    collections::VecDeque,
    io::{BufWriter, Write as _},
};

use admin::CallFilter;
use clap::ValueEnum;
use jiff::Timestamp;
use store::EventRow;

use super::{
    super::{Context, Verdict, context::Desk},
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
    desk: &Desk,
    filters: &Filters,
    format: Format,
    limit: Option<u32>,
) -> anyhow::Result<Verdict> {
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    if format == Format::Csv {
        out.write_all(admin::csv_head().as_bytes())?;
    }
    let mut write = |event: &EventRow| match format {
        Format::Jsonl => writeln!(out, "{}", event.json()),
        Format::Csv => out.write_all(admin::csv_line(event).as_bytes()),
    };
    let now = context.now();
    let filter = filters.filter(now);
    // What is appended while it is written is not in it.
    let end = desk.admin.newest_event().await?;
    if let Some(limit) = limit {
        newest(desk, now.wall, &filter, end, limit).await?.iter().try_for_each(write)?;
    } else {
        let mut after = Some(0);
        while let Some(behind) = after {
            let found = desk.admin.export(now.wall, &filter, behind, end).await?;
            found.events.iter().try_for_each(&mut write)?;
            after = found.next;
        }
    }
    out.flush()?;
    Ok(Verdict::Done)
}

/// The newest `limit` events up to `end` that fit, the oldest of them first. All that fit are read for it.
pub async fn newest(
    desk: &Desk,
    now: Timestamp,
    filter: &CallFilter,
    end: i64,
    limit: u32,
) -> anyhow::Result<VecDeque<EventRow>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut kept, mut after) = (VecDeque::new(), Some(0));
    while let Some(behind) = after {
        let found = desk.admin.export(now, filter, behind, end).await?;
        kept.extend(found.events);
        kept.drain(..kept.len().saturating_sub(limit));
        after = found.next;
    }
    Ok(kept)
}
