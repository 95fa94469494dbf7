//! The end-of-test summary for people, in the sections that k6's users know.

use std::fmt::Write as _;

use super::format::{bytes, figure, number, percent};
use super::{GroupSummary, MetricSummary, Summary, Values};
use crate::load::metrics::{MetricKind, ValueKind, builtin};
use crate::load::options::TimeUnit;

/// Column in which figures begin, counted from the metric's name.
const NAME_WIDTH: usize = 35;

/// How the text is to look.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub color: Color,
    pub time_unit: Option<TimeUnit>,
    pub detail: Detail,
}

/// Whether the phases of requests and the groups' durations are shown.
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

/// Renders the whole summary, beginning and ending with an empty line.
pub fn render(summary: &Summary, style: Style) -> String {
    let mut text = String::from("\n");
    let writer = Writer { summary, style };
    writer.thresholds(&mut text);
    writer.totals(&mut text);
    let known = |name: &str| builtin::ALL.iter().any(|(known, _, _)| *known == name);
    let parent = |metric: &MetricSummary| -> String {
        let name = metric.name.split('{').next();
        name.unwrap_or_default().to_owned()
    };
    writer.section(&mut text, "CUSTOM", |m| !known(&parent(m)));
    writer.section(&mut text, "HTTP", |m| {
        let shown = ["http_req_duration", "http_req_failed", "http_reqs"];
        let name = parent(m);
        let asked_for = style.detail == Detail::Full || !m.thresholds.is_empty();
        shown.contains(&name.as_str())
            || (name.starts_with("http_req") && known(&name) && asked_for)
    });
    writer.section(&mut text, "EXECUTION", |m| {
        matches!(
            parent(m).as_str(),
            "dropped_iterations" | "iteration_duration" | "iterations" | "vus" | "vus_max"
        ) || (parent(m) == "group_duration"
            && (style.detail == Detail::Full || !m.thresholds.is_empty()))
    });
    writer.section(&mut text, "NETWORK", |m| {
        matches!(parent(m).as_str(), "data_received" | "data_sent")
    });
    text
}

struct Writer<'s> {
    summary: &'s Summary,
    style: Style,
}

impl Writer<'_> {
    fn thresholds(&self, text: &mut String) {
        let with = |m: &&MetricSummary| !m.thresholds.is_empty();
        if self.summary.metrics.iter().find(with).is_none() {
            return;
        }
        text.push_str("\n  █ THRESHOLDS\n");
        for metric in self.summary.metrics.iter().filter(with) {
            let _ = writeln!(text, "\n    {}", metric.name);
            for threshold in &metric.thresholds {
                let name = threshold.source.split(['<', '>', '=', '!']).next();
                let name = name.unwrap_or_default().trim();
                let value = match metric.kind {
                    MetricKind::Rate => percent(threshold.value),
                    _ => figure(threshold.value, metric.contains, self.style.time_unit),
                };
                let mark = self.mark(threshold.ok);
                let _ = writeln!(text, "    {mark} '{}' {name}={value}", threshold.source);
            }
        }
        text.push('\n');
    }

    fn totals(&self, text: &mut String) {
        text.push_str("\n  █ TOTAL RESULTS\n");
        let Some(Values::Rate {
            rate,
            passes,
            fails,
        }) = self.summary.metric("checks").map(|m| &m.values)
        else {
            return;
        };
        let total = passes + fails;
        let per_second = total as f64 / self.summary.duration.as_secs_f64().max(1e-9);
        text.push('\n');
        line(
            text,
            "checks_total",
            &format!("{total} {}/s", number(per_second)),
        );
        let of = |share: f64, part: u64| format!("{} {part} out of {total}", percent(share));
        line(text, "checks_succeeded", &of(*rate, *passes));
        line(text, "checks_failed", &of(1.0 - rate, *fails));
        text.push('\n');
        self.group(text, &self.summary.root_group, "    ");
    }

    fn group(&self, text: &mut String, group: &GroupSummary, indent: &str) {
        for check in &group.checks {
            let _ = writeln!(
                text,
                "{indent}{} {}",
                self.mark(check.fails == 0),
                check.name
            );
            if check.fails > 0 {
                let share = check.passes * 100 / (check.passes + check.fails);
                let _ = writeln!(
                    text,
                    "{indent}  ↳  {share}% — ✓ {} / ✗ {}",
                    check.passes, check.fails
                );
            }
        }
        for inner in &group.groups {
            let _ = writeln!(text, "\n{indent}█ {}\n", inner.name);
            self.group(text, inner, &format!("{indent}  "));
        }
    }

    fn section(&self, text: &mut String, title: &str, belongs: impl Fn(&MetricSummary) -> bool) {
        let metrics: Vec<&MetricSummary> = self
            .summary
            .metrics
            .iter()
            .filter(|metric| belongs(metric))
            .collect();
        if metrics.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n    {title}");
        let rows: Vec<Vec<String>> = metrics.iter().map(|m| self.columns(m)).collect();
        let widths = |index: usize, kind: MetricKind| {
            metrics
                .iter()
                .zip(&rows)
                .filter(|(metric, _)| {
                    (metric.kind == MetricKind::Trend) == (kind == MetricKind::Trend)
                })
                .filter_map(|(_, row)| row.get(index))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        for (metric, row) in metrics.iter().zip(&rows) {
            let name = match &metric.submetric {
                Some(suffix) => format!("  {{ {suffix} }}"),
                None => metric.name.clone(),
            };
            let cells: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(index, cell)| format!("{cell:width$}", width = widths(index, metric.kind)))
                .collect();
            line(text, &name, cells.join(" ").trim_end());
        }
    }

    fn columns(&self, metric: &MetricSummary) -> Vec<String> {
        let unit = self.style.time_unit;
        let plain = |value: f64| figure(value, metric.contains, unit);
        match &metric.values {
            Values::Counter { count, per_second } => {
                let rate = match metric.contains {
                    ValueKind::Data => bytes(*per_second),
                    _ => plain(*per_second),
                };
                vec![plain(*count), format!("{rate}/s")]
            }
            Values::Gauge { value, min, max } => vec![
                plain(*value),
                format!("min={}", plain(*min)),
                format!("max={}", plain(*max)),
            ],
            Values::Rate {
                rate,
                passes,
                fails,
            } => vec![
                percent(*rate),
                format!("{passes} out of {}", passes + fails),
            ],
            Values::Trend(trend) => trend
                .stats
                .iter()
                .map(|(name, value)| {
                    if name == "count" {
                        format!("{name}={}", number(*value))
                    } else {
                        format!("{name}={}", plain(*value))
                    }
                })
                .collect(),
        }
    }

    fn mark(&self, ok: bool) -> &'static str {
        match (self.style.color, ok) {
            (Color::Off, true) => "✓",
            (Color::Off, false) => "✗",
            (Color::Ansi, true) => "\x1b[32m✓\x1b[0m",
            (Color::Ansi, false) => "\x1b[31m✗\x1b[0m",
        }
    }
}

fn line(text: &mut String, name: &str, figures: &str) {
    let dots = NAME_WIDTH.saturating_sub(name.chars().count()).max(1);
    let _ = writeln!(text, "    {name}{}: {figures}", ".".repeat(dots));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::summary::{CheckSummary, ThresholdSummary, TrendValues};

    fn metric(name: &str, kind: MetricKind, contains: ValueKind, values: Values) -> MetricSummary {
        MetricSummary {
            name: name.to_owned(),
            submetric: None,
            kind,
            contains,
            values,
            thresholds: Vec::new(),
        }
    }

    #[test]
    fn sections_come_in_k6s_order_with_aligned_figures() {
        let trend = |avg: f64, max: f64| {
            Values::Trend(TrendValues {
                stats: vec![("avg".to_owned(), avg), ("max".to_owned(), max)],
                ..TrendValues::default()
            })
        };
        let mut duration = metric(
            "http_req_duration",
            MetricKind::Trend,
            ValueKind::Time,
            trend(140.356, 154.6),
        );
        duration.thresholds = vec![ThresholdSummary {
            source: "p(95)<100".to_owned(),
            value: 148.21,
            ok: false,
            abort_on_fail: false,
        }];
        let mut sub = duration.clone();
        sub.name = "http_req_duration{status:200}".to_owned();
        sub.submetric = Some("status:200".to_owned());
        sub.values = trend(1.5, 2.0);
        sub.thresholds.clear();
        let count = Values::Counter {
            count: 4_900.0,
            per_second: 490.0,
        };
        let rate = Values::Rate {
            rate: 0.75,
            passes: 3,
            fails: 1,
        };
        let summary = Summary {
            duration: Duration::from_secs(10),
            metrics: vec![
                metric("checks", MetricKind::Rate, ValueKind::Default, rate),
                metric(
                    "data_sent",
                    MetricKind::Counter,
                    ValueKind::Data,
                    count.clone(),
                ),
                duration,
                sub,
                metric("mine", MetricKind::Counter, ValueKind::Default, count),
            ],
            root_group: GroupSummary {
                checks: vec![CheckSummary {
                    name: "is ok".to_owned(),
                    path: "::is ok".to_owned(),
                    passes: 3,
                    fails: 1,
                }],
                ..GroupSummary::default()
            },
            setup_data: None,
        };
        let style = Style {
            color: Color::Off,
            time_unit: None,
            detail: Detail::Compact,
        };
        let expected = "

  █ THRESHOLDS

    http_req_duration
    ✗ 'p(95)<100' p(95)=148.21ms


  █ TOTAL RESULTS

    checks_total.......................: 4 0.4/s
    checks_succeeded...................: 75.00% 3 out of 4
    checks_failed......................: 25.00% 1 out of 4

    ✗ is ok
      ↳  75% — ✓ 3 / ✗ 1

    CUSTOM
    mine...............................: 4900 490/s

    HTTP
    http_req_duration..................: avg=140.35ms max=154.6ms
      { status:200 }...................: avg=1.5ms    max=2ms

    NETWORK
    data_sent..........................: 4.9 kB 490 B/s
";
        assert_eq!(render(&summary, style), expected);
    }
}
