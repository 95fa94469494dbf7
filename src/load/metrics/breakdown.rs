//! Requests by name, scenario and status, without a threshold for each.
//!
//! Names are templated as series names are, and there are at most [`ROWS_MAX`] rows: what comes
//! later is counted as folded, so that URLs which are all different cost no memory.

use std::collections::HashMap;
use std::sync::Arc;

use super::sample::HttpSample;
use super::sink::Sink;
use super::{MetricKind, TagSet};
use crate::load::output::results::Names;
use crate::load::threshold::Aggregation;

/// Rows kept.
pub const ROWS_MAX: usize = 200;

/// One row as the summary shows it. Times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakdownRow {
    pub name: String,
    /// Empty outside of scenarios.
    pub scenario: String,
    /// `0` for requests without an answer.
    pub status: String,
    pub count: u64,
    /// Of these, not as expected.
    pub failed: u64,
    pub avg: f64,
    pub p95: f64,
    pub max: f64,
}

/// Place of a row; `None` for one that is folded.
pub(super) type RowIndex = Option<usize>;

#[derive(Debug, Default)]
pub(super) struct Breakdown {
    names: Names,
    rows: Vec<Row>,
    by_key: HashMap<Key, usize>,
    folded: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    name: Arc<str>,
    scenario: Arc<str>,
    status: Arc<str>,
}

#[derive(Debug)]
struct Row {
    key: Key,
    failed: u64,
    durations: Sink,
}

impl Breakdown {
    /// The row of samples with this name and these shared tags.
    pub(super) fn index(&mut self, sample: &HttpSample) -> RowIndex {
        let tags = &sample.tags;
        let key = Key {
            name: self.names.of(tags.name.as_ref(), tags.url.as_ref()),
            scenario: text(&tags.shared, "scenario"),
            status: text(&tags.shared, "status"),
        };
        if let Some(index) = self.by_key.get(&key) {
            return Some(*index);
        }
        if self.rows.len() >= ROWS_MAX {
            return None;
        }
        self.by_key.insert(key.clone(), self.rows.len());
        self.rows.push(Row {
            key,
            failed: 0,
            durations: Sink::new(MetricKind::Trend),
        });
        Some(self.rows.len() - 1)
    }

    pub(super) fn count(&mut self, row: RowIndex, sample: &HttpSample, duration_ms: f64) {
        let Some(row) = row else {
            self.folded += 1;
            return;
        };
        let row = &mut self.rows[row];
        row.failed += u64::from(sample.failed == Some(true));
        row.durations.add(duration_ms);
    }

    /// Rows by scenario, name and status.
    pub(super) fn rows(&self) -> Vec<BreakdownRow> {
        let mut rows: Vec<BreakdownRow> = self.rows.iter().map(Row::shown).collect();
        rows.sort_by(|a, b| {
            let key = |row: &BreakdownRow| (row.scenario.clone(), row.name.clone());
            key(a).cmp(&key(b)).then(a.status.cmp(&b.status))
        });
        rows
    }

    /// Requests that have no row.
    pub(super) fn folded(&self) -> u64 {
        self.folded
    }
}

impl Row {
    fn shown(&self) -> BreakdownRow {
        let figure = |aggregation| {
            let figure = self.durations.aggregate(aggregation, Default::default());
            figure.unwrap_or_default()
        };
        let count = match &self.durations {
            Sink::Trend(histogram) => histogram.count(),
            _ => 0,
        };
        BreakdownRow {
            name: self.key.name.to_string(),
            scenario: self.key.scenario.to_string(),
            status: self.key.status.to_string(),
            count,
            failed: self.failed,
            avg: figure(Aggregation::Avg),
            p95: figure(Aggregation::Percentile(95.0)),
            max: figure(Aggregation::Max),
        }
    }
}

fn text(tags: &TagSet, name: &str) -> Arc<str> {
    tags.get(name).map_or_else(|| "".into(), |tag| tag.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::metrics::{RequestTags, Timings};

    fn sample(url: &str, status: &str) -> HttpSample {
        HttpSample {
            timings: Timings::default(),
            failed: Some(status != "200"),
            tags: RequestTags {
                shared: TagSet::new([("status", status), ("scenario", "s")]),
                name: Some(url.into()),
                url: Some(url.into()),
            },
        }
    }

    fn add(breakdown: &mut Breakdown, sample: &HttpSample, ms: f64) {
        let row = breakdown.index(sample);
        breakdown.count(row, sample, ms);
    }

    #[test]
    fn requests_are_told_apart_by_templated_name_and_status() {
        let mut breakdown = Breakdown::default();
        for id in 0..100 {
            add(
                &mut breakdown,
                &sample(&format!("http://h/items/{id}"), "200"),
                10.0,
            );
        }
        add(&mut breakdown, &sample("http://h/items/7", "500"), 30.0);
        let rows = breakdown.rows();
        let plain: Vec<(&str, &str, u64, u64)> = rows
            .iter()
            .map(|row| (&*row.name, &*row.status, row.count, row.failed))
            .collect();
        assert_eq!(
            plain,
            [("/items/{id}", "200", 100, 0), ("/items/{id}", "500", 1, 1)]
        );
        assert_eq!((rows[1].avg, rows[1].max), (30.0, 30.0));
    }

    #[test]
    fn rows_are_bounded_and_the_rest_is_said() {
        let mut breakdown = Breakdown::default();
        for word in 0..ROWS_MAX + 5 {
            let word: String = word
                .to_string()
                .bytes()
                .map(|b| char::from(b + 49))
                .collect();
            add(
                &mut breakdown,
                &sample(&format!("http://h/{word}"), "200"),
                1.0,
            );
        }
        assert_eq!((breakdown.rows().len(), breakdown.folded()), (ROWS_MAX, 5));
    }
}
