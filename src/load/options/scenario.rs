//! One scenario: which function runs, how often, by how many VUs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reader::Fields;

/// Shortest `duration` and `maxDuration`, as in k6.
const DURATION_MIN: Duration = Duration::from_secs(1);
/// Most VUs of one scenario: beyond it memory, not the schedule, is the question.
pub const VUS_MAX: u32 = 200_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub name: String,
    pub executor: Executor,
    pub start_time: Duration,
    pub graceful_stop: Duration,
    /// Name of the exported function.
    pub exec: String,
    pub env: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Executor {
    SharedIterations {
        vus: u32,
        iterations: u64,
        max_duration: Duration,
    },
    PerVuIterations {
        vus: u32,
        iterations: u64,
        max_duration: Duration,
    },
    ConstantVus {
        vus: u32,
        duration: Duration,
    },
    RampingVus {
        start_vus: u32,
        stages: Vec<Stage>,
        graceful_ramp_down: Duration,
    },
    ConstantArrivalRate {
        /// Iterations per `time_unit`.
        rate: u64,
        time_unit: Duration,
        duration: Duration,
        pre_allocated_vus: u32,
        /// At least `pre_allocated_vus`.
        max_vus: u32,
    },
    RampingArrivalRate {
        /// Iterations per `time_unit`, as are the stages' targets.
        start_rate: u64,
        time_unit: Duration,
        stages: Vec<Stage>,
        pre_allocated_vus: u32,
        /// At least `pre_allocated_vus`.
        max_vus: u32,
    },
}

/// A ramp from the count before to `target` VUs, or iterations per time unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    pub duration: Duration,
    pub target: u32,
}

impl Scenario {
    pub const GRACEFUL_STOP_DEFAULT: Duration = Duration::from_secs(30);
    pub const MAX_DURATION_DEFAULT: Duration = Duration::from_secs(600);

    /// A scenario named `default`, as the shortcuts make it.
    pub fn shortcut(executor: Executor) -> Scenario {
        Scenario {
            name: "default".to_owned(),
            executor,
            start_time: Duration::ZERO,
            graceful_stop: Self::GRACEFUL_STOP_DEFAULT,
            exec: "default".to_owned(),
            env: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    /// Reads one scenario; what is wrong goes to the fields' problems, and is judged no further.
    pub(super) fn read(name: &str, mut fields: Fields<'_>) -> Option<Scenario> {
        if !is_valid_name(name) {
            fields.problem("its name may hold only letters, digits, '_' and '-'");
        }
        let executor = match fields.text("executor") {
            Some(kind) => read_executor(&kind, &mut fields),
            None => {
                fields.problem("option 'executor' is missing");
                None
            }
        };
        let scenario = Scenario {
            name: name.to_owned(),
            executor: executor?,
            start_time: fields.duration("startTime").unwrap_or_default(),
            graceful_stop: fields
                .duration("gracefulStop")
                .unwrap_or(Self::GRACEFUL_STOP_DEFAULT),
            exec: fields.text("exec").unwrap_or_else(|| "default".to_owned()),
            env: fields.texts("env").unwrap_or_default(),
            tags: fields.texts("tags").unwrap_or_default(),
        };
        fields.ignore("options");
        if scenario.exec.is_empty() {
            fields.problem("option 'exec' cannot be empty");
        }
        for key in fields.unread() {
            fields.problem(&format!("option '{key}' does not exist for its executor"));
        }
        for text in scenario.executor.problems() {
            fields.problem(&text);
        }
        Some(scenario)
    }
}

impl Executor {
    /// k6's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Executor::SharedIterations { .. } => "shared-iterations",
            Executor::PerVuIterations { .. } => "per-vu-iterations",
            Executor::ConstantVus { .. } => "constant-vus",
            Executor::RampingVus { .. } => "ramping-vus",
            Executor::ConstantArrivalRate { .. } => "constant-arrival-rate",
            Executor::RampingArrivalRate { .. } => "ramping-arrival-rate",
        }
    }

    /// Time after which no iteration starts any more.
    pub fn regular_duration(&self) -> Duration {
        match self {
            Executor::SharedIterations { max_duration, .. }
            | Executor::PerVuIterations { max_duration, .. } => *max_duration,
            Executor::ConstantVus { duration, .. }
            | Executor::ConstantArrivalRate { duration, .. } => *duration,
            Executor::RampingVus { stages, .. } | Executor::RampingArrivalRate { stages, .. } => {
                stages.iter().map(|s| s.duration).sum()
            }
        }
    }

    /// How many iterations it runs in all, where that is fixed.
    pub fn total_iterations(&self) -> Option<u64> {
        match self {
            Executor::SharedIterations { iterations, .. } => Some(*iterations),
            Executor::PerVuIterations {
                vus, iterations, ..
            } => Some(u64::from(*vus) * iterations),
            _ => None,
        }
    }

    /// Everything about the values that can't run.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut unless = |holds: bool, text: String| {
            if !holds {
                problems.push(text);
            }
        };
        let vus_rule = || format!("option 'vus' must be 1 to {VUS_MAX}");
        let at_least_a_second = |name: &str| format!("option '{name}' must be at least 1s");
        match self {
            Executor::SharedIterations {
                vus,
                iterations,
                max_duration,
            } => {
                unless((1..=VUS_MAX).contains(vus), vus_rule());
                unless(
                    *iterations >= u64::from(*vus),
                    format!("option 'iterations' is {iterations}, less than its {vus} VUs"),
                );
                unless(
                    *max_duration >= DURATION_MIN,
                    at_least_a_second("maxDuration"),
                );
            }
            Executor::PerVuIterations {
                vus,
                iterations,
                max_duration,
            } => {
                unless((1..=VUS_MAX).contains(vus), vus_rule());
                unless(
                    *iterations >= 1,
                    "option 'iterations' must be at least 1".to_owned(),
                );
                unless(
                    *max_duration >= DURATION_MIN,
                    at_least_a_second("maxDuration"),
                );
            }
            Executor::ConstantVus { vus, duration } => {
                unless((1..=VUS_MAX).contains(vus), vus_rule());
                unless(*duration >= DURATION_MIN, at_least_a_second("duration"));
            }
            Executor::RampingVus {
                start_vus, stages, ..
            } => {
                let most = stages.iter().map(|s| s.target).max().unwrap_or_default();
                unless(!stages.is_empty(), "option 'stages' is empty".to_owned());
                unless(
                    (1..=VUS_MAX).contains(&most.max(*start_vus)),
                    format!(
                        "'startVUs' or some stage's 'target' must be over 0, and none over {VUS_MAX}"
                    ),
                );
            }
            Executor::ConstantArrivalRate {
                rate,
                time_unit,
                duration,
                pre_allocated_vus,
                max_vus,
            } => {
                unless(*rate > 0, "option 'rate' must be more than 0".to_owned());
                unless(*duration >= DURATION_MIN, at_least_a_second("duration"));
                problems.extend(arrival_problems(*time_unit, *pre_allocated_vus, *max_vus));
            }
            Executor::RampingArrivalRate {
                time_unit,
                stages,
                pre_allocated_vus,
                max_vus,
                ..
            } => {
                unless(!stages.is_empty(), "option 'stages' is empty".to_owned());
                problems.extend(arrival_problems(*time_unit, *pre_allocated_vus, *max_vus));
            }
        }
        problems
    }
}

fn read_executor(kind: &str, fields: &mut Fields<'_>) -> Option<Executor> {
    let max_duration = |fields: &mut Fields<'_>| {
        fields
            .duration("maxDuration")
            .unwrap_or(Scenario::MAX_DURATION_DEFAULT)
    };
    Some(match kind {
        "shared-iterations" => Executor::SharedIterations {
            vus: fields.count("vus").unwrap_or(1),
            iterations: fields.count("iterations").unwrap_or(1),
            max_duration: max_duration(fields),
        },
        "per-vu-iterations" => Executor::PerVuIterations {
            vus: fields.count("vus").unwrap_or(1),
            iterations: fields.count("iterations").unwrap_or(1),
            max_duration: max_duration(fields),
        },
        "constant-vus" => Executor::ConstantVus {
            vus: fields.count("vus").unwrap_or(1),
            duration: fields.required_duration("duration")?,
        },
        "ramping-vus" => Executor::RampingVus {
            start_vus: fields.count("startVUs").unwrap_or(1),
            stages: fields.stages("stages").unwrap_or_default(),
            graceful_ramp_down: fields
                .duration("gracefulRampDown")
                .unwrap_or(Scenario::GRACEFUL_STOP_DEFAULT),
        },
        "constant-arrival-rate" => {
            let (time_unit, pre_allocated_vus, max_vus) = read_arrival(fields);
            let rate = fields.required_count("rate");
            let duration = fields.required_duration("duration");
            Executor::ConstantArrivalRate {
                rate: rate?,
                time_unit,
                duration: duration?,
                pre_allocated_vus: pre_allocated_vus?,
                max_vus: max_vus?,
            }
        }
        "ramping-arrival-rate" => {
            let (time_unit, pre_allocated_vus, max_vus) = read_arrival(fields);
            Executor::RampingArrivalRate {
                start_rate: fields.count("startRate").unwrap_or(0),
                time_unit,
                stages: fields.stages("stages").unwrap_or_default(),
                pre_allocated_vus: pre_allocated_vus?,
                max_vus: max_vus?,
            }
        }
        "externally-controlled" => {
            fields.problem(
                "executor 'externally-controlled' was removed in k6 v2\nhint: \
                 use constant-vus with --address and PATCH /v1/status to change VUs while it runs",
            );
            return None;
        }
        unknown => {
            fields.problem(&format!("unknown executor type '{unknown}'"));
            return None;
        }
    })
}

/// `timeUnit`, `preAllocatedVUs` and `maxVUs`, which is the former where it is not given.
fn read_arrival(fields: &mut Fields<'_>) -> (Duration, Option<u32>, Option<u32>) {
    let time_unit = fields
        .duration("timeUnit")
        .unwrap_or(Duration::from_secs(1));
    let pre_allocated = fields.required_count("preAllocatedVUs");
    let max = fields.count("maxVUs").or(pre_allocated);
    (time_unit, pre_allocated, max)
}

fn arrival_problems(time_unit: Duration, pre_allocated_vus: u32, max_vus: u32) -> Vec<String> {
    let mut problems = Vec::new();
    if time_unit.is_zero() {
        problems.push("option 'timeUnit' must be more than 0".to_owned());
    }
    if max_vus < pre_allocated_vus {
        problems.push("option 'maxVUs' can't be less than 'preAllocatedVUs'".to_owned());
    }
    if max_vus > VUS_MAX {
        problems.push(format!("option 'maxVUs' must be at most {VUS_MAX}"));
    }
    problems
}

/// k6's rule for scenario names.
fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
