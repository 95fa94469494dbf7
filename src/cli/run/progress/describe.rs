//! What a run is about to do, and the one line about where it is, in k6's words.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::load::Begun;
use crate::load::options::duration::format;
use crate::load::options::{Executor, Scenario};

pub(super) fn header(script: &str, run: &Begun) -> String {
    let outputs = match run.outputs.as_slice() {
        [] => "-".to_owned(),
        outputs => outputs.join(", "),
    };
    let segment = run.options.execution_segment.unwrap_or_default();
    let part = segment.to.as_f64() - segment.from.as_f64();
    let count = run.scenarios.len();
    let noun = if count == 1 { "scenario" } else { "scenarios" };
    let mut text = format!(
        "\n     execution: local\n        script: {script}\n        output: {outputs}\n\n     \
         scenarios: ({:.2}%) {count} {noun}, {} max VUs, {} max duration (incl. graceful stop):\n",
        part * 100.0,
        run.vus_max,
        format(tenths(run.longest)),
    );
    for scenario in &run.scenarios {
        text.push_str(&format!("              * {}\n", describe(scenario)));
    }
    text.push('\n');
    text
}

/// Time, VUs, iterations.
pub(super) fn status(run: &Begun) -> String {
    let state = &run.state;
    format!(
        "running ({}), {:0width$}/{} VUs, {} complete and {} interrupted iterations",
        clock(state.started.elapsed()),
        state.vus_active.load(Ordering::Relaxed),
        run.vus_max,
        state.iterations_completed.load(Ordering::Relaxed),
        state.iterations_interrupted.load(Ordering::Relaxed),
        width = digits(run.vus_max),
    )
}

fn describe(scenario: &Scenario) -> String {
    let (what, fact) = match &scenario.executor {
        Executor::SharedIterations {
            vus,
            iterations,
            max_duration,
        } => (
            format!("{iterations} iterations shared among {vus} VUs"),
            Some(format!("maxDuration: {}", format(*max_duration))),
        ),
        Executor::PerVuIterations {
            vus,
            iterations,
            max_duration,
        } => (
            format!("{iterations} iterations for each of {vus} VUs"),
            Some(format!("maxDuration: {}", format(*max_duration))),
        ),
        Executor::ConstantVus { vus, duration } => {
            (format!("{vus} looping VUs for {}", format(*duration)), None)
        }
        Executor::RampingVus {
            start_vus,
            stages,
            graceful_ramp_down,
        } => {
            let most = stages.iter().map(|s| s.target).max().unwrap_or_default();
            let what = format!(
                "Up to {} looping VUs for {} over {} stages",
                most.max(*start_vus),
                format(scenario.executor.regular_duration()),
                stages.len()
            );
            let fact = format!("gracefulRampDown: {}", format(*graceful_ramp_down));
            (what, Some(fact))
        }
        Executor::ConstantArrivalRate {
            rate,
            time_unit,
            duration,
            pre_allocated_vus,
            max_vus,
        } => (
            format!(
                "{:.2} iterations/s for {}",
                *rate as f64 / time_unit.as_secs_f64(),
                format(*duration)
            ),
            Some(vus_range(*pre_allocated_vus, *max_vus)),
        ),
        Executor::RampingArrivalRate {
            start_rate,
            time_unit,
            stages,
            pre_allocated_vus,
            max_vus,
        } => {
            let targets = stages.iter().map(|stage| u64::from(stage.target));
            let most = targets.max().unwrap_or_default().max(*start_rate);
            let what = format!(
                "Up to {:.2} iterations/s for {} over {} stages",
                most as f64 / time_unit.as_secs_f64(),
                format(scenario.executor.regular_duration()),
                stages.len(),
            );
            (what, Some(vus_range(*pre_allocated_vus, *max_vus)))
        }
    };
    let mut facts: Vec<String> = fact.into_iter().collect();
    if scenario.exec != "default" {
        facts.push(format!("exec: {}", scenario.exec));
    }
    if !scenario.start_time.is_zero() {
        facts.push(format!("startTime: {}", format(scenario.start_time)));
    }
    if !scenario.graceful_stop.is_zero() {
        facts.push(format!("gracefulStop: {}", format(scenario.graceful_stop)));
    }
    match facts.is_empty() {
        true => format!("{}: {what}", scenario.name),
        false => format!("{}: {what} ({})", scenario.name, facts.join(", ")),
    }
}

fn vus_range(pre_allocated: u32, max: u32) -> String {
    if max > pre_allocated {
        format!("maxVUs: {pre_allocated}-{max}")
    } else {
        format!("maxVUs: {pre_allocated}")
    }
}

/// `7m03.2s`, `1h02m03.0s`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = tenths(time).as_secs_f64();
    let minutes = (seconds / 60.0).floor();
    let rest = seconds - minutes * 60.0;
    if minutes >= 60.0 {
        let hours = (minutes / 60.0).floor();
        return format!("{hours}h{:02}m{rest:04.1}s", minutes - hours * 60.0);
    }
    format!("{minutes}m{rest:04.1}s")
}

fn tenths(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64 / 100 * 100)
}

/// Digits of the highest number, so that shown numbers don't jump.
pub(super) fn digits(most: u32) -> usize {
    most.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_decimal_and_no_leading_zero() {
        for (ms, text) in [
            (0, "0m00.0s"),
            (59_990, "0m59.9s"),
            (423_250, "7m03.2s"),
            (3_723_000, "1h02m03.0s"),
        ] {
            assert_eq!(clock(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn scenarios_are_described_in_k6s_words() {
        let mut scenario = Scenario::shortcut(Executor::ConstantArrivalRate {
            rate: 5,
            time_unit: Duration::from_secs(2),
            duration: Duration::from_secs(90),
            pre_allocated_vus: 2,
            max_vus: 4,
        });
        let expected = "default: 2.50 iterations/s for 1m30s (maxVUs: 2-4, gracefulStop: 30s)";
        assert_eq!(describe(&scenario), expected);
        scenario.executor = Executor::ConstantVus {
            vus: 3,
            duration: Duration::from_secs(1),
        };
        scenario.exec = "visit".to_owned();
        scenario.start_time = Duration::from_secs(2);
        scenario.graceful_stop = Duration::ZERO;
        let expected = "default: 3 looping VUs for 1s (exec: visit, startTime: 2s)";
        assert_eq!(describe(&scenario), expected);
    }
}
