//! Reads `when:`, and finds where in the file a fault inside it is.

use std::{ops::Range, sync::Arc};

use super::{super::Condition, Member, Reader, find};
use crate::yaml::{Node, Place};

/// A fault is looked for in so many lines from the start of the value on.
const LINES_MAX: usize = 64;

impl Reader<'_> {
    pub(super) fn read_when(&mut self, members: &[&Member]) -> Option<Arc<Condition>> {
        let node = find(members, "when")?;
        let text = self.text_of(node, "`when`", "`args.amount > 1000`")?;
        match Condition::parse(text) {
            Ok(condition) => Some(Arc::new(condition)),
            Err(fault) => {
                self.error(self.place_inside(node, text, fault.range()), fault.message());
                None
            }
        }
    }

    /// Where a part of a scalar's text stands in the file. Quotes, `|` and `>` do not matter; where an escape hides
    /// the part, it is the place of the whole scalar.
    fn place_inside(&self, node: &Node, text: &str, part: Range<usize>) -> Place {
        let before = text.get(..part.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let wrong = text.get(part).unwrap_or_default().lines().next().unwrap_or_default();
        let width = wrong.chars().count().max(1);
        let indent = before.get(line_start..).unwrap_or_default().chars().count();
        let whole_line = self.find_below(node.place, line).map(|place| (place, indent));
        // Folded into another shape, only what stands there once can be told apart.
        let once = || Some(wrong).filter(|wrong| text.matches(wrong).count() == 1);
        match whole_line.or_else(|| self.find_below(node.place, once()?).map(|place| (place, 0))) {
            Some((found, indent)) => Place { column: found.column + indent, width, ..found },
            None => node.place,
        }
    }

    /// The first place from `start` on where `needle` stands.
    fn find_below(&self, start: Place, needle: &str) -> Option<Place> {
        if needle.trim().is_empty() {
            return None;
        }
        let lines = self.source.text.lines().enumerate().skip(start.line.checked_sub(1)?);
        lines.take(LINES_MAX).find_map(|(index, line)| {
            let skipped = if index + 1 == start.line { start.column.saturating_sub(1) } else { 0 };
            let from = line.char_indices().nth(skipped).map_or(line.len(), |(at, _)| at);
            let at = from + line.get(from..)?.find(needle)?;
            let column = line.get(..at)?.chars().count() + 1;
            Some(Place { line: index + 1, column, width: 0 })
        })
    }
}
