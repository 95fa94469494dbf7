//! Steering a run while it goes on: pause, stop, another number of VUs, another rate.
//!
//! [`Control`] is part of the run's shared state. Orders come from the REST API (`server`) and
//! from the reporter, which the relay hands them to; executors register the knobs that they have
//! and watch them. Knows no HTTP but in `server` and `bodies`, and no VUs.

mod bodies;
pub mod server;

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::state::{AbortReason, RunState};

/// How far a run is; numbers and order are k6's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Created = 0,
    InitVus = 1,
    InitDone = 3,
    PausedBeforeRun = 4,
    Started = 5,
    Setup = 6,
    Running = 7,
    Teardown = 8,
    Ended = 9,
    Interrupted = 10,
}

/// What a run is told to do. Values are the whole test's, also where it is one segment of several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// End in order, as a first SIGINT does.
    Stop,
    /// VUs of `constant-vus` and `ramping-vus` scenarios, to their end.
    Vus(u32),
    /// Iterations per time unit of arrival-rate scenarios, to their end.
    Rate(f64),
}

/// Why an order was not followed.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Refused {
    #[error(
        "no running scenario has the knob '{knob}'\nhint: 'vus' is one of constant-vus and ramping-vus, 'rate' one of the arrival rates"
    )]
    NoKnob { knob: &'static str },
    #[error("'vus' must be 0 to {max}", max = super::options::VUS_MAX)]
    Vus,
    #[error("'rate' must be a number from 0 to 1000000")]
    Rate,
    #[error("the test has started: it can't be paused any more")]
    Started,
    #[error("the test is paused already")]
    Paused,
}

/// Most iterations per time unit that an order may ask for.
const RATE_MAX: f64 = 1_000_000.0;

/// Shared by whoever steers a run and whoever is steered.
#[derive(Debug)]
pub struct Control {
    paused: watch::Sender<bool>,
    stage: AtomicU8,
    tainted: AtomicBool,
    knobs: Mutex<Vec<Knob>>,
    setup_data: Mutex<Option<Arc<str>>>,
}

/// What one running scenario can be told.
#[derive(Debug)]
struct Knob {
    scenario: Arc<str>,
    value: KnobValue,
}

#[derive(Debug)]
enum KnobValue {
    Vus(watch::Sender<Option<u32>>),
    Rate(watch::Sender<Option<f64>>),
}

/// A scenario's knob for as long as it runs.
pub struct Registered<'a, T> {
    control: &'a Control,
    scenario: Arc<str>,
    /// `None` until somebody turns it.
    pub value: watch::Receiver<Option<T>>,
}

impl<T> Drop for Registered<'_, T> {
    fn drop(&mut self) {
        let scenario = &self.scenario;
        self.control.knobs().retain(|k| k.scenario != *scenario);
    }
}

impl Control {
    pub fn new() -> Control {
        Control {
            paused: watch::Sender::new(false),
            stage: AtomicU8::new(Stage::Created as u8),
            tainted: AtomicBool::new(false),
            knobs: Mutex::default(),
            setup_data: Mutex::default(),
        }
    }

    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// The number of the stage.
    pub fn stage(&self) -> u8 {
        self.stage.load(Ordering::Relaxed)
    }

    pub fn has_started(&self) -> bool {
        self.stage() >= Stage::Started as u8
    }

    pub fn has_ended(&self) -> bool {
        self.stage() >= Stage::Ended as u8
    }

    pub fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// The run is to wait before its setup.
    pub fn start_paused(&self) {
        self.paused.send_replace(true);
    }

    /// Pauses a run that has not started, or lets it go on.
    ///
    /// # Errors
    /// It has started, or is paused already.
    pub fn pause(&self, paused: bool) -> Result<(), Refused> {
        if self.has_started() {
            return Err(Refused::Started);
        }
        if paused && self.is_paused() {
            return Err(Refused::Paused);
        }
        self.paused.send_replace(paused);
        Ok(())
    }

    /// Returns when the run is not paused.
    pub async fn resumed(&self) {
        let mut paused = self.paused.subscribe();
        // The sender is ours, so that it is there.
        let _ = paused.wait_for(|paused| !paused).await;
    }

    pub fn taint(&self) {
        self.tainted.store(true, Ordering::Relaxed);
    }

    /// Whether some threshold was crossed when last looked at.
    pub fn is_tainted(&self) -> bool {
        self.tainted.load(Ordering::Relaxed)
    }

    /// What `setup` returned, as JSON.
    pub fn setup_data(&self) -> Option<Arc<str>> {
        let data = self.setup_data.lock();
        data.unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub fn set_setup_data(&self, json: Option<Arc<str>>) {
        *self.setup_data.lock().unwrap_or_else(|e| e.into_inner()) = json;
    }

    /// The number of VUs of a scenario can be changed from now on.
    pub fn register_vus(&self, scenario: Arc<str>) -> Registered<'_, u32> {
        let (sender, value) = watch::channel(None);
        self.register(scenario, KnobValue::Vus(sender), value)
    }

    /// The rate of a scenario can be changed from now on.
    pub fn register_rate(&self, scenario: Arc<str>) -> Registered<'_, f64> {
        let (sender, value) = watch::channel(None);
        self.register(scenario, KnobValue::Rate(sender), value)
    }

    fn register<T>(
        &self,
        scenario: Arc<str>,
        knob: KnobValue,
        value: watch::Receiver<Option<T>>,
    ) -> Registered<'_, T> {
        self.knobs().push(Knob {
            scenario: scenario.clone(),
            value: knob,
        });
        Registered {
            control: self,
            scenario,
            value,
        }
    }

    fn knobs(&self) -> MutexGuard<'_, Vec<Knob>> {
        self.knobs.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Default for Control {
    fn default() -> Control {
        Control::new()
    }
}

impl RunState {
    /// Follows an order; one with a value goes to every running scenario that has the knob, or
    /// to the one that `scenario` names.
    ///
    /// # Errors
    /// A value out of range, or no scenario that has the knob now.
    pub fn obey(&self, order: Order, scenario: Option<&str>) -> Result<(), Refused> {
        match order {
            Order::Stop => {
                self.abort(AbortReason::Control);
                return Ok(());
            }
            Order::Vus(vus) if vus > super::options::VUS_MAX => return Err(Refused::Vus),
            Order::Rate(rate) if !(0.0..=RATE_MAX).contains(&rate) => return Err(Refused::Rate),
            Order::Vus(_) | Order::Rate(_) => {}
        }
        let mut followed = 0;
        for knob in self.control.knobs().iter() {
            if scenario.is_some_and(|wanted| *wanted != *knob.scenario) {
                continue;
            }
            match (&knob.value, order) {
                (KnobValue::Vus(sender), Order::Vus(vus)) => {
                    sender.send_replace(Some(vus)).is_some()
                }
                (KnobValue::Rate(sender), Order::Rate(rate)) => {
                    sender.send_replace(Some(rate)).is_some()
                }
                _ => continue,
            };
            followed += 1;
            tracing::info!(scenario = &*knob.scenario, "live control: {order}");
        }
        if followed == 0 {
            return Err(Refused::NoKnob { knob: order.knob() });
        }
        Ok(())
    }
}

impl Order {
    fn knob(self) -> &'static str {
        match self {
            Order::Stop => "stop",
            Order::Vus(_) => "vus",
            Order::Rate(_) => "rate",
        }
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Order::Stop => f.write_str("stop"),
            Order::Vus(vus) => write!(f, "vus={vus}"),
            Order::Rate(rate) => write!(f, "rate={rate}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_reach_the_scenarios_that_have_the_knob() {
        let state = RunState::new();
        assert_eq!(
            state.obey(Order::Vus(3), None),
            Err(Refused::NoKnob { knob: "vus" })
        );
        let one = state.control.register_vus("one".into());
        let two = state.control.register_vus("two".into());
        let rate = state.control.register_rate("three".into());
        assert_eq!(state.obey(Order::Vus(3), None), Ok(()));
        assert_eq!(state.obey(Order::Vus(5), Some("two")), Ok(()));
        assert_eq!(
            (*one.value.borrow(), *two.value.borrow()),
            (Some(3), Some(5))
        );
        assert!(state.obey(Order::Rate(-1.0), None).is_err());
        assert!(state.obey(Order::Rate(1.0), Some("one")).is_err());
        assert_eq!(state.obey(Order::Rate(1.5), None), Ok(()));
        assert_eq!(*rate.value.borrow(), Some(1.5));
        drop(rate);
        assert!(state.obey(Order::Rate(1.5), None).is_err());
        assert_eq!(state.obey(Order::Stop, None), Ok(()));
        assert_eq!(state.abort_reason(), Some(&AbortReason::Control));
    }

    #[test]
    fn only_a_run_that_has_not_started_pauses() {
        let control = Control::new();
        assert_eq!(control.pause(true), Ok(()));
        assert_eq!(control.pause(true), Err(Refused::Paused));
        assert_eq!(control.pause(false), Ok(()));
        control.enter(Stage::Running);
        assert_eq!(control.pause(true), Err(Refused::Started));
    }
}
