//! Tables without borders: two spaces between columns, numbers on the right, the free text last.
//! On a terminal it is the free text that gives way; elsewhere nothing is cut.

use unicode_width::UnicodeWidthStr;

use super::{Stream, Style};

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column's head and alignment.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    head: &'static str,
    align: Align,
}

impl Column {
    /// A column of words.
    #[must_use]
    pub const fn left(head: &'static str) -> Self {
        Self { head, align: Align::Left }
    }
    /// A column of numbers.
    #[must_use]
    pub const fn right(head: &'static str) -> Self {
        Self { head, align: Align::Right }
    }
}

/// Rows under heads. Cells must be escaped already where they are foreign.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// Under so many columns a row becomes a block.
const BLOCKS_BELOW: usize = 80;

impl Table {
    /// An empty table; its last column is the one that is cut.
    #[must_use]
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row; an empty cell shows as `–`.
    pub fn row(&mut self, cells: impl Into<Vec<String>>) {
        let mut cells: Vec<String> = cells.into();
        for cell in &mut cells {
            if cell.is_empty() {
                cell.push('–');
            }
        }
        self.rows.push(cells);
    }

    /// The table's lines for a stream, heads first.
    #[must_use]
    pub fn lines(&self, stream: &Stream) -> Vec<String> {
        if stream.terminal && stream.width < BLOCKS_BELOW {
            return self.blocks(stream);
        }
        let heads: Vec<String> = self.columns.iter().map(|column| column.head.to_owned()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = self.rows.iter().filter_map(|row| row.get(at));
                cells.chain(heads.get(at)).map(|cell| cell.width()).max().unwrap_or(0)
            })
            .collect();
        let head = stream.paint(Style::Dim, self.line(&heads, &widths, stream)).into_owned();
        let rows = self.rows.iter().map(|row| self.line(row, &widths, stream));
        std::iter::once(head).chain(rows).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize], stream: &Stream) -> String {
        let mut line = String::new();
        for (at, ((cell, width), column)) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            let blank = " ".repeat(width.saturating_sub(cell.width()));
            if at > 0 {
                line.push_str("  ");
            }
            match column.align {
                Align::Left => line.extend([cell.as_str(), &blank]),
                Align::Right => line.extend([&blank, cell.as_str()]),
            }
        }
        line.truncate(line.trim_end().len());
        if stream.terminal { cut(&line, stream.width) } else { line }
    }

    fn blocks(&self, stream: &Stream) -> Vec<String> {
        let width = self.columns.iter().map(|column| column.head.width()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for row in &self.rows {
            for (cell, column) in row.iter().zip(&self.columns) {
                let head = format!("{:width$}", column.head);
                lines.push(format!("{}  {cell}", stream.paint(Style::Dim, head)));
            }
            lines.push(String::new());
        }
        lines.pop();
        lines
    }
}

/// The first `width` columns of a line, `…` at its end where something is left out.
#[must_use]
pub fn cut(line: &str, width: usize) -> String {
    if line.width() <= width {
        return line.to_owned();
    }
    let mut kept = String::new();
    for character in line.chars() {
        kept.push(character);
        if kept.width() >= width {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([Column::left("AGENT"), Column::right("CODE"), Column::left("WHY")]);
        table.row(["laptop".into(), "200".into(), "allow[0]".into()]);
        table.row([String::new(), "4".into(), "漢字".into()]);
        table
    }

    #[test]
    fn columns_stand_two_spaces_apart_and_numbers_on_the_right() {
        assert_eq!(
            table().lines(&Stream::plain()),
            ["AGENT   CODE  WHY", "laptop   200  allow[0]", "–          4  漢字"]
        );
    }

    #[test]
    fn a_terminal_cuts_the_end_of_the_line_and_a_file_does_not() {
        let mut table = Table::new([Column::left("A"), Column::left("TEXT")]);
        table.row(["a".into(), "x".repeat(200)]);
        let terminal = Stream { terminal: true, ..Stream::plain() };
        let line = table.lines(&terminal).pop().unwrap();
        assert_eq!(line.width(), 100);
        assert!(line.ends_with('…'));
        assert_eq!(table.lines(&Stream::plain()).pop().unwrap().len(), 203);
    }

    #[test]
    fn a_narrow_terminal_gets_blocks() {
        let narrow = Stream { terminal: true, width: 60, ..Stream::plain() };
        assert_eq!(
            table().lines(&narrow),
            ["AGENT  laptop", "CODE   200", "WHY    allow[0]", "", "AGENT  –", "CODE   4", "WHY    漢字"]
        );
    }
}
