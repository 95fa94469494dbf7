//! What the runs API answers, as JSON structs of its own.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::results::verdict::{self, Verdict};
use crate::results::{MetricSteps, Run, Series, SeriesAnswer, State, Step, Tags, WholeRun};

/// One run of the list, and the head of one run whole.
#[derive(Debug, Serialize)]
pub(super) struct RunHead<'a> {
    run_id: &'a str,
    name: &'a str,
    state: &'static str,
    started_at: i64,
    finished_at: Option<i64>,
    exit_code: Option<i64>,
    verdict: Option<&'static str>,
    tags: &'a Tags,
    /// Name of the script; its text stands in one run whole.
    script_name: Option<&'a str>,
    target: Option<&'a str>,
    /// When the run last sent anything.
    seen_at: i64,
    pinned: bool,
    bytes: i64,
}

impl<'a> RunHead<'a> {
    pub(super) fn of(run: &'a Run) -> RunHead<'a> {
        RunHead {
            run_id: &run.run_id,
            name: &run.name,
            state: run.state.word(),
            started_at: run.started_at_ms,
            finished_at: run.finished_at_ms,
            exit_code: run.exit_code,
            verdict: run.verdict.map(verdict::Status::word),
            tags: &run.tags,
            script_name: run.script_name.as_deref(),
            target: run.target.as_deref(),
            seen_at: run.seen_at_ms,
            pinned: run.pinned,
            bytes: run.bytes,
        }
    }
}

/// Whether a run can still change by itself.
pub(super) fn is_over(state: State) -> bool {
    matches!(state, State::Finished | State::Aborted)
}

#[derive(Debug, Serialize)]
pub(super) struct RunList<'a> {
    pub(super) runs: Vec<RunHead<'a>>,
    /// Give it as `before` to get the next page.
    pub(super) next_before: Option<&'a str>,
    pub(super) has_more: bool,
}

/// What the runner sent when it registered, text by text.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Registered<'a> {
    #[serde(borrow)]
    script: Option<&'a RawValue>,
    #[serde(borrow)]
    options: Option<&'a RawValue>,
    #[serde(borrow)]
    thresholds: Option<&'a RawValue>,
    #[serde(borrow)]
    host: Option<&'a RawValue>,
}

/// What the runner sent at its end.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Finished<'a> {
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
    #[serde(borrow)]
    thresholds: Option<&'a RawValue>,
    #[serde(borrow)]
    checks: Option<&'a RawValue>,
    #[serde(borrow)]
    figures: Option<&'a RawValue>,
    #[serde(borrow)]
    breakdown: Option<&'a RawValue>,
    #[serde(borrow)]
    abort: Option<&'a RawValue>,
    #[serde(borrow)]
    failure: Option<&'a RawValue>,
    #[serde(borrow)]
    report: Option<&'a RawValue>,
}

/// One run whole; the same keys as in the list at its top level.
#[derive(Debug, Serialize)]
pub(super) struct RunWhole<'a> {
    #[serde(flatten)]
    head: RunHead<'a>,
    script: Option<&'a RawValue>,
    options: Option<&'a RawValue>,
    /// Expressions by metric, as registered.
    thresholds: Option<&'a RawValue>,
    host: Option<&'a RawValue>,
    summary: Option<&'a RawValue>,
    /// How each threshold ended: `[{"metric","source","ok","abort_on_fail"}]`.
    threshold_verdicts: Option<&'a RawValue>,
    /// `[{"name","group","passes","fails"}]`.
    checks: Option<&'a RawValue>,
    figures: Option<&'a RawValue>,
    /// `[{"scenario","name","status","count","failed","avg","p95","max"}]`, times in ms.
    breakdown: Option<&'a RawValue>,
    abort: Option<&'a RawValue>,
    failure: Option<&'a RawValue>,
    /// What the reporter could not send as it was: `{"series_folded","points_lost"}`.
    report: Option<&'a RawValue>,
    judgement: Judgement<'a>,
    series: Vec<SeriesHead<'a>>,
}

#[derive(Debug, Serialize)]
struct Judgement<'a> {
    overall: &'static str,
    rows: Vec<JudgementRow<'a>>,
    /// The table as the terminal prints it.
    text: String,
}

#[derive(Debug, Serialize)]
struct JudgementRow<'a> {
    name: &'a str,
    figure: &'a str,
    limit: &'a str,
    status: &'static str,
    text: &'a str,
}

#[derive(Debug, Serialize)]
struct SeriesHead<'a> {
    metric: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    tags: &'a Tags,
}

impl<'a> RunWhole<'a> {
    pub(super) fn of(whole: &'a WholeRun) -> RunWhole<'a> {
        let registered: Registered<'a> =
            serde_json::from_str(&whole.registered).unwrap_or_default();
        let finished = whole.finished.as_deref().unwrap_or("{}");
        let finished: Finished<'a> = serde_json::from_str(finished).unwrap_or_default();
        RunWhole {
            head: RunHead::of(&whole.run),
            script: registered.script,
            options: registered.options,
            thresholds: registered.thresholds,
            host: registered.host,
            summary: finished.summary,
            threshold_verdicts: finished.thresholds,
            checks: finished.checks,
            figures: finished.figures,
            breakdown: finished.breakdown,
            abort: finished.abort,
            failure: finished.failure,
            report: finished.report,
            judgement: judgement(&whole.verdict),
            series: whole.series.iter().map(series_head).collect(),
        }
    }
}

fn series_head(series: &Series) -> SeriesHead<'_> {
    SeriesHead {
        metric: &series.metric,
        kind: &series.kind,
        tags: &series.tags,
    }
}

fn judgement(verdict: &Verdict) -> Judgement<'_> {
    let rows = verdict.rows.iter().map(|row| JudgementRow {
        name: row.name,
        figure: &row.figure,
        limit: row.limit,
        status: row.status.word(),
        text: &row.text,
    });
    Judgement {
        overall: verdict.overall.word(),
        rows: rows.collect(),
        text: verdict::render_text(verdict),
    }
}

/// Series as columns: `t` is the unix second in which a step begins, and the n-th entry of every
/// other column belongs to the n-th of `t`. Steps without a point are missing.
#[derive(Debug, Serialize)]
pub(super) struct SeriesBody<'a> {
    run_id: &'a str,
    /// Unix milliseconds.
    from: i64,
    to: i64,
    /// Seconds.
    step: i64,
    metrics: Vec<MetricBody<'a>>,
}

#[derive(Debug, Serialize)]
struct MetricBody<'a> {
    metric: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    /// How many series were merged.
    series: usize,
    t: Vec<i64>,
    count: Vec<u64>,
    sum: Vec<f64>,
    min: Vec<Option<f64>>,
    max: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    p50: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    p90: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    p95: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    p99: Vec<Option<f64>>,
    /// The whole window as one step.
    window: WindowBody,
}

#[derive(Debug, Serialize)]
struct WindowBody {
    count: u64,
    sum: f64,
    avg: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    p50: Option<f64>,
    p90: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

impl<'a> SeriesBody<'a> {
    pub(super) fn of(run_id: &'a str, answer: &'a SeriesAnswer) -> SeriesBody<'a> {
        SeriesBody {
            run_id,
            from: answer.from_second * 1_000,
            to: answer.to_second * 1_000,
            step: answer.step,
            metrics: answer.metrics.iter().map(metric).collect(),
        }
    }
}

fn metric(metric: &MetricSteps) -> MetricBody<'_> {
    let steps = &metric.steps;
    let is_trend = metric.window.percentiles.is_some();
    let percentile = |index: usize| -> Vec<Option<f64>> {
        if !is_trend {
            return Vec::new();
        }
        steps
            .iter()
            .map(|step| step.percentiles.map(|all| all[index]))
            .collect()
    };
    MetricBody {
        metric: &metric.metric,
        kind: &metric.kind,
        series: metric.series,
        t: steps.iter().map(|step| step.second).collect(),
        count: steps.iter().map(|step| step.count).collect(),
        sum: steps.iter().map(|step| step.sum).collect(),
        min: steps.iter().map(|step| step.min).collect(),
        max: steps.iter().map(|step| step.max).collect(),
        p50: percentile(0),
        p90: percentile(1),
        p95: percentile(2),
        p99: percentile(3),
        window: window(&metric.window),
    }
}

fn window(step: &Step) -> WindowBody {
    let percentile = |index: usize| step.percentiles.map(|all| all[index]);
    WindowBody {
        count: step.count,
        sum: step.sum,
        avg: (step.count > 0).then(|| step.sum / step.count as f64),
        min: step.min,
        max: step.max,
        p50: percentile(0),
        p90: percentile(1),
        p95: percentile(2),
        p99: percentile(3),
    }
}
