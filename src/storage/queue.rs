//! The bounded queue before the writer: many tasks put in without waiting, one thread takes batches.
//!
//! A lock is held for a push or for moving a batch out, never across anything that waits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    /// The writer sleeps here, and only here.
    filled: Condvar,
    jobs_max: usize,
    bytes_max: usize,
}

struct State<J> {
    jobs: VecDeque<(J, usize)>,
    bytes: usize,
    closed: bool,
    /// The writer waits; saves the pushers a system call while it is busy.
    taker_waits: bool,
}

/// Why a job was not taken in; it has not been begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushError {
    Full,
    Closed,
}

impl<J> Queue<J> {
    pub(super) fn new(jobs_max: usize, bytes_max: usize) -> Queue<J> {
        Queue {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                bytes: 0,
                closed: false,
                taker_waits: false,
            }),
            filled: Condvar::new(),
            jobs_max,
            bytes_max,
        }
    }

    /// Never waits: a full queue refuses.
    pub(super) fn push(&self, job: J, bytes: usize) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.closed {
            return Err(PushError::Closed);
        }
        if state.jobs.len() >= self.jobs_max || state.bytes + bytes > self.bytes_max {
            return Err(PushError::Full);
        }
        state.jobs.push_back((job, bytes));
        state.bytes += bytes;
        let wake = std::mem::take(&mut state.taker_waits);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Moves what is queued, up to the bounds but at least one job, to the end of `batch`; waits
    /// for the first. Leaves `batch` empty once the queue is closed and drained.
    pub(super) fn take(&self, batch: &mut Vec<J>, jobs_max: usize, bytes_max: usize) {
        let mut state = self.lock();
        while state.jobs.is_empty() && !state.closed {
            state.taker_waits = true;
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.taker_waits = false;
        let mut bytes = 0;
        while let Some((_, next)) = state.jobs.front() {
            let full = batch.len() >= jobs_max || bytes + next > bytes_max;
            if full && !batch.is_empty() {
                break;
            }
            bytes += next;
            batch.extend(state.jobs.pop_front().map(|(job, _)| job));
        }
        state.bytes -= bytes;
    }

    /// No job is taken in any more; those inside are still given out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Jobs and bytes that wait.
    pub(super) fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.jobs.len(), state.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_by_jobs_and_by_bytes() {
        let queue = Queue::new(2, 100);
        assert_eq!(Ok(()), queue.push(1, 60));
        assert_eq!(Err(PushError::Full), queue.push(2, 41));
        assert_eq!(Ok(()), queue.push(2, 40));
        assert_eq!(Err(PushError::Full), queue.push(3, 0));
        assert_eq!((2, 100), queue.depth());
    }

    #[test]
    fn batches_keep_order_and_bounds_and_a_closed_queue_drains() {
        let queue = Queue::new(100, 1_000);
        for job in 0..5 {
            assert_eq!(Ok(()), queue.push(job, 10));
        }
        queue.close();
        assert_eq!(Err(PushError::Closed), queue.push(9, 1));
        let mut taken = Vec::new();
        let mut sizes = Vec::new();
        loop {
            let mut batch = Vec::new();
            queue.take(&mut batch, 3, 25);
            if batch.is_empty() {
                break;
            }
            sizes.push(batch.len());
            taken.extend(batch);
        }
        assert_eq!((vec![0, 1, 2, 3, 4], vec![2, 2, 1]), (taken, sizes));
    }

    #[test]
    fn a_job_above_the_batch_bound_goes_alone() {
        let queue = Queue::new(10, 1_000);
        assert_eq!(Ok(()), queue.push("large", 900));
        let mut batch = Vec::new();
        queue.take(&mut batch, 10, 100);
        assert_eq!(vec!["large"], batch);
    }
}
