//! The event loop of one VM: timers that are due and operations that are done call back into the
//! script, one at a time, each followed by the promise jobs that it set off.
//!
//! While a VU is suspended in a blocking call, completions are only queued; nothing of the script
//! runs. An iteration has ended when nothing is pending any more.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rquickjs::{Ctx, Function, Object, Value};
use tokio::task::AbortHandle;

use super::host::Host;
use super::tagging::Tagging;

/// What an operation outside of JavaScript came to.
pub(crate) trait Completion {
    /// The value that its promise or listener gets; an `Error` object rejects the promise.
    ///
    /// # Errors
    /// The VM has no memory for the value.
    fn settle<'js>(self: Box<Self>, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>>;
}

/// A timer's place in time; the number keeps equal times in order.
type Due = (Instant, u64);

struct Done {
    id: u32,
    completion: Box<dyn Completion>,
    /// Nothing more comes from this operation.
    last: bool,
}

#[derive(Default)]
pub(crate) struct Events {
    timers: RefCell<BTreeMap<Due, u32>>,
    due_of: RefCell<HashMap<u32, Due>>,
    next_number: Cell<u64>,
    /// Something has begun since [`Events::forget`]: the script's side has callbacks to forget.
    used: Cell<bool>,
    done: RefCell<VecDeque<Done>>,
    running: RefCell<HashMap<u32, AbortHandle>>,
    /// Groups that timers and operations began in, where that is not the outermost.
    groups: RefCell<HashMap<u32, Rc<str>>>,
}

impl Events {
    pub(crate) fn add_timer(&self, id: u32, delay: Duration) {
        self.used.set(true);
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        let due = (Instant::now() + delay, number);
        self.timers.borrow_mut().insert(due, id);
        self.due_of.borrow_mut().insert(id, due);
    }

    pub(crate) fn cancel_timer(&self, id: u32) {
        if let Some(due) = self.due_of.borrow_mut().remove(&id) {
            self.timers.borrow_mut().remove(&due);
            self.groups.borrow_mut().remove(&id);
        }
    }

    pub(crate) fn begin(&self, id: u32, operation: AbortHandle) {
        self.used.set(true);
        self.running.borrow_mut().insert(id, operation);
    }

    /// The timer or operation `id` belongs to a group.
    pub(crate) fn keep_group(&self, id: u32, tagging: &Tagging) {
        let group = tagging.group();
        if group != tagging.outermost() {
            self.groups.borrow_mut().insert(id, group);
        }
    }

    /// The group that the callback of `id` runs in; `last` if it is its last.
    fn group(&self, id: u32, last: bool) -> Option<Rc<str>> {
        let mut groups = self.groups.borrow_mut();
        if last {
            groups.remove(&id)
        } else {
            groups.get(&id).cloned()
        }
    }

    /// Called by the operation's task as its last act; the caller wakes the VU.
    pub(crate) fn complete(&self, id: u32, completion: Box<dyn Completion>) {
        self.done.borrow_mut().push_back(Done {
            id,
            completion,
            last: true,
        });
    }

    /// One event of an operation that goes on (a message on a socket); the caller wakes the VU and
    /// bounds how many it leaves here.
    pub(crate) fn deliver(&self, id: u32, completion: Box<dyn Completion>) {
        self.done.borrow_mut().push_back(Done {
            id,
            completion,
            last: false,
        });
    }

    /// Drops everything pending, operations included; returns whether there was anything since
    /// the last time.
    pub(crate) fn forget(&self) -> bool {
        if !self.used.replace(false) {
            return false;
        }
        self.timers.borrow_mut().clear();
        self.due_of.borrow_mut().clear();
        self.done.borrow_mut().clear();
        self.groups.borrow_mut().clear();
        for (_, operation) in self.running.borrow_mut().drain() {
            operation.abort();
        }
        true
    }

    fn take_done(&self) -> Option<Done> {
        let done = self.done.borrow_mut().pop_front()?;
        if done.last {
            self.running.borrow_mut().remove(&done.id);
        }
        Some(done)
    }

    fn take_due(&self) -> Option<u32> {
        let mut timers = self.timers.borrow_mut();
        let (&due, &id) = timers.first_key_value()?;
        if due.0 > Instant::now() {
            return None;
        }
        timers.remove(&due);
        self.due_of.borrow_mut().remove(&id);
        Some(id)
    }

    fn is_idle(&self) -> bool {
        self.timers.borrow().is_empty()
            && self.done.borrow().is_empty()
            && self.running.borrow().is_empty()
    }

    /// Until an operation is done or the first timer is due.
    async fn changed(&self) {
        let first = self.timers.borrow().first_key_value().map(|(due, _)| due.0);
        // Without a timer: a day, which an operation ends first.
        let until = first.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
        let mut timer = pin!(tokio::time::sleep_until(until.into()));
        poll_fn(|cx| {
            if self.done.borrow().is_empty() {
                timer.as_mut().poll(cx)
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }
}

/// Runs callbacks and promise jobs until nothing is pending or the VU is cancelled.
///
/// # Errors
/// A callback threw; what else is pending stays.
pub(crate) fn drain<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    bridge: &Object<'js>,
) -> rquickjs::Result<()> {
    loop {
        while !host.suspender.is_cancelled() && ctx.execute_pending_job() {
            // Jobs that beget jobs must give way as loops do.
            host.suspender.checkpoint();
        }
        if host.suspender.is_cancelled() {
            return Ok(());
        }
        let dispatch = || bridge.get::<_, Function<'js>>("dispatch");
        let enter = |id, last| {
            let group = host.events.group(id, last);
            let group = group.unwrap_or_else(|| host.tagging.outermost());
            host.tagging.set_group(&group);
        };
        if let Some(done) = host.events.take_done() {
            enter(done.id, done.last);
            let value = done.completion.settle(ctx)?;
            dispatch()?.call::<_, ()>((done.id, value, done.last))?;
        } else if let Some(id) = host.events.take_due() {
            // An interval's next turn notes its group again.
            enter(id, true);
            dispatch()?.call::<_, ()>((id,))?;
        } else if host.events.is_idle() || host.suspender.block_on(host.events.changed()).is_err() {
            return Ok(());
        }
    }
}
