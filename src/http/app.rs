//! What every request of one server shares: limits, metrics, the stop signal, and the stores once
//! they are open.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio_util::task::TaskTracker;

use crate::http::call::RequestIds;
use crate::http::error::ApiError;
use crate::http::tally::Tally;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::relay::Relay;
use crate::results::Results;
use crate::shutdown;

/// A cheap handle; every clone means the same server.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) limits: Arc<Limits>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: shutdown::Signal,
    /// `--open` in words: any Host may be asked.
    pub(crate) open: bool,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) started: Instant,
    pub(crate) request_ids: RequestIds,
    /// Connections and sessions; the drain waits for them.
    pub(crate) tasks: TaskTracker,
    pub(crate) tally: Tally,
    subscribers: AtomicUsize,
    stores: OnceLock<Stores>,
}

/// What is open once the relay has started.
pub(crate) struct Stores {
    pub(crate) relay: Relay,
    pub(crate) results: Results,
}

impl App {
    pub(crate) fn new(
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        stop: shutdown::Signal,
        open: bool,
        addresses: Vec<SocketAddr>,
    ) -> App {
        App(Arc::new(Parts {
            limits,
            metrics,
            stop,
            open,
            addresses,
            started: Instant::now(),
            request_ids: RequestIds::new(),
            tasks: TaskTracker::new(),
            tally: Tally::new(),
            subscribers: AtomicUsize::new(0),
            stores: OnceLock::new(),
        }))
    }

    /// From now on requests are served. Called once.
    pub(crate) fn serve(&self, stores: Stores) {
        let first = self.0.stores.set(stores).is_ok();
        assert!(first, "storage is opened once");
    }

    /// 503 `STARTING` until storage is open.
    pub(crate) fn stores(&self) -> Result<&Stores, ApiError> {
        self.0.stores.get().ok_or_else(ApiError::starting)
    }

    pub(crate) fn relay(&self) -> Result<&Relay, ApiError> {
        Ok(&self.stores()?.relay)
    }

    pub(crate) fn results(&self) -> Result<&Results, ApiError> {
        Ok(&self.stores()?.results)
    }

    /// A place among the sockets and event streams, given back when dropped.
    pub(crate) fn subscriber(&self) -> Result<Subscriber, ApiError> {
        let max = self.limits.subscribers_max;
        let taken = self.0.subscribers.fetch_add(1, Ordering::Relaxed);
        let place = Subscriber(self.clone());
        if taken >= max {
            return Err(ApiError::overloaded(format!(
                "{max} sockets and streams are open, which is the limit"
            )));
        }
        Ok(place)
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

pub(crate) struct Subscriber(App);

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.0.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}
