//! A VU's own stack: plain blocking-style code on it, a future to the worker's event loop.
//!
//! [`Fiber`] runs a closure on a coroutine stack. Inside, [`Suspender::block_on`] polls a future
//! with the fiber's waker and suspends while it is pending; outside, polling the fiber resumes the
//! closure. So the VU's code and its I/O are one task, and nothing is copied between them.
//!
//! Invariants: a suspended fiber is never dropped (a forced unwind would surface in the script as
//! an exception that it can catch): either it runs to its end or [`Fiber::leak`] forgets it.
#![expect(
    unsafe_code,
    reason = "suspending goes through a pointer to the coroutine's yielder; leaking forgets its stack"
)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// Longest time a VU runs without giving the others on its worker a turn.
pub(crate) const SLICE: Duration = Duration::from_millis(5);

/// What a host call sees instead of its result once its VU is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cancelled;

/// How a fiber ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Returned,
    /// It panicked; the message.
    Panicked(String),
    /// It did not give up within [`Suspender::GRACE`] of being cancelled and was forgotten.
    Leaked,
}

/// Why the closure gave up the thread.
enum Reason {
    /// A future is pending; its waker resumes.
    Pending,
    /// The slice is used up; resume after the others had a turn.
    Slice,
    /// Cancelled long ago and still running.
    Hopeless,
}

/// The inside view of a fiber, shared with everything that may block it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Suspender(Rc<Inner>);

struct Inner {
    /// Null unless the fiber has started and not ended.
    yielder: Cell<*const Yielder<(), Reason>>,
    /// Whether the thread is on the fiber's stack now.
    running: Cell<bool>,
    waker: RefCell<Waker>,
    slice_started: Cell<Instant>,
    cancelled_at: Cell<Option<Instant>>,
}

impl Suspender {
    /// Time after a cancel within which the script must have come back.
    pub(crate) const GRACE: Duration = Duration::from_secs(1);

    /// For a fiber that is yet to be made.
    pub(crate) fn new() -> Suspender {
        Suspender(Rc::new(Inner {
            yielder: Cell::new(ptr::null()),
            running: Cell::new(false),
            waker: RefCell::new(Waker::noop().clone()),
            slice_started: Cell::new(Instant::now()),
            cancelled_at: Cell::new(None),
        }))
    }

    /// Runs `future` to its end while others use the thread.
    ///
    /// # Errors
    /// The VU was cancelled, before or meanwhile; the future has been dropped.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Cancelled> {
        let mut future = pin!(future);
        loop {
            if self.is_cancelled() {
                return Err(Cancelled);
            }
            let waker = self.0.waker.borrow().clone();
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Ok(output);
            }
            self.suspend(Reason::Pending);
        }
    }

    /// As [`Suspender::block_on`], also while cancelled: for what the VU itself waits for.
    pub(crate) fn block_on_always<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            let waker = self.0.waker.borrow().clone();
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            self.suspend(Reason::Pending);
        }
    }

    /// Runs `work` on the worker thread's own, large stack: for host work whose depth depends on
    /// what it is given. It must neither suspend nor enter the VM.
    pub(crate) fn on_large_stack<R>(&self, work: impl FnOnce() -> R) -> R {
        let yielder = self.0.yielder.get();
        if yielder.is_null() || !self.0.running.get() {
            return work();
        }
        // Makes `suspend` panic rather than suspend the wrong stack.
        self.0.running.set(false);
        let _back = Running(self);
        let work = SameThread(work);
        // SAFETY: as in `suspend`, the yielder lives and this is the fiber's stack and thread.
        unsafe { (*yielder).on_parent_stack(move || work.run()) }
    }

    /// Called now and then by running code: gives others a turn when the slice is used up.
    /// Returns whether the code must stop.
    pub(crate) fn checkpoint(&self) -> bool {
        if let Some(at) = self.0.cancelled_at.get() {
            if at.elapsed() > Self::GRACE {
                self.suspend(Reason::Hopeless);
            }
            return true;
        }
        if self.0.slice_started.get().elapsed() >= SLICE {
            self.suspend(Reason::Slice);
        }
        self.is_cancelled()
    }

    /// From now on every host call fails at once. Wakes the fiber.
    pub(crate) fn cancel(&self) {
        if self.0.cancelled_at.get().is_none() {
            self.0.cancelled_at.set(Some(Instant::now()));
        }
        self.wake();
    }

    /// The VU is back and may be used again.
    pub(crate) fn clear_cancel(&self) {
        self.0.cancelled_at.set(None);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.cancelled_at.get().is_some()
    }

    /// Has the fiber polled again soon.
    pub(crate) fn wake(&self) {
        let waker = self.0.waker.borrow().clone();
        waker.wake();
    }

    fn suspend(&self, reason: Reason) {
        assert!(
            self.0.running.get(),
            "suspend is only called on the fiber's own stack"
        );
        let yielder = self.0.yielder.get();
        assert!(!yielder.is_null(), "a running fiber has its yielder set");
        // SAFETY: the pointer is set at the start of the fiber's closure and cleared at its end,
        // so the yielder lives; `running` says that this is the fiber's stack, and `Inner` is
        // neither Send nor Sync, so it is the fiber's thread.
        unsafe { (*yielder).suspend(reason) };
    }
}

impl Default for Suspender {
    fn default() -> Suspender {
        Suspender::new()
    }
}

/// A closure on a stack of its own. Poll it as a future; never drop it before it has ended.
pub(crate) struct Fiber {
    coroutine: Option<Coroutine<(), Reason, (), DefaultStack>>,
    inner: Suspender,
}

impl Fiber {
    /// Prepares `body` to run on a new stack of `stack_bytes` (reserved, not yet touched).
    ///
    /// # Errors
    /// No address space is left.
    pub(crate) fn new(
        stack_bytes: usize,
        suspender: Suspender,
        body: impl FnOnce() + 'static,
    ) -> std::io::Result<Fiber> {
        let stack = DefaultStack::new(stack_bytes)?;
        let inside = suspender.clone();
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), Reason>, ()| {
            inside.0.yielder.set(yielder);
            // The pointer must not outlive this frame, also when `body` panics.
            let _clear = Clear(&inside);
            body();
        });
        Ok(Fiber {
            coroutine: Some(coroutine),
            inner: suspender,
        })
    }

    /// Runs until the closure waits or ends.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let inner = &self.inner.0;
        {
            let mut waker = inner.waker.borrow_mut();
            if !waker.will_wake(cx.waker()) {
                waker.clone_from(cx.waker());
            }
        }
        let Some(coroutine) = &mut self.coroutine else {
            return Poll::Ready(Ended::Leaked);
        };
        inner.slice_started.set(Instant::now());
        inner.running.set(true);
        let resumed = catch_unwind(AssertUnwindSafe(|| coroutine.resume(())));
        inner.running.set(false);
        match resumed {
            Ok(CoroutineResult::Yield(Reason::Pending)) => Poll::Pending,
            Ok(CoroutineResult::Yield(Reason::Slice)) => {
                // Woken only after timers and sockets have been looked at: tokio would otherwise
                // run 61 slices, a third of a second, before it does.
                let turn = pin!(tokio::task::yield_now());
                let _ = turn.poll(cx);
                Poll::Pending
            }
            Ok(CoroutineResult::Yield(Reason::Hopeless)) => {
                self.leak();
                Poll::Ready(Ended::Leaked)
            }
            Ok(CoroutineResult::Return(())) => {
                self.coroutine = None;
                Poll::Ready(Ended::Returned)
            }
            Err(panic) => {
                self.coroutine = None;
                Poll::Ready(Ended::Panicked(panic_message(&*panic)))
            }
        }
    }

    /// Forgets the stack with all that lives on it; its memory is never given back.
    pub(crate) fn leak(&mut self) {
        if let Some(mut coroutine) = self.coroutine.take() {
            // SAFETY: nothing on the stack is dropped or used again: the yielder is cleared here,
            // and the stack memory itself is forgotten, so that pointers into it stay valid.
            unsafe { coroutine.force_reset() };
            std::mem::forget(coroutine);
            self.inner.0.yielder.set(ptr::null());
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        if self
            .coroutine
            .as_ref()
            .is_some_and(|c| c.started() && !c.done())
        {
            self.leak();
        }
    }
}

struct Clear<'a>(&'a Suspender);

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        self.0.0.yielder.set(ptr::null());
    }
}

/// Sets `running` again, also when the work has panicked.
struct Running<'a>(&'a Suspender);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.running.set(true);
    }
}

/// A closure for another stack of the same thread.
struct SameThread<F>(F);

impl<F: FnOnce() -> R, R> SameThread<F> {
    fn run(self) -> R {
        (self.0)()
    }
}

// SAFETY: `on_parent_stack` runs the closure on this very thread before it returns; its bound only
// keeps the yielder out, which `running` does here.
unsafe impl<F> Send for SameThread<F> {}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "unknown panic".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn poll(fiber: &mut Fiber) -> Poll<Ended> {
        fiber.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn block_on_suspends_until_ready() {
        let suspender = Suspender::new();
        let inside = suspender.clone();
        let polls = Rc::new(Cell::new(0));
        let seen = polls.clone();
        let mut fiber = Fiber::new(64 * 1024, suspender, move || {
            let answer = inside.block_on(poll_fn(|_| {
                seen.set(seen.get() + 1);
                if seen.get() == 3 {
                    Poll::Ready(7)
                } else {
                    Poll::Pending
                }
            }));
            assert_eq!(answer, Ok(7));
        })
        .expect("a stack");
        assert!(poll(&mut fiber).is_pending());
        assert!(poll(&mut fiber).is_pending());
        assert_eq!(poll(&mut fiber), Poll::Ready(Ended::Returned));
        assert_eq!(polls.get(), 3);
    }

    #[test]
    fn cancelled_host_call_returns_at_once() {
        let suspender = Suspender::new();
        let inside = suspender.clone();
        let mut fiber = Fiber::new(64 * 1024, suspender.clone(), move || {
            assert_eq!(
                inside.block_on(std::future::pending::<()>()),
                Err(Cancelled)
            );
            assert_eq!(inside.block_on(std::future::ready(1)), Err(Cancelled));
            assert!(inside.checkpoint());
        })
        .expect("a stack");
        assert!(poll(&mut fiber).is_pending());
        suspender.cancel();
        assert_eq!(poll(&mut fiber), Poll::Ready(Ended::Returned));
    }

    #[test]
    fn deep_host_work_has_the_worker_s_stack() {
        fn deep(levels: usize) -> usize {
            let block = std::hint::black_box([levels; 64]);
            if levels == 0 {
                0
            } else {
                deep(block[9] - 1) + 1
            }
        }
        let suspender = Suspender::new();
        let inside = suspender.clone();
        // More than half a megabyte of frames on a stack of 64 KiB.
        let body = move || assert_eq!(inside.on_large_stack(|| deep(1_000)), 1_000);
        let mut fiber = Fiber::new(64 * 1024, suspender, body).expect("a stack");
        assert_eq!(poll(&mut fiber), Poll::Ready(Ended::Returned));
    }

    #[test]
    fn panic_ends_only_the_fiber() {
        let mut fiber =
            Fiber::new(64 * 1024, Suspender::new(), || panic!("boom")).expect("a stack");
        assert_eq!(
            poll(&mut fiber),
            Poll::Ready(Ended::Panicked("boom".to_owned()))
        );
    }

    #[test]
    fn busy_fiber_gives_turns_and_is_leaked_after_its_grace() {
        let suspender = Suspender::new();
        let inside = suspender.clone();
        let mut fiber = Fiber::new(64 * 1024, suspender.clone(), move || {
            loop {
                let _ = inside.checkpoint();
            }
        })
        .expect("a stack");
        assert!(poll(&mut fiber).is_pending());
        suspender.cancel();
        assert_eq!(poll(&mut fiber), Poll::Ready(Ended::Leaked));
    }
}
