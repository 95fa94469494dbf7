//! The end-of-test summary for people, in the sections that k6's users know.
//!
//! What k6 does not have stands below them (see `extras`).

mod extras;
mod table;

pub use self::extras::extras;

use std::fmt::Write as _;
use std::time::Duration;

use self::table::{Cell, Row, Table};
use super::blocks::flat;
use super::format::{bytes, figure, number, percent};
use super::section::Section;
use super::{BlockSummary, CheckSummary, MetricSummary, Summary, Values};
use crate::load::metrics::{MetricKind, ValueKind};
use crate::load::options::TimeUnit;

/// How the text is to look.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub color: Color,
    pub time_unit: Option<TimeUnit>,
    pub detail: Detail,
}

/// Whether the phases of requests, groups and scenarios are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Compact,
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Off,
    Ansi,
}

/// Parts of the text that have a look of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ink {
    Bold,
    Cyan,
    FaintCyan,
    FaintWhite,
    Green,
    Red,
    White,
}

impl Color {
    fn paint(self, text: &str, ink: Ink) -> String {
        if self == Color::Off {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Bold => "1",
            Ink::Cyan => "36",
            Ink::FaintCyan => "36;2",
            Ink::FaintWhite => "37;2",
            Ink::Green => "32",
            Ink::Red => "31",
            Ink::White => "37",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Renders the whole summary, beginning and ending with an empty line.
pub fn render(summary: &Summary, style: Style) -> String {
    let mut text = String::from("\n");
    let writer = Writer {
        style,
        duration: summary.duration,
        name_width: table::name_width(summary.metrics.iter().map(|m| display_name(m).len())),
    };
    writer.thresholds(&mut text, summary);
    writer.title(&mut text, "TOTAL RESULTS");
    let checks = flat(&summary.root_group.all_checks());
    writer.part(&mut text, 2, &summary.metrics, &checks);
    for (kind, blocks) in [("GROUP", &summary.groups), ("SCENARIO", &summary.scenarios)] {
        for block in blocks {
            text.push('\n');
            writer.title(&mut text, &format!("{kind}: {}", block.name));
            writer.block(&mut text, 2, block);
        }
    }
    text
}

struct Writer {
    style: Style,
    duration: Duration,
    name_width: usize,
}

impl Writer {
    fn paint(&self, text: &str, ink: Ink) -> String {
        self.style.color.paint(text, ink)
    }

    fn title(&self, text: &mut String, title: &str) {
        let _ = writeln!(text, "\n  █ {}", self.paint(title, Ink::Bold));
    }

    fn thresholds(&self, text: &mut String, summary: &Summary) {
        let with = |m: &&MetricSummary| !m.thresholds.is_empty();
        let listed: Vec<&MetricSummary> = summary.metrics.iter().filter(with).collect();
        if listed.is_empty() {
            return;
        }
        self.title(text, "THRESHOLDS");
        for metric in &listed {
            let parent = parent_name(metric);
            let below_parent = metric.submetric.is_some()
                && listed
                    .iter()
                    .any(|other| other.submetric.is_none() && other.name == parent);
            let (indent, name) = if below_parent {
                ("      ", &metric.name[parent.len()..])
            } else {
                ("    ", metric.name.as_str())
            };
            let _ = writeln!(text, "\n{indent}{name}");
            for threshold in &metric.thresholds {
                let what = threshold.source.split(['<', '>', '=', '!']).next();
                let what = self.paint(what.unwrap_or_default().trim(), Ink::White);
                let value = match metric.kind {
                    MetricKind::Rate => percent(threshold.value),
                    MetricKind::Counter if threshold.source.trim_start().starts_with("rate") => {
                        format!("{}/s", self.plain(threshold.value, metric.contains))
                    }
                    _ => self.plain(threshold.value, metric.contains),
                };
                let mark = self.mark(threshold.ok);
                let source = self.paint(&format!("'{}'", threshold.source), Ink::White);
                let value = self.paint(&value, Ink::Cyan);
                let _ = writeln!(text, "{indent}{mark} {source} {what}={value}");
            }
        }
        text.push('\n');
    }

    fn block(&self, text: &mut String, level: usize, block: &BlockSummary) {
        self.part(text, level, &block.metrics, &block.checks);
        for group in &block.groups {
            let name = self.paint(&format!("GROUP: {}", group.name), Ink::Bold);
            let _ = writeln!(text, "\n{}↳ {name}", "  ".repeat(level));
            self.block(text, level + 1, group);
        }
    }

    /// Checks and sections of metrics, indented by `level` times two columns.
    fn part(
        &self,
        text: &mut String,
        level: usize,
        metrics: &[MetricSummary],
        checks: &[CheckSummary],
    ) {
        let rated = metrics.iter().find(|metric| metric.name == "checks");
        if let Some(Values::Rate {
            rate,
            passes,
            fails,
        }) = rated.map(|metric| &metric.values)
        {
            self.checks(text, level, (*rate, *passes, *fails), checks);
        }
        for section in Section::ALL {
            let belongs =
                |m: &&MetricSummary| Section::of(&m.name, self.style.detail) == Some(section);
            let rows: Vec<Row> = metrics
                .iter()
                .filter(belongs)
                .map(|m| self.row(m))
                .collect();
            if !rows.is_empty() {
                let title = self.paint(section.title(), Ink::Bold);
                let _ = writeln!(text, "\n{}{title}", "  ".repeat(level));
                self.table(level).write(text, &rows);
            }
        }
    }

    fn table(&self, level: usize) -> Table {
        Table {
            color: self.style.color,
            level,
            name_width: self.name_width,
        }
    }

    fn checks(
        &self,
        text: &mut String,
        level: usize,
        (rate, passes, fails): (f64, u64, u64),
        checks: &[CheckSummary],
    ) {
        let total = passes + fails;
        let per_second = total as f64 / self.duration.as_secs_f64().max(1e-9);
        let row = |name: &str, value: String, extra: String| Row {
            name: name.to_owned(),
            indented: false,
            trend: false,
            cells: vec![Cell::plain(value), Cell::plain(extra)],
        };
        let of = |name: &str, share: f64, part: u64| {
            row(name, percent(share), format!("{part} out of {total}"))
        };
        let rows = [
            row(
                "checks_total",
                total.to_string(),
                format!("{}/s", number(per_second)),
            ),
            of("checks_succeeded", rate, passes),
            of("checks_failed", 1.0 - rate, fails),
        ];
        text.push('\n');
        self.table(level).write(text, &rows);
        text.push('\n');
        let indent = "  ".repeat(level);
        for check in checks {
            if check.fails == 0 {
                let line = self.paint(&format!("✓ {}", check.name), Ink::Green);
                let _ = writeln!(text, "{indent}{line}");
                continue;
            }
            let share = check.passes * 100 / (check.passes + check.fails);
            let name = self.paint(&format!("✗ {}", check.name), Ink::Red);
            let counts = format!("↳  {share}% — ✓ {} / ✗ {}", check.passes, check.fails);
            let counts = self.paint(&counts, Ink::Red);
            let _ = writeln!(text, "{indent}{name}\n{indent}  {counts}");
        }
    }

    fn row(&self, metric: &MetricSummary) -> Row {
        let plain = |value: f64| self.plain(value, metric.contains);
        let cells = match &metric.values {
            Values::Counter { count, per_second } => {
                let rate = match metric.contains {
                    ValueKind::Data => bytes(*per_second),
                    _ => plain(*per_second),
                };
                vec![Cell::plain(plain(*count)), Cell::plain(format!("{rate}/s"))]
            }
            Values::Gauge { value, min, max } => vec![
                Cell::plain(plain(*value)),
                Cell::plain(format!("min={}", plain(*min))),
                Cell::plain(format!("max={}", plain(*max))),
            ],
            Values::Rate {
                rate,
                passes,
                fails,
            } => vec![
                Cell::plain(percent(*rate)),
                Cell::plain(format!("{passes} out of {}", passes + fails)),
            ],
            Values::Trend(trend) => trend
                .stats
                .iter()
                .map(|(name, value)| Cell {
                    label: format!("{name}="),
                    value: if name == "count" {
                        number(*value)
                    } else {
                        plain(*value)
                    },
                })
                .collect(),
        };
        Row {
            name: display_name(metric),
            indented: metric.submetric.is_some(),
            trend: metric.kind == MetricKind::Trend,
            cells,
        }
    }

    fn plain(&self, value: f64, contains: ValueKind) -> String {
        figure(value, contains, self.style.time_unit)
    }

    fn mark(&self, ok: bool) -> String {
        if ok {
            self.paint("✓", Ink::Green)
        } else {
            self.paint("✗", Ink::Red)
        }
    }
}

/// The name of the metric that a submetric is part of.
fn parent_name(metric: &MetricSummary) -> &str {
    metric.name.split('{').next().unwrap_or_default()
}

fn display_name(metric: &MetricSummary) -> String {
    match &metric.submetric {
        Some(suffix) => format!("{{ {suffix} }}"),
        None => metric.name.clone(),
    }
}

#[cfg(test)]
mod tests;
