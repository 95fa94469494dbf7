//! Rows of names and figures with aligned columns.

use std::fmt::Write as _;

use super::{Color, Ink};

/// Column in which figures begin, counted from the names' at the outermost level.
const NAME_WIDTH: usize = 35;
/// Dots behind the longest name at least.
const DOTS_MIN: usize = 3;

/// One figure; only `value` is padded and coloured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) label: String,
    pub(super) value: String,
}

impl Cell {
    pub(super) fn plain(value: String) -> Cell {
        Cell {
            label: String::new(),
            value,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    /// Stands below the metric that it is part of.
    pub(super) indented: bool,
    /// Trends align among themselves.
    pub(super) trend: bool,
    pub(super) cells: Vec<Cell>,
}

/// The width of the column of names for names of these lengths.
pub(super) fn name_width(lengths: impl Iterator<Item = usize>) -> usize {
    let longest = lengths.max().unwrap_or_default();
    NAME_WIDTH.max(longest + DOTS_MIN)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) color: Color,
    pub(super) level: usize,
    pub(super) name_width: usize,
}

impl Table {
    pub(super) fn write(self, text: &mut String, rows: &[Row]) {
        for row in rows {
            let indent = self.level + usize::from(row.indented);
            // Deeper levels have less room for names: figures of all levels stay aligned.
            let width = (self.name_width + 4).saturating_sub(2 * indent);
            let dots = width.saturating_sub(row.name.chars().count()).max(1);
            let dots = self
                .color
                .paint(&format!("{}:", ".".repeat(dots)), Ink::FaintWhite);
            let _ = write!(text, "{}{}{dots}", "  ".repeat(indent), row.name);
            let mut padding = 1;
            for (index, cell) in row.cells.iter().enumerate() {
                let ink = if row.trend || index == 0 {
                    Ink::Cyan
                } else {
                    Ink::FaintCyan
                };
                let value = self.color.paint(&cell.value, ink);
                let _ = write!(text, "{}{}{value}", " ".repeat(padding), cell.label);
                let width = column_width(rows, index, row.trend);
                padding = width - cell.value.chars().count() + 1;
            }
            text.push('\n');
        }
    }
}

fn column_width(rows: &[Row], index: usize, trend: bool) -> usize {
    let alike = rows.iter().filter(|row| row.trend == trend);
    let cells = alike.filter_map(|row| row.cells.get(index));
    cells
        .map(|cell| cell.value.chars().count())
        .max()
        .unwrap_or_default()
}
