//! Binds thresholds to sinks before the run, evaluates them during it and at its end.
//!
//! During the run (every 2 s, by the caller's clock) empty sinks are skipped; at the end nothing
//! is: an empty trend or counter counts as 0, an empty rate passes, as in k6.

use std::collections::BTreeMap;
use std::time::Duration;

use super::parse::{ParseError, Selector, Threshold};
use crate::load::metrics::engine::{Engine, SinkRef, WindowRef};
use crate::load::metrics::sink::Sink;
use crate::load::metrics::window::{Judged, Rule};
use crate::load::metrics::{MetricId, MetricKind, Registry};

/// All thresholds of a run, each bound to the sink that it reads.
#[derive(Debug, Default)]
pub struct Evaluator {
    bound: Vec<Bound>,
}

#[derive(Debug)]
struct Bound {
    sink: SinkRef,
    /// Each with its windows, if it is judged by these.
    thresholds: Vec<(Threshold, Option<WindowRef>)>,
}

/// What a look at all thresholds during the run gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossed {
    None,
    Some,
    /// One with `abortOnFail`, after its delay.
    Aborting,
}

/// One evaluated expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub sink: SinkRef,
    /// As written in the script.
    pub source: String,
    /// The figure that was compared.
    pub value: f64,
    pub ok: bool,
    pub abort_on_fail: bool,
    /// How its windows ended, where it has any.
    pub windows: Option<Judged>,
}

/// Why a threshold can't be used; each makes the configuration invalid (exit 104).
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("thresholds of '{name}': {source}")]
    Parse {
        name: String,
        #[source]
        source: ParseError,
    },
    #[error(
        "thresholds of '{name}': no metric '{metric}' exists\nhint: declare custom metrics in the init context, outside of functions"
    )]
    UnknownMetric { name: String, metric: String },
}

impl Evaluator {
    /// Binds `thresholds` (by metric or submetric name) to sinks of `engine`, which creates the
    /// submetrics they name.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn bind(
        thresholds: &BTreeMap<String, Vec<Threshold>>,
        registry: &Registry,
        engine: &mut Engine,
    ) -> Result<Evaluator, Vec<SetupError>> {
        let mut evaluator = Evaluator::default();
        let mut problems = Vec::new();
        for (name, thresholds) in thresholds {
            let selector = match Selector::parse(name) {
                Ok(selector) => selector,
                Err(source) => {
                    let name = name.clone();
                    problems.push(SetupError::Parse { name, source });
                    continue;
                }
            };
            let Some(metric) = registry.by_name(&selector.metric) else {
                problems.push(SetupError::UnknownMetric {
                    name: name.clone(),
                    metric: selector.metric,
                });
                continue;
            };
            let before = problems.len();
            for threshold in thresholds {
                if let Err(source) = threshold.check_kind(metric.kind) {
                    let name = name.clone();
                    problems.push(SetupError::Parse { name, source });
                }
            }
            if problems.len() == before {
                let sink = bind_sink(engine, metric.id, metric.kind, selector);
                let bind = |threshold: &Threshold| {
                    let window = threshold.window.map(|length| {
                        let rule = Rule {
                            length,
                            aggregation: threshold.aggregation,
                            operator: threshold.operator,
                            limit: threshold.limit,
                        };
                        engine.add_window(sink, metric.kind, rule)
                    });
                    (threshold.clone(), window)
                };
                let thresholds = thresholds.iter().map(bind).collect();
                evaluator.bound.push(Bound { sink, thresholds });
            }
        }
        if problems.is_empty() {
            Ok(evaluator)
        } else {
            Err(problems)
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    /// Whether some threshold is crossed, and ends the run now. `elapsed` is the run's time so
    /// far.
    pub fn crossed(&self, engine: &Engine, elapsed: Duration) -> Crossed {
        let mut crossed = Crossed::None;
        for bound in &self.bound {
            let sink = engine.sink(bound.sink);
            if sink.is_empty() {
                continue;
            }
            for (threshold, window) in &bound.thresholds {
                let ok = match window {
                    Some(window) => engine.window(*window).judged(elapsed).failed == 0,
                    None => passes(threshold, sink, elapsed).0,
                };
                if ok {
                    continue;
                }
                if threshold.abort_on_fail && elapsed >= threshold.delay_abort {
                    return Crossed::Aborting;
                }
                crossed = Crossed::Some;
            }
        }
        crossed
    }

    /// Verdicts over everything that was measured, in the order of binding.
    pub fn finish(&self, engine: &Engine, elapsed: Duration) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for bound in &self.bound {
            let sink = engine.sink(bound.sink);
            for (threshold, window) in &bound.thresholds {
                let judged = window.map(|window| engine.window(window).judged(elapsed));
                let (ok, value) = match judged {
                    Some(judged) => (judged.failed == 0, judged.worst.unwrap_or_default()),
                    None => passes(threshold, sink, elapsed),
                };
                verdicts.push(Verdict {
                    sink: bound.sink,
                    source: threshold.name(),
                    value,
                    ok,
                    abort_on_fail: threshold.abort_on_fail,
                    windows: judged,
                });
            }
        }
        verdicts
    }
}

fn bind_sink(
    engine: &mut Engine,
    metric: MetricId,
    kind: MetricKind,
    selector: Selector,
) -> SinkRef {
    match selector.suffix {
        None => {
            engine.ensure(metric, kind);
            SinkRef::Metric(metric)
        }
        Some(suffix) => engine.add_submetric(metric, kind, &suffix, selector.tags),
    }
}

fn passes(threshold: &Threshold, sink: &Sink, elapsed: Duration) -> (bool, f64) {
    let value = sink
        .aggregate(threshold.aggregation, elapsed)
        .expect("binding checked the aggregation against the type");
    let empty_rate = sink.is_empty() && matches!(sink, Sink::Rate { .. });
    let ok = empty_rate || threshold.operator.holds(value, threshold.limit);
    (ok, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::metrics::{Container, builtin, sample};

    fn bound(name: &str, expressions: &[&str]) -> (Evaluator, Engine) {
        let registry = Registry::new();
        let mut engine = Engine::new(registry.clone());
        let parsed = expressions
            .iter()
            .map(|text| Threshold::parse(text).expect("an expression"))
            .collect();
        let thresholds = BTreeMap::from([(name.to_owned(), parsed)]);
        let evaluator =
            Evaluator::bind(&thresholds, &registry, &mut engine).expect("valid thresholds");
        (evaluator, engine)
    }

    fn add(engine: &mut Engine, metric: MetricId, value: f64) {
        engine.add(&[Container {
            at: Duration::ZERO,
            vu: 1,
            iter: 0,
            metadata: None,
            value: sample::Value::One {
                metric,
                value,
                tags: Default::default(),
            },
        }]);
    }

    #[test]
    fn empty_sinks_are_judged_only_at_the_end() {
        let (mut evaluator, engine) = bound("iterations", &["count>0"]);
        evaluator.bound[0].thresholds[0].0.abort_on_fail = true;
        let elapsed = Duration::from_secs(10);
        assert_eq!(evaluator.crossed(&engine, elapsed), Crossed::None);
        assert!(!evaluator.finish(&engine, elapsed)[0].ok);
        let (rate, engine) = bound("checks", &["rate>0.9"]);
        assert!(rate.finish(&engine, elapsed)[0].ok);
        let (trend, engine) = bound("http_req_duration", &["p(95)<500", "min>0"]);
        let verdicts = trend.finish(&engine, elapsed);
        assert!(verdicts[0].ok && !verdicts[1].ok);
    }

    #[test]
    fn abort_waits_for_its_delay() {
        let (mut evaluator, mut engine) = bound("checks", &["rate>0.9"]);
        add(&mut engine, builtin::CHECKS, 0.0);
        assert_eq!(
            evaluator.crossed(&engine, Duration::from_secs(60)),
            Crossed::Some
        );
        evaluator.bound[0].thresholds[0].0.abort_on_fail = true;
        evaluator.bound[0].thresholds[0].0.delay_abort = Duration::from_secs(5);
        assert_eq!(
            evaluator.crossed(&engine, Duration::from_secs(4)),
            Crossed::Some
        );
        assert_eq!(
            evaluator.crossed(&engine, Duration::from_secs(5)),
            Crossed::Aborting
        );
    }

    #[test]
    fn all_wrong_thresholds_are_named_at_once() {
        let registry = Registry::new();
        let mut engine = Engine::new(registry.clone());
        let rate = Threshold::parse("p(95)<1").expect("an expression");
        let thresholds = BTreeMap::from([
            ("nothing".to_owned(), vec![rate.clone()]),
            ("checks".to_owned(), vec![rate.clone()]),
            ("http_reqs{".to_owned(), vec![rate]),
        ]);
        let problems = Evaluator::bind(&thresholds, &registry, &mut engine).expect_err("wrong");
        assert_eq!(problems.len(), 3);
    }
}
