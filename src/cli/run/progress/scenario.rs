//! Where one scenario is: its share, its sign, and the figures beside its bar.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::describe::digits;
use crate::load::Begun;
use crate::load::options::duration::format;
use crate::load::options::{Executor, Scenario};
use crate::load::vu::pool::ScenarioContext;

/// What is shown about one scenario.
pub(super) struct Standing {
    /// 0 to 1.
    pub(super) share: f64,
    /// k6's: waiting `•`, running, stopping `↓`, done `✓`, cut short `✗`.
    pub(super) sign: char,
    pub(super) right: String,
}

pub(super) fn standing(scenario: &Scenario, run: &Begun) -> Standing {
    let Some(context) = run.state.scenario(&scenario.name) else {
        let cut = run.state.abort_reason().is_some();
        return Standing {
            share: 0.0,
            sign: if cut { '✗' } else { '•' },
            right: format!("waiting, starts at {}", format(scenario.start_time)),
        };
    };
    let regular = scenario.executor.regular_duration();
    let elapsed = Instant::now().saturating_duration_since(context.started);
    let ended = context.ended.load(Ordering::Relaxed);
    let vus = context.vus_active.load(Ordering::Relaxed);
    let (share, last) = share(scenario, &context, elapsed, vus);
    let cut = run.state.abort_reason().is_some() && share < 1.0;
    let sign = match (ended, cut) {
        (true, false) => '✓',
        (true, true) => '✗',
        (false, _) if elapsed > regular => '↓',
        (false, _) => ' ',
    };
    let time = match elapsed >= regular {
        true => format(regular),
        false => format!("{}/{}", short(elapsed), format(regular)),
    };
    let most = vus_most(&scenario.executor);
    let vus = match most {
        Some(most) => format!("{vus:0width$}/{most} VUs", width = digits(most)),
        None => format!("{vus} VUs"),
    };
    let mut right = format!("{vus}  {time}");
    if let Some(last) = last {
        right.push_str("  ");
        right.push_str(&last);
    }
    Standing { share, sign, right }
}

/// How much is done, and its figure where it is not the time.
fn share(
    scenario: &Scenario,
    context: &ScenarioContext,
    elapsed: Duration,
    vus: u32,
) -> (f64, Option<String>) {
    let regular = scenario.executor.regular_duration();
    let of_time = (elapsed.as_secs_f64() / regular.as_secs_f64()).clamp(0.0, 1.0);
    let of_time = if of_time.is_nan() { 1.0 } else { of_time };
    // A VU at work has one iteration under way.
    let started = context.iterations_started.load(Ordering::Relaxed);
    let done = started.saturating_sub(u64::from(vus));
    match &scenario.executor {
        Executor::SharedIterations { iterations, .. } => {
            let share = done as f64 / *iterations as f64;
            (share, Some(format!("{done}/{iterations} shared iters")))
        }
        Executor::PerVuIterations {
            vus, iterations, ..
        } => {
            let all = u64::from(*vus) * iterations;
            let text = format!("{done}/{all} iters, {iterations} per VU");
            (done as f64 / all as f64, Some(text))
        }
        Executor::ConstantArrivalRate {
            rate, time_unit, ..
        } => {
            let rate = *rate as f64 / time_unit.as_secs_f64();
            (of_time, Some(format!("{rate:.2} iters/s")))
        }
        Executor::RampingArrivalRate { .. }
        | Executor::ConstantVus { .. }
        | Executor::RampingVus { .. } => (of_time, None),
    }
}

/// The number of VUs that a changing count is shown against.
fn vus_most(executor: &Executor) -> Option<u32> {
    match executor {
        Executor::RampingVus {
            start_vus, stages, ..
        } => {
            let most = stages.iter().map(|stage| stage.target).max();
            Some(most.unwrap_or_default().max(*start_vus))
        }
        Executor::ConstantArrivalRate { max_vus, .. }
        | Executor::RampingArrivalRate { max_vus, .. } => Some(*max_vus),
        _ => None,
    }
}

/// `02.3s`, `1m02.3s`.
fn short(time: Duration) -> String {
    let text = super::describe::clock(time);
    match text.strip_prefix("0m") {
        Some(seconds) => seconds.to_owned(),
        None => text,
    }
}
