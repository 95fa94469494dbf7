//! The end of a run, in the order that tests hold fixed: executors done, channel closed, outputs
//! flushed, thresholds final, outputs stopped, summary, exit code.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::beyond::OnException;
use super::{Failure, Live, SummaryShape, SummaryWanted};
use crate::load::control::Stage;
use crate::load::exit::Exit;
use crate::load::js::ScriptError;
use crate::load::metrics::sink::Sink;
use crate::load::metrics::{Engine, builtin};
use crate::load::output::RunStart;
use crate::load::state::AbortReason;
use crate::load::summary::json::{Terminal, handle_summary_data};
use crate::load::summary::text::Detail;
use crate::load::summary::{Summary, machine};
use crate::load::threshold::Verdict;
use crate::load::{RunFigures, RunOutcome, process};

impl Live {
    /// Closes the channel, makes thresholds final, stops outputs, lets the script sum up.
    pub(super) async fn conclude(
        mut self,
        terminal: Terminal,
        (wanted, shape): (SummaryWanted, SummaryShape),
    ) -> RunOutcome {
        let duration = self.state.started.elapsed();
        self.pool.drain().await;
        self.state.control.enter(Stage::Ended);
        self.gauges.abort();
        // Cancelled or not: what matters is that its end of the channel is gone.
        let _ = (&mut self.gauges).await;
        self.samples = None;
        self.closing.cancel();
        let pump = self.pump.take().expect("a run is concluded once");
        let manager = pump.await.expect("outputs do not panic");
        let mut outcome = self.outcome(duration, terminal);
        manager.stop(&outcome).await;
        if wanted != SummaryWanted::No && self.exports("handleSummary") {
            let data = match shape {
                SummaryShape::Usual => outcome.summary_json.clone(),
                SummaryShape::MachineReadable => {
                    let detail = match wanted {
                        SummaryWanted::Full => Detail::Full,
                        SummaryWanted::Compact | SummaryWanted::No => Detail::Compact,
                    };
                    let now = SystemTime::now();
                    machine::summary(&outcome.summary, &outcome.name, detail, now).to_string()
                }
            };
            self.handle_summary(&data, &mut outcome).await;
        }
        if let Ok(pool) = Arc::try_unwrap(self.pool) {
            pool.stop().await;
        }
        outcome
    }

    /// What the script's own summary says; an exception in it is logged and changes nothing else,
    /// one that takes too long is a failure.
    async fn handle_summary(&self, data: &str, outcome: &mut RunOutcome) {
        let limit = self.options.handle_summary_timeout;
        match self.pool.call_handle_summary(data.to_owned(), limit).await {
            Ok(files) => outcome.custom_summary = Some(files),
            Err(error) => {
                tracing::error!("handleSummary failed, the default summary follows: {error}");
                if matches!(error, ScriptError::Timeout { .. }) && outcome.exit_code == 0 {
                    outcome.exit_code = Exit::of_script(&error) as u8;
                }
            }
        }
    }

    fn outcome(&mut self, duration: Duration, terminal: Terminal) -> RunOutcome {
        let engine = self.engine.lock().unwrap_or_else(|e| e.into_inner());
        let verdicts = self.evaluator.finish(&engine, duration);
        verdicts.iter().for_each(say_windows);
        let mut summary = Summary::collect(
            &engine,
            &verdicts,
            duration,
            &self.options.summary_trend_stats,
            self.state
                .control
                .setup_data()
                .as_deref()
                .map(str::to_owned),
        );
        summary.exceptions = self.state.exceptions.list();
        let figures = self.figures(&engine, duration);
        drop(engine);
        let failure = self.failure.take().or_else(|| self.late_failure(&summary));
        RunOutcome {
            run_id: self.start.run_id.clone(),
            name: self.start.name.clone(),
            started_wall: self.state.started_wall,
            duration,
            summary_json: handle_summary_data(&summary, &self.options, terminal).to_string(),
            summary,
            exit_code: failure.as_ref().map_or(Exit::Ok, |failure| failure.exit) as u8,
            failure: failure.map(|failure| failure.text),
            abort: self.state.abort_reason().cloned(),
            time_unit: self.options.summary_time_unit,
            custom_summary: None,
            figures,
        }
    }

    /// Reasons that show only when all is over, in the order in which they came about.
    fn late_failure(&self, summary: &Summary) -> Option<Failure> {
        if let Some(reason) = self.state.abort_reason() {
            return Some(Failure {
                exit: Exit::of_abort(reason),
                text: match reason {
                    AbortReason::Signal => "the run was stopped by a signal".to_owned(),
                    AbortReason::Control => "the run was stopped by live control".to_owned(),
                    AbortReason::Script(text) if text.is_empty() => "test aborted".to_owned(),
                    AbortReason::Script(text) => format!("test aborted: {text}"),
                    AbortReason::Threshold => {
                        "thresholds with abortOnFail have been crossed".to_owned()
                    }
                    AbortReason::Failed(text) => text.clone(),
                },
            });
        }
        if let Some(text) = self.state.marked_failed.get() {
            return Some(Failure {
                exit: Exit::MarkedFailed,
                text: format!("the script marked the test as failed: {text}"),
            });
        }
        let exceptions = self.state.script_exceptions.load(Ordering::Relaxed);
        if exceptions > 0 && self.on_exception == OnException::Fail {
            let text = format!("{exceptions} iterations ended in an uncaught exception");
            // Exceptions have been logged one by one; that they decide the exit code has not.
            tracing::error!("{text}");
            return Some(Failure {
                exit: Exit::ScriptException,
                text,
            });
        }
        let crossed: Vec<&str> = summary
            .metrics
            .iter()
            .filter(|metric| metric.thresholds.iter().any(|threshold| !threshold.ok))
            .map(|metric| metric.name.as_str())
            .collect();
        if crossed.is_empty() {
            return None;
        }
        Some(Failure {
            exit: Exit::Thresholds,
            text: format!(
                "thresholds on metrics '{}' have been crossed",
                crossed.join(", ")
            ),
        })
    }

    fn figures(&self, engine: &Engine, duration: Duration) -> RunFigures {
        let percentile = |p: f64| match engine.metric(builtin::HTTP_REQ_DURATION) {
            Some(Sink::Trend(trend)) if !trend.is_empty() => Some(trend.quantile(p)),
            _ => None,
        };
        let mut totals =
            engine
                .totals()
                .figures(duration, percentile(0.95), percentile(0.99), None);
        totals.vus_max = totals.vus_max.max(self.demand.planned);
        let cpu = process::cpu_time().zip(self.cpu_before);
        let cpu_share = cpu.map(|(now, before)| {
            let used = now.saturating_sub(before).as_secs_f64();
            used / (duration.as_secs_f64().max(1e-3) * process::cores() as f64)
        });
        RunFigures {
            target: self.start.target.clone(),
            iterations_completed: self.state.iterations_completed.load(Ordering::Relaxed),
            iterations_interrupted: self.state.iterations_interrupted.load(Ordering::Relaxed),
            script_exceptions: self.state.script_exceptions.load(Ordering::Relaxed),
            vus_leaked: self.state.vus_leaked.load(Ordering::Relaxed),
            samples_dropped: self.samples_dropped.load(Ordering::Relaxed),
            totals,
            cpu_share,
            memory_bytes_max: process::memory_bytes_max(),
        }
    }
}

/// A windowed threshold says by one figure only how bad it was, not how often.
fn say_windows(verdict: &Verdict) {
    let Some(judged) = verdict.windows.filter(|judged| judged.failed > 0) else {
        return;
    };
    tracing::warn!(
        threshold = verdict.source,
        "{} of {} windows crossed the threshold, the first one from {} on",
        judged.failed,
        judged.windows,
        crate::load::options::duration::format(judged.first_failed.unwrap_or_default())
    );
}

impl RunOutcome {
    /// The outcome that outputs are stopped with when another one failed to start.
    pub(super) fn not_begun(start: &RunStart) -> RunOutcome {
        RunOutcome {
            run_id: start.run_id.clone(),
            name: start.name.clone(),
            started_wall: SystemTime::now(),
            duration: Duration::ZERO,
            summary: Summary::default(),
            summary_json: "{}".to_owned(),
            exit_code: Exit::Other as u8,
            failure: Some("an output could not be started".to_owned()),
            abort: None,
            time_unit: None,
            custom_summary: None,
            figures: RunFigures::default(),
        }
    }
}
