//! What one execution segment does of a scenario: its VUs, and its stripe of the iterations.

use super::segment::Stripe;
use super::{Step, ramp};
use crate::load::options::{Executor, Fraction, Options, Scenario};

/// A scenario as this instance runs it. Numbers of VUs are ours; rates and stages are the whole
/// test's, whose instants `stripe` and `vus` share out.
#[derive(Clone, Debug)]
pub struct Share {
    pub scenario: Scenario,
    /// Our iterations among all of the scenario's.
    pub stripe: Stripe,
    /// Our VUs among all of the test's.
    pub vus: Stripe,
}

impl Share {
    /// All of it.
    pub fn whole(scenario: Scenario) -> Share {
        Share {
            scenario,
            stripe: Stripe::whole(),
            vus: Stripe::whole(),
        }
    }

    /// Our part; `None` where that has no VU.
    pub fn of(scenario: &Scenario, vus: &Stripe) -> Option<Share> {
        let mut share = Share {
            scenario: scenario.clone(),
            stripe: vus.clone(),
            vus: vus.clone(),
        };
        match &mut share.scenario.executor {
            Executor::SharedIterations {
                vus: count,
                iterations,
                ..
            } => {
                share.stripe = vus.of_those_with(*count)?;
                *iterations = share.stripe.scale(*iterations);
                *count = vus.scale_vus(*count);
            }
            Executor::PerVuIterations { vus: count, .. }
            | Executor::ConstantVus { vus: count, .. } => {
                *count = vus.scale_vus(*count);
                (*count > 0).then_some(())?;
            }
            Executor::RampingVus {
                start_vus, stages, ..
            } => {
                let most = ramp(*start_vus, stages).iter().map(|step| step.vus).max();
                (vus.scale_vus(most.unwrap_or_default()) > 0).then_some(())?;
            }
            Executor::ConstantArrivalRate {
                pre_allocated_vus,
                max_vus,
                ..
            }
            | Executor::RampingArrivalRate {
                pre_allocated_vus,
                max_vus,
                ..
            } => {
                share.stripe = vus.of_those_with(*max_vus)?;
                *max_vus = vus.scale_vus(*max_vus);
                *pre_allocated_vus = vus.scale_vus(*pre_allocated_vus);
            }
        }
        Some(share)
    }

    /// The ramp of a `ramping-vus`, in VUs of ours.
    pub fn ramp(&self) -> Vec<Step> {
        let Executor::RampingVus {
            start_vus, stages, ..
        } = &self.scenario.executor
        else {
            return Vec::new();
        };
        let mut own: Vec<Step> = Vec::new();
        for step in ramp(*start_vus, stages) {
            let vus = self.vus.scale_vus(step.vus);
            if own.last().is_none_or(|last| last.vus != vus) {
                own.push(Step { vus, ..step });
            }
        }
        own
    }
}

/// What this instance does of each scenario that it has any work in.
pub fn shares(scenarios: &[Scenario], vus: &Stripe) -> Vec<Share> {
    let shares = scenarios.iter().map(|scenario| Share::of(scenario, vus));
    shares.flatten().collect()
}

/// The VUs that are this instance's by `executionSegment` and its sequence. A segment without a
/// sequence is one of at most three: what is before it, itself, and what is after it, as in k6.
///
/// # Errors
/// A sequence whose common denominator is too large to share anything out by.
pub fn stripe(options: &Options) -> Result<Stripe, String> {
    let Some(segment) = &options.execution_segment else {
        return Ok(Stripe::whole());
    };
    let mut points = match &options.execution_segment_sequence {
        Some(sequence) => sequence.points.clone(),
        None => vec![segment.from, segment.to],
    };
    if points.first() != Some(&Fraction::ZERO) {
        points.insert(0, Fraction::ZERO);
    }
    if points.last() != Some(&Fraction::ONE) {
        points.push(Fraction::ONE);
    }
    let index = points
        .windows(2)
        .position(|p| p == [segment.from, segment.to]);
    let lengths = over_common_denominator(&points);
    index
        .zip(lengths)
        .and_then(|(index, lengths)| Stripe::of(&lengths, index))
        .ok_or_else(|| {
            format!(
                "execution segment {segment} can't be striped: its sequence needs a common \
                 denominator of at most {}",
                super::segment::PERIOD_MAX
            )
        })
}

fn over_common_denominator(points: &[Fraction]) -> Option<Vec<u64>> {
    fn divisor(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    let common = points.iter().try_fold(1_u64, |common, point| {
        let rest = point.denominator / divisor(common, point.denominator);
        common.checked_mul(rest)
    })?;
    let places: Vec<u64> = points
        .iter()
        .map(|point| point.numerator.checked_mul(common / point.denominator))
        .collect::<Option<_>>()?;
    Some(places.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::options::Stage;
    use std::time::Duration;

    fn thirds() -> Vec<Stripe> {
        (0..3)
            .filter_map(|index| Stripe::of(&[1, 1, 1], index))
            .collect()
    }

    #[test]
    fn ramps_of_segments_add_up_at_every_instant() {
        let stage = |seconds, target| Stage {
            duration: Duration::from_secs(seconds),
            target,
        };
        let scenario = Scenario::shortcut(Executor::RampingVus {
            start_vus: 1,
            stages: vec![stage(10, 11), stage(5, 2)],
            graceful_ramp_down: Duration::ZERO,
        });
        let whole = Share::whole(scenario.clone()).ramp();
        let parts: Vec<Vec<Step>> = thirds()
            .iter()
            .filter_map(|stripe| Share::of(&scenario, stripe))
            .map(|share| share.ramp())
            .collect();
        let at = |steps: &[Step], time: Duration| {
            let after = steps.partition_point(|step| step.at <= time);
            steps[after - 1].vus
        };
        for step in whole {
            let sum: u32 = parts.iter().map(|part| at(part, step.at)).sum();
            assert_eq!(sum, step.vus, "{:?}", step.at);
        }
    }

    #[test]
    fn segments_without_vus_have_no_work() {
        let scenario = Scenario::shortcut(Executor::SharedIterations {
            vus: 2,
            iterations: 9,
            max_duration: Duration::from_secs(1),
        });
        let parts: Vec<Option<(u32, u64)>> = thirds()
            .iter()
            .map(|stripe| {
                Share::of(&scenario, stripe).map(|share| match share.scenario.executor {
                    Executor::SharedIterations {
                        vus, iterations, ..
                    } => (vus, iterations),
                    other => panic!("{other:?}"),
                })
            })
            .collect();
        assert_eq!(parts, [Some((1, 5)), Some((1, 4)), None]);
    }
}
