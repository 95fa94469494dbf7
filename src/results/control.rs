//! Orders for a run that goes on: stop, another number of VUs, another rate.
//!
//! They wait in memory until the run's next batch of samples and travel back with its answer. A
//! batch that is sent again gets the same orders again, so that a lost answer loses none; orders
//! carry absolute values, so that a repeat does no harm. They end with the run or the relay.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use super::run::RunId;

/// Orders kept per run; an older one has long been overtaken.
const ORDERS_MAX: usize = 16;
/// Runs with orders, and sources of one run; past it the oldest are of no use any more.
const RUNS_MAX: usize = 64;
const SOURCES_MAX: usize = 256;

/// What a run is told to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// End in order, as a first SIGINT does.
    Stop,
    /// VUs of the executors that follow a number of VUs.
    Vus(u32),
    /// Iterations per time unit of the arrival-rate executors.
    Rate(f64),
}

impl Order {
    /// Executors of k6 that have this knob; `None`: every run has it.
    pub fn executors(self) -> Option<&'static [&'static str]> {
        match self {
            Order::Stop => None,
            Order::Vus(_) => Some(&["constant-vus", "ramping-vus"]),
            Order::Rate(_) => Some(&["constant-arrival-rate", "ramping-arrival-rate"]),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Orders {
    runs: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    runs: HashMap<RunId, OfRun>,
    /// Runs in the order of their first order.
    age: VecDeque<RunId>,
}

#[derive(Debug, Default)]
struct OfRun {
    /// Number of the first order in `list`.
    first: u64,
    list: VecDeque<Order>,
    sources: HashMap<String, Told>,
}

/// How far one source of samples has been told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    batch: u64,
    /// Orders told before `batch`, and with it.
    before: u64,
    with: u64,
}

impl Orders {
    pub(super) fn add(&self, run_id: &RunId, order: Order) {
        let mut waiting = self.lock();
        if !waiting.runs.contains_key(run_id) {
            waiting.age.push_back(run_id.clone());
            if waiting.age.len() > RUNS_MAX
                && let Some(oldest) = waiting.age.pop_front()
            {
                waiting.runs.remove(&oldest);
            }
        }
        let run = waiting.runs.entry(run_id.clone()).or_default();
        run.list.push_back(order);
        if run.list.len() > ORDERS_MAX {
            run.list.pop_front();
            run.first += 1;
        }
    }

    /// What goes back with the answer to this batch.
    pub(super) fn take(&self, run_id: &RunId, source: &str, batch: u64) -> Vec<Order> {
        let mut waiting = self.lock();
        let Some(run) = waiting.runs.get_mut(run_id) else {
            return Vec::new();
        };
        if run.sources.len() >= SOURCES_MAX && !run.sources.contains_key(source) {
            run.sources.clear();
        }
        let next = run.first + run.list.len() as u64;
        let told = run.sources.entry(source.to_owned()).or_default();
        if told.batch != batch {
            told.batch = batch;
            told.before = told.with;
        }
        told.with = next;
        let skip = told.before.saturating_sub(run.first) as usize;
        run.list.iter().skip(skip).copied().collect()
    }

    pub(super) fn forget(&self, run_id: &RunId) {
        let mut waiting = self.lock();
        if waiting.runs.remove(run_id).is_some() {
            waiting.age.retain(|known| known != run_id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.runs.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(last: u8) -> RunId {
        RunId::parse(&format!("0190a5b2-0000-7000-8000-0000000000{last:02x}")).expect("a UUIDv7")
    }

    #[test]
    fn each_source_hears_each_order_once_or_again_with_the_same_batch() {
        let orders = Orders::default();
        assert!(orders.take(&run(1), "a", 1).is_empty());
        orders.add(&run(1), Order::Vus(5));
        assert_eq!(orders.take(&run(1), "a", 2), [Order::Vus(5)]);
        assert_eq!(orders.take(&run(1), "a", 2), [Order::Vus(5)]);
        orders.add(&run(1), Order::Stop);
        assert_eq!(orders.take(&run(1), "a", 3), [Order::Stop]);
        assert!(orders.take(&run(1), "a", 4).is_empty());
        let both = [Order::Vus(5), Order::Stop];
        assert_eq!(orders.take(&run(1), "b", 1), both);
        assert!(orders.take(&run(2), "a", 5).is_empty());
        orders.forget(&run(1));
        assert!(orders.take(&run(1), "c", 1).is_empty());
    }

    #[test]
    fn orders_runs_and_sources_are_bounded() {
        let orders = Orders::default();
        for vus in 0..100 {
            orders.add(&run(1), Order::Vus(vus));
        }
        let told = orders.take(&run(1), "a", 1);
        assert_eq!(told.len(), ORDERS_MAX);
        assert_eq!(told.last(), Some(&Order::Vus(99)));
        for source in 0..1_000 {
            orders.take(&run(1), &source.to_string(), 1);
        }
        assert!(orders.lock().runs[&run(1)].sources.len() <= SOURCES_MAX);
        for number in 0..200 {
            orders.add(&run(number), Order::Stop);
        }
        assert_eq!(orders.lock().runs.len(), RUNS_MAX);
    }
}
