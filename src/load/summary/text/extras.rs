//! What the summary shows beyond k6's: requests by name, scenario and status, and exceptions.

use std::fmt::Write as _;

use super::{Color, Ink, Style};
use crate::load::metrics::ValueKind;
use crate::load::metrics::breakdown::BreakdownRow;
use crate::load::summary::Summary;
use crate::load::summary::format::figure;

/// Exceptions that are named; the others are only counted.
const EXCEPTIONS_SHOWN: usize = 10;
/// Rows of requests that are shown; the stored run has them all.
const ROWS_SHOWN: usize = 30;
/// Characters of a name that are shown.
const NAME_CHARS_MAX: usize = 60;

/// Both parts, each only where it says more than the summary above it.
pub fn extras(summary: &Summary, style: Style) -> String {
    let mut text = breakdown(summary, style);
    text.push_str(&exceptions(summary, style.color));
    text
}

/// One row for each name, scenario and status; nothing for a single one.
fn breakdown(summary: &Summary, style: Style) -> String {
    let rows = &summary.breakdown;
    if rows.len() < 2 {
        return String::new();
    }
    let header = [
        "name", "scenario", "status", "count", "failed", "avg", "p(95)", "max",
    ];
    let mut table: Vec<[String; 8]> = vec![header.map(str::to_owned)];
    table.extend(rows.iter().take(ROWS_SHOWN).map(|row| cells(row, style)));
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = table.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        })
        .collect();
    let title = style
        .color
        .paint("REQUESTS BY NAME, SCENARIO AND STATUS", Ink::Bold);
    let mut text = format!("\n    {title}\n");
    for (index, row) in table.iter().enumerate() {
        let mut line = String::from("   ");
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            // Words to the left, figures to the right.
            let _ = if column < 2 {
                write!(line, " {cell:<width$}")
            } else {
                write!(line, " {cell:>width$}")
            };
        }
        let ink = if index == 0 {
            Ink::FaintWhite
        } else {
            Ink::White
        };
        let _ = writeln!(text, "{}", style.color.paint(line.trim_end(), ink));
    }
    let hidden = rows.len().saturating_sub(ROWS_SHOWN);
    if hidden > 0 {
        let _ = writeln!(text, "    … and {hidden} more");
    }
    if summary.breakdown_folded > 0 {
        let folded = summary.breakdown_folded;
        let _ = writeln!(
            text,
            "    {folded} requests had names beyond the limit of rows: group them by the tag 'name'"
        );
    }
    text
}

fn cells(row: &BreakdownRow, style: Style) -> [String; 8] {
    let time = |ms| figure(ms, ValueKind::Time, style.time_unit);
    let mut name: String = row.name.chars().take(NAME_CHARS_MAX).collect();
    if row.name.chars().count() > NAME_CHARS_MAX {
        name.push('…');
    }
    [
        name,
        row.scenario.clone(),
        row.status.clone(),
        row.count.to_string(),
        row.failed.to_string(),
        time(row.avg),
        time(row.p95),
        time(row.max),
    ]
}

/// Exceptions of iterations by what they said; empty without any.
fn exceptions(summary: &Summary, color: Color) -> String {
    let total: u64 = summary.exceptions.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return String::new();
    }
    let title = color.paint("SCRIPT EXCEPTIONS", Ink::Bold);
    let mut text = format!("\n    {title}\n");
    let width = total.to_string().len();
    for (message, count) in summary.exceptions.iter().take(EXCEPTIONS_SHOWN) {
        let count = color.paint(&format!("{count:width$}"), Ink::Red);
        let _ = writeln!(text, "    {count} {message}");
    }
    let hidden = summary.exceptions.len().saturating_sub(EXCEPTIONS_SHOWN);
    if hidden > 0 {
        let _ = writeln!(text, "    … and {hidden} more texts, {total} in all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::summary::text::Detail;

    fn style() -> Style {
        Style {
            color: Color::Off,
            time_unit: None,
            detail: Detail::Compact,
        }
    }

    #[test]
    fn exceptions_are_counted_and_named() {
        let mut summary = Summary::default();
        assert_eq!(extras(&summary, style()), "");
        summary.exceptions = vec![("Error: x".to_owned(), 12), ("Error: y".to_owned(), 3)];
        let expected = "\n    SCRIPT EXCEPTIONS\n    12 Error: x\n     3 Error: y\n";
        assert_eq!(extras(&summary, style()), expected);
    }

    #[test]
    fn requests_are_listed_where_there_is_more_than_one_kind() {
        let row = |status: &str, count| BreakdownRow {
            name: "Health".to_owned(),
            scenario: "default".to_owned(),
            status: status.to_owned(),
            count,
            failed: 0,
            avg: 1.5,
            p95: 2.0,
            max: 12.25,
        };
        let mut summary = Summary {
            breakdown: vec![row("200", 10)],
            ..Summary::default()
        };
        assert_eq!(extras(&summary, style()), "");
        summary.breakdown.push(row("404", 5));
        summary.breakdown_folded = 7;
        let expected = "
    REQUESTS BY NAME, SCENARIO AND STATUS
    name   scenario status count failed   avg p(95)     max
    Health default     200    10      0 1.5ms   2ms 12.25ms
    Health default     404     5      0 1.5ms   2ms 12.25ms
    7 requests had names beyond the limit of rows: group them by the tag 'name'
";
        assert_eq!(extras(&summary, style()), expected);
    }
}
