//! An earlier run that thresholds compare with: `p(95) < 1.1 * baseline`.
//!
//! A run is read from a dchat's runs API, or from a file that a run has written: its summary
//! (`--summary-export`, or what `handleSummary` gets) or what could not be delivered
//! (`dchat-run-ID.ndjson`). A figure that the summary lacks is asked of the run's stored series.

use std::time::Duration;

use hyper::Method;
use serde_json::Value;
use url::Url;

use super::parse::{Aggregation, Selector};
use crate::http_client::Client;

/// Time for one answer of the runs API.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a baseline is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(std::path::PathBuf),
    /// A run of the dchat at `base`.
    Run {
        base: Url,
        run_id: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the baseline {path} can't be read: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
    #[error(
        "the baseline {path} holds no run's summary\nhint: a summary of --summary-export, or a dchat-run-ID.ndjson"
    )]
    NoSummary { path: String },
    #[error("the baseline run {run_id} can't be had from {base}: {reason}")]
    Run {
        run_id: String,
        base: String,
        reason: String,
    },
}

/// An earlier run's figures.
#[derive(Debug)]
pub struct Baseline {
    summary: Value,
    /// Where its series are, if anywhere.
    series: Option<Url>,
}

impl Baseline {
    /// # Errors
    /// It can't be read, or is no run.
    pub async fn read(source: &Source) -> Result<Baseline, Error> {
        match source {
            Source::File(path) => {
                let name = path.display().to_string();
                let read = tokio::fs::read_to_string(path).await;
                let text = read.map_err(|source| Error::File {
                    path: name.clone(),
                    source,
                })?;
                let summary = summary_in(&text).ok_or(Error::NoSummary { path: name })?;
                let series = None;
                Ok(Baseline { summary, series })
            }
            Source::Run { base, run_id } => {
                let refused = |reason: String| Error::Run {
                    run_id: run_id.clone(),
                    base: base.origin().ascii_serialization(),
                    reason,
                };
                let mut url = base.clone();
                url.set_query(None);
                url.set_path(&format!("/api/v1/runs/{run_id}"));
                let run = get(&url).await.map_err(&refused)?;
                let summary = run["summary"].clone();
                if summary["metrics"].as_object().is_none() {
                    return Err(refused("it has no summary; has it ended?".to_owned()));
                }
                url.set_path(&format!("/api/v1/runs/{run_id}/series"));
                let series = Some(url);
                Ok(Baseline { summary, series })
            }
        }
    }

    /// The same aggregation of the same metric or submetric; `None` where the run has no such.
    pub async fn figure(&self, metric: &str, aggregation: Aggregation) -> Option<f64> {
        if let Some(figure) = figure_in(&self.summary["metrics"][metric], aggregation) {
            return Some(figure);
        }
        let mut url = self.series.clone()?;
        let selector = Selector::parse(metric).ok()?;
        let tags: Vec<String> = selector
            .tags
            .iter()
            .map(|(name, value)| format!("{name}:{value}"))
            .collect();
        url.query_pairs_mut()
            .append_pair("metric", &selector.metric)
            .append_pair("tags", &tags.join(","));
        let answer = get(&url).await.ok()?;
        figure_of_series(&answer["metrics"][0]["window"], aggregation)
    }
}

async fn get(url: &Url) -> Result<Value, String> {
    let client = Client::new();
    let answer = client.request(Method::GET, url, None, ANSWER_TIMEOUT);
    let answer = answer.await.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(answer.status.to_string());
    }
    serde_json::from_slice(&answer.body).map_err(|_| "the answer is no JSON".to_owned())
}

/// The summary in a file of either kind.
fn summary_in(text: &str) -> Option<Value> {
    let whole = serde_json::from_str::<Value>(text).ok();
    let lines = || text.lines().filter_map(|l| serde_json::from_str(l).ok());
    let documents: Vec<Value> = whole.map_or_else(|| lines().collect(), |whole| vec![whole]);
    documents.into_iter().rev().find_map(|document| {
        let places = ["/metrics", "/summary/metrics", "/body/summary/metrics"];
        let place = places
            .iter()
            .find(|place| document.pointer(place).is_some_and(Value::is_object))?;
        let summary = place.strip_suffix("/metrics").unwrap_or_default();
        document.pointer(summary).cloned()
    })
}

/// From a metric of `handleSummary`'s shape, or of the flatter one of `--summary-export`.
fn figure_in(metric: &Value, aggregation: Aggregation) -> Option<f64> {
    let values = metric.get("values").unwrap_or(metric);
    let named = |name: &str| values.get(name).and_then(Value::as_f64);
    match aggregation {
        Aggregation::Count => named("count"),
        // The exported rate of a rate is called value.
        Aggregation::Rate => named("rate").or_else(|| named("value")),
        Aggregation::Value => named("value"),
        Aggregation::Avg => named("avg"),
        Aggregation::Min => named("min"),
        Aggregation::Med => named("med").or_else(|| named("p(50)")),
        Aggregation::Max => named("max"),
        Aggregation::Percentile(percent) => named(&format!("p({percent})")),
    }
}

/// From the merged window of a run's series.
fn figure_of_series(window: &Value, aggregation: Aggregation) -> Option<f64> {
    let named = |name: &str| window.get(name).and_then(Value::as_f64);
    match aggregation {
        Aggregation::Count => named("sum"),
        Aggregation::Rate => Some(named("sum")? / named("count")?.max(1.0)),
        Aggregation::Value => None,
        Aggregation::Avg => Some(named("sum")? / named("count").filter(|count| *count > 0.0)?),
        Aggregation::Min => named("min"),
        Aggregation::Max => named("max"),
        Aggregation::Med => named("p50"),
        Aggregation::Percentile(percent) => named(&format!("p{percent}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn summaries_of_all_shapes_are_read() {
        let values = json!({"avg": 2, "p(95)": 7.5});
        let own = json!({"metrics": {"m": {"type": "trend", "values": values}}});
        let exported = json!({"metrics": {"m": values, "r": {"value": 0.5, "passes": 1}}});
        let finish = json!({"call": "finish", "body": {"summary": own}});
        let lines = format!("{}\n{finish}\n", json!({"call": "register", "body": {}}));
        for text in [own.to_string(), exported.to_string(), lines] {
            let summary = summary_in(&text).expect("a summary");
            let metric = &summary["metrics"]["m"];
            assert_eq!(figure_in(metric, Aggregation::Avg), Some(2.0));
            assert_eq!(figure_in(metric, Aggregation::Percentile(95.0)), Some(7.5));
            assert_eq!(figure_in(metric, Aggregation::Percentile(99.0)), None);
        }
        let rate = &exported["metrics"]["r"];
        assert_eq!(figure_in(rate, Aggregation::Rate), Some(0.5));
        assert_eq!(summary_in("nothing"), None);
        assert_eq!(summary_in("{}"), None);
    }
}
