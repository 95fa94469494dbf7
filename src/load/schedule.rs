//! Pure schedules: from a scenario to the instants at which its number of VUs changes.
//!
//! No clock, no VUs: everything is a value, and tested as one. Times count from the scenario's
//! start. Due times are computed from the start, never by adding up waits.

pub mod arrival;
pub mod segment;
pub mod share;

use std::collections::BTreeMap;
use std::time::Duration;

use self::segment::Stripe;
use self::share::Share;
use super::options::{Executor, Scenario, Stage};

/// From `at` on, until the next step, this many VUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub at: Duration,
    pub vus: u32,
}

/// Steps of a ramp: within a stage the count moves linearly, one VU at a time, each change at its
/// exact interpolated instant; a stage without duration jumps. The first step is at 0.
pub fn ramp(start_vus: u32, stages: &[Stage]) -> Vec<Step> {
    let mut steps = vec![Step {
        at: Duration::ZERO,
        vus: start_vus,
    }];
    let mut from = start_vus;
    let mut begun = Duration::ZERO;
    for stage in stages {
        let changes = from.abs_diff(stage.target);
        if stage.duration.is_zero() {
            push(&mut steps, begun, stage.target);
        } else {
            for change in 1..=changes {
                let vus = if stage.target > from {
                    from + change
                } else {
                    from - change
                };
                push(
                    &mut steps,
                    begun + share(stage.duration, change, changes),
                    vus,
                );
            }
        }
        begun += stage.duration;
        from = stage.target;
    }
    steps
}

/// A stretch of time in which one VU slot of a ramp is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub from: Duration,
    pub until: Duration,
    /// Whether the ramp ends it, rather than the end of the whole schedule.
    pub ramps_down: bool,
}

/// For each VU slot from the lowest, when it is wanted: slot `k` while there are more than `k`
/// VUs. Slots that are never wanted have no entry.
pub fn intervals(steps: &[Step], end: Duration) -> Vec<Vec<Interval>> {
    let most = steps.iter().map(|step| step.vus).max().unwrap_or_default();
    let mut slots: Vec<Vec<Interval>> = vec![Vec::new(); most as usize];
    let mut open: Vec<Duration> = Vec::new();
    for step in steps {
        while open.len() < step.vus as usize {
            open.push(step.at);
        }
        while open.len() > step.vus as usize {
            let from = open.pop().expect("longer than a count");
            slots[open.len()].push(Interval {
                from,
                until: step.at,
                ramps_down: true,
            });
        }
    }
    for (slot, from) in open.into_iter().enumerate() {
        slots[slot].push(Interval {
            from,
            until: end,
            ramps_down: false,
        });
    }
    for slot in &mut slots {
        slot.retain(|interval| interval.from < interval.until);
    }
    slots
}

/// VUs that a scenario holds at once over time, its graceful tails included. The last step is 0.
/// Of an arrival rate these are the ones that it begins with.
pub fn reserved(share: &Share) -> Vec<Step> {
    let scenario = &share.scenario;
    let released = scenario.executor.regular_duration() + scenario.graceful_stop;
    let all_along = |vus| {
        let end = Step {
            at: released,
            vus: 0,
        };
        vec![
            Step {
                at: Duration::ZERO,
                vus,
            },
            end,
        ]
    };
    match &scenario.executor {
        Executor::SharedIterations { vus, .. }
        | Executor::PerVuIterations { vus, .. }
        | Executor::ConstantVus { vus, .. } => all_along(*vus),
        Executor::ConstantArrivalRate {
            pre_allocated_vus, ..
        }
        | Executor::RampingArrivalRate {
            pre_allocated_vus, ..
        } => all_along(*pre_allocated_vus),
        Executor::RampingVus {
            graceful_ramp_down, ..
        } => {
            let steps = share.ramp();
            let held = steps.iter().enumerate().map(|(index, step)| {
                let until = match steps.get(index + 1) {
                    Some(next) => (next.at + *graceful_ramp_down).min(released),
                    None => released,
                };
                (step.at, until, step.vus)
            });
            highest_of(held)
        }
    }
}

/// How many VUs a run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Those that are made before the run.
    pub planned: u32,
    /// With all that arrival rates may add.
    pub possible: u32,
}

/// Most VUs that all scenarios together hold at any instant.
pub fn demand(shares: &[Share]) -> Demand {
    let mut changes: BTreeMap<Duration, (i64, i64)> = BTreeMap::new();
    for share in shares {
        let more = match &share.scenario.executor {
            Executor::ConstantArrivalRate {
                pre_allocated_vus,
                max_vus,
                ..
            }
            | Executor::RampingArrivalRate {
                pre_allocated_vus,
                max_vus,
                ..
            } => i64::from(*max_vus) - i64::from(*pre_allocated_vus),
            _ => 0,
        };
        let (mut before, mut possible_before) = (0, 0);
        for step in reserved(share) {
            let vus = i64::from(step.vus);
            let is_end = step.at >= released(&share.scenario);
            let possible = if is_end { 0 } else { vus + more };
            let change = changes
                .entry(share.scenario.start_time + step.at)
                .or_default();
            change.0 += vus - before;
            change.1 += possible - possible_before;
            (before, possible_before) = (vus, possible);
        }
    }
    let (mut now, mut most) = ((0, 0), (0, 0));
    for change in changes.values() {
        now = (now.0 + change.0, now.1 + change.1);
        most = (most.0.max(now.0), most.1.max(now.1));
    }
    let count = |vus: i64| u32::try_from(vus).unwrap_or(u32::MAX);
    Demand {
        planned: count(most.0),
        possible: count(most.1),
    }
}

/// Most VUs of all of these scenarios, unsegmented.
pub fn vus_max(scenarios: &[Scenario]) -> u32 {
    demand(&share::shares(scenarios, &Stripe::whole())).possible
}

fn released(scenario: &Scenario) -> Duration {
    scenario.executor.regular_duration() + scenario.graceful_stop
}

/// When the last scenario is over at the latest: regular end, and end with its graceful stop.
pub fn longest(scenarios: &[Scenario]) -> (Duration, Duration) {
    let regular = |s: &Scenario| s.start_time + s.executor.regular_duration();
    (
        scenarios.iter().map(regular).max().unwrap_or_default(),
        scenarios
            .iter()
            .map(|s| regular(s) + s.graceful_stop)
            .max()
            .unwrap_or_default(),
    )
}

/// Adds a step; of several at one instant the last counts.
fn push(steps: &mut Vec<Step>, at: Duration, vus: u32) {
    if let Some(last) = steps.last_mut()
        && last.at == at
    {
        last.vus = vus;
    } else {
        steps.push(Step { at, vus });
    }
}

fn share(whole: Duration, part: u32, of: u32) -> Duration {
    let nanos = whole.as_nanos() * u128::from(part) / u128::from(of);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The highest of overlapping levels over time, 0 after the last.
fn highest_of(levels: impl Iterator<Item = (Duration, Duration, u32)>) -> Vec<Step> {
    let mut begins: BTreeMap<Duration, Vec<(u32, i32)>> = BTreeMap::new();
    for (from, until, vus) in levels {
        begins.entry(from).or_default().push((vus, 1));
        begins.entry(until).or_default().push((vus, -1));
    }
    let mut active: BTreeMap<u32, i32> = BTreeMap::new();
    let mut steps: Vec<Step> = Vec::new();
    for (at, changes) in begins {
        for (vus, change) in changes {
            let count = active.entry(vus).or_default();
            *count += change;
            if *count == 0 {
                active.remove(&vus);
            }
        }
        let vus = active.keys().next_back().copied().unwrap_or_default();
        if steps.last().is_none_or(|last| last.vus != vus) {
            steps.push(Step { at, vus });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(seconds: u64, target: u32) -> Stage {
        Stage {
            duration: Duration::from_secs(seconds),
            target,
        }
    }

    fn plain(steps: &[Step]) -> Vec<(u64, u32)> {
        steps
            .iter()
            .map(|step| (step.at.as_millis() as u64, step.vus))
            .collect()
    }

    fn ramping(start_vus: u32, stages: Vec<Stage>, ramp_down: u64, stop: u64) -> Scenario {
        Scenario {
            graceful_stop: Duration::from_secs(stop),
            ..Scenario::shortcut(Executor::RampingVus {
                start_vus,
                stages,
                graceful_ramp_down: Duration::from_secs(ramp_down),
            })
        }
    }

    #[test]
    fn vus_change_at_interpolated_instants() {
        let steps = ramp(0, &[stage(10, 4), stage(5, 4), stage(3, 1)]);
        assert_eq!(
            plain(&steps),
            [
                (0, 0),
                (2_500, 1),
                (5_000, 2),
                (7_500, 3),
                (10_000, 4),
                (16_000, 3),
                (17_000, 2),
                (18_000, 1)
            ]
        );
    }

    #[test]
    fn stage_without_duration_jumps() {
        let steps = ramp(2, &[stage(0, 9), stage(4, 9), stage(0, 1), stage(2, 0)]);
        assert_eq!(plain(&steps), [(0, 9), (4_000, 1), (6_000, 0)]);
    }

    #[test]
    fn low_slots_stay_while_high_ones_come_and_go() {
        let steps = ramp(1, &[stage(2, 3), stage(2, 1), stage(1, 2), stage(1, 2)]);
        let slots = intervals(&steps, Duration::from_secs(6));
        let plain: Vec<Vec<(u64, u64, bool)>> = slots
            .iter()
            .map(|slot| {
                let plain = |i: &Interval| (i.from.as_secs(), i.until.as_secs(), i.ramps_down);
                slot.iter().map(plain).collect()
            })
            .collect();
        assert_eq!(plain[0], [(0, 6, false)]);
        assert_eq!(plain[1], [(1, 4, true), (5, 6, false)]);
        assert_eq!(plain[2], [(2, 3, true)]);
    }

    #[test]
    fn ramped_down_vus_stay_reserved_for_their_grace() {
        let scenario = ramping(4, vec![stage(2, 2), stage(2, 3), stage(10, 3)], 3, 5);
        assert_eq!(
            plain(&reserved(&Share::whole(scenario))),
            [(0, 4), (4_000, 3), (19_000, 0)]
        );
        let abrupt = ramping(4, vec![stage(2, 2), stage(2, 2)], 0, 0);
        assert_eq!(
            plain(&reserved(&Share::whole(abrupt))),
            [(0, 4), (1_000, 3), (2_000, 2), (4_000, 0)]
        );
    }

    #[test]
    fn scenarios_that_follow_each_other_share_vus() {
        let constant = |vus, start: u64| Scenario {
            start_time: Duration::from_secs(start),
            graceful_stop: Duration::from_secs(2),
            ..Scenario::shortcut(Executor::ConstantVus {
                vus,
                duration: Duration::from_secs(10),
            })
        };
        assert_eq!(vus_max(&[constant(5, 0), constant(7, 12)]), 7);
        assert_eq!(vus_max(&[constant(5, 0), constant(7, 11)]), 12);
        let both = longest(&[constant(5, 0), constant(7, 12)]);
        assert_eq!(both, (Duration::from_secs(22), Duration::from_secs(24)));
    }

    #[test]
    fn arrival_rates_plan_for_some_and_may_have_more() {
        let arrivals = Scenario {
            graceful_stop: Duration::from_secs(2),
            ..Scenario::shortcut(Executor::ConstantArrivalRate {
                rate: 1,
                time_unit: Duration::from_secs(1),
                duration: Duration::from_secs(10),
                pre_allocated_vus: 3,
                max_vus: 10,
            })
        };
        let later = Scenario {
            start_time: Duration::from_secs(12),
            ..arrivals.clone()
        };
        let whole = |scenarios: &[Scenario]| demand(&share::shares(scenarios, &Stripe::whole()));
        let (planned, possible) = (3, 10);
        assert_eq!(whole(&[arrivals, later]), Demand { planned, possible });
    }

    #[test]
    fn long_ramps_are_cheap() {
        let scenario = ramping(0, vec![stage(600, 100_000), stage(600, 0)], 30, 30);
        assert_eq!(vus_max(&[scenario]), 100_000);
    }
}
