//! The bodies of `register` and `finish`, made from what the engine says of a run.
//!
//! What must not leave the machine is cut here: values of `-e` never come this far, URLs lose
//! their credentials, and the script's text goes along only where that is allowed. Pure.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use url::Url;

use super::super::RunStart;
use crate::load::RunOutcome;
use crate::load::metrics::breakdown::BreakdownRow;
use crate::load::metrics::figures::Figures;
use crate::load::state::AbortReason;
use crate::load::summary::GroupSummary;

/// Everything that registers a run, as `POST /api/v1/runs` takes it.
#[derive(Debug, Serialize)]
pub(super) struct RegisterBody {
    pub(super) run_id: String,
    pub(super) name: String,
    pub(super) script: ScriptBody,
    pub(super) options: Box<RawValue>,
    pub(super) thresholds: BTreeMap<String, Vec<String>>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) target: Option<String>,
    pub(super) host: HostBody,
    /// On this machine's clock; `sent_at` lets the relay correct it.
    pub(super) started_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent_at: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(super) struct ScriptBody {
    pub(super) name: String,
    /// `None` where the text is withheld.
    pub(super) text: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct HostBody {
    pub(super) cpus: usize,
    pub(super) os: &'static str,
    pub(super) arch: &'static str,
    pub(super) versions: VersionsBody,
}

#[derive(Debug, Serialize)]
pub(super) struct VersionsBody {
    pub(super) dchat: &'static str,
}

pub(super) fn registration(run: &RunStart, store_script: bool) -> RegisterBody {
    let options = RawValue::from_string(run.options_json.to_string());
    let started = run.started_wall.duration_since(UNIX_EPOCH);
    RegisterBody {
        run_id: run.run_id.to_string(),
        name: run.name.to_string(),
        script: ScriptBody {
            name: run.name.to_string(),
            text: store_script.then(|| run.script_text.to_string()),
        },
        options: options.unwrap_or_else(|_| RawValue::NULL.to_owned()),
        thresholds: run.thresholds.clone(),
        tags: run.tags.clone(),
        target: run.target.as_deref().map(target_without_credentials),
        host: HostBody {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            versions: VersionsBody {
                dchat: env!("CARGO_PKG_VERSION"),
            },
        },
        started_at: started.unwrap_or_default().as_millis() as i64,
        sent_at: None,
    }
}

/// As `POST /api/v1/runs/{id}/finish` takes it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FinishBody {
    exit_code: u8,
    abort: Option<String>,
    failure: Option<String>,
    target: Option<String>,
    summary: Box<RawValue>,
    thresholds: Vec<ThresholdBody>,
    checks: Vec<CheckBody>,
    figures: FiguresBody,
    /// Requests by scenario, name and status.
    breakdown: Vec<BreakdownBody>,
    pub(super) report: ReportBody,
    /// On this machine's clock; `sent_at` lets the relay correct it.
    pub(super) finished_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent_at: Option<i64>,
}

#[derive(Clone, Debug, Serialize)]
struct ThresholdBody {
    metric: String,
    source: String,
    ok: bool,
    abort_on_fail: bool,
}

#[derive(Clone, Debug, Serialize)]
struct CheckBody {
    name: String,
    group: String,
    passes: u64,
    fails: u64,
}

/// Times in milliseconds.
#[derive(Clone, Debug, Serialize)]
struct BreakdownBody {
    scenario: String,
    name: String,
    status: String,
    count: u64,
    failed: u64,
    avg: f64,
    p95: f64,
    max: f64,
}

/// What the verdict is made of.
#[derive(Clone, Debug, Serialize)]
struct FiguresBody {
    requests: u64,
    failed: u64,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    request_seconds: f64,
    iterations: u64,
    iteration_seconds: f64,
    vus_max: u32,
    messages: u64,
    best_per_second: f64,
    offered_iterations_per_second: Option<f64>,
    duration_seconds: f64,
    dropped_iterations: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct ReportBody {
    /// Tag sets folded because there were too many series.
    pub(super) series_folded: u64,
    /// Points that the relay refused.
    pub(super) points_lost: u64,
    /// Requests without a row in the breakdown.
    pub(super) breakdown_folded: u64,
}

pub(super) fn finish_body(outcome: &RunOutcome) -> FinishBody {
    let thresholds = outcome.summary.metrics.iter().flat_map(|metric| {
        metric.thresholds.iter().map(|threshold| ThresholdBody {
            metric: metric.name.clone(),
            source: threshold.source.clone(),
            ok: threshold.ok,
            abort_on_fail: threshold.abort_on_fail,
        })
    });
    let mut checks = Vec::new();
    collect_checks(&outcome.summary.root_group, &mut checks);
    let summary = RawValue::from_string(outcome.summary_json.clone());
    let finished = outcome.started_wall + outcome.duration;
    let finished = finished.duration_since(UNIX_EPOCH).unwrap_or_default();
    FinishBody {
        exit_code: outcome.exit_code,
        abort: outcome.abort.as_ref().map(abort_text),
        failure: outcome.failure.clone(),
        target: outcome
            .figures
            .target
            .as_deref()
            .map(target_without_credentials),
        summary: summary.unwrap_or_else(|_| RawValue::NULL.to_owned()),
        thresholds: thresholds.collect(),
        checks,
        figures: figures_body(&outcome.figures.totals),
        breakdown: outcome.summary.breakdown.iter().map(breakdown).collect(),
        report: ReportBody {
            breakdown_folded: outcome.summary.breakdown_folded,
            ..ReportBody::default()
        },
        finished_at: finished.as_millis() as i64,
        sent_at: None,
    }
}

fn figures_body(figures: &Figures) -> FiguresBody {
    FiguresBody {
        requests: figures.requests,
        failed: figures.failed,
        p95_ms: figures.p95_ms,
        p99_ms: figures.p99_ms,
        request_seconds: figures.request_seconds,
        iterations: figures.iterations,
        iteration_seconds: figures.iteration_seconds,
        vus_max: figures.vus_max,
        messages: figures.messages,
        best_per_second: figures.best_per_second,
        offered_iterations_per_second: figures.offered_iterations_per_second,
        duration_seconds: figures.duration_seconds,
        dropped_iterations: figures.dropped_iterations,
    }
}

fn breakdown(row: &BreakdownRow) -> BreakdownBody {
    BreakdownBody {
        scenario: row.scenario.clone(),
        name: row.name.clone(),
        status: row.status.clone(),
        count: row.count,
        failed: row.failed,
        avg: row.avg,
        p95: row.p95,
        max: row.max,
    }
}

fn collect_checks(group: &GroupSummary, checks: &mut Vec<CheckBody>) {
    checks.extend(group.checks.iter().map(|check| CheckBody {
        name: check.name.clone(),
        group: group.path.clone(),
        passes: check.passes,
        fails: check.fails,
    }));
    for group in &group.groups {
        collect_checks(group, checks);
    }
}

fn abort_text(reason: &AbortReason) -> String {
    match reason {
        AbortReason::Signal => "stopped by a signal".to_owned(),
        AbortReason::Control => "stopped by live control".to_owned(),
        AbortReason::Script(message) => format!("aborted by the script: {message}"),
        AbortReason::Threshold => "aborted by a threshold".to_owned(),
        AbortReason::Failed(message) => format!("failed: {message}"),
    }
}

pub(super) fn bytes_of(body: &FinishBody) -> Bytes {
    serde_json::to_vec(body)
        .expect("our bodies have string keys and finite numbers")
        .into()
}

fn target_without_credentials(target: &str) -> String {
    match Url::parse(target) {
        Ok(url) => without_credentials(&url).to_string(),
        Err(_) => target.to_owned(),
    }
}

pub(super) fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    // Both fail only for URLs that can't have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}
