//! What the relay says about itself: one registry, its counters as public fields, and the
//! exposition text.
//!
//! A leaf: whoever owns a fact counts it here; nothing is computed on the hot path beyond an
//! atomic add. Labels come from small closed sets, never a user, channel or message id. Not to be
//! confused with `load::metrics`, the measurements of a load test.

mod exposition;
mod labels;

use std::fmt;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use labels::{CheckpointLabels, HttpLabels, Refusal, RefusedLabels, RouteLabels};

/// Every metric of the relay. Shared as `Arc<Metrics>`; all fields count through `&self`.
pub struct Metrics {
    registry: Registry,

    /// Answered requests by route template, method and status class.
    pub http_requests: Family<HttpLabels, Counter>,
    /// From the complete head to the finished answer, by route template; held long polls included.
    pub http_request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    pub connections: Gauge,
    pub connections_refused: Counter,
    /// Connections closed because a clock ran out.
    pub connections_timed_out: Counter,
    pub websockets: Gauge,
    pub event_streams: Gauge,
    pub long_polls: Gauge,
    pub subscriptions: Gauge,
    /// Messages written to subscribers, stored and live.
    pub messages_pushed: Counter,
    /// Subscribers closed because they took nothing.
    pub subscribers_stalled: Counter,
    /// From the commit of a message to its frame being handed to a subscriber's connection.
    pub push_lag_seconds: Histogram,

    /// Messages stored since start, duplicates not counted.
    pub messages_accepted: Counter,
    /// Repeats of an id, answered with the first sequence.
    pub messages_duplicate: Counter,
    pub messages_refused: Family<RefusedLabels, Counter>,
    pub messages_acknowledged: Counter,
    pub messages_deleted: Counter,
    pub messages_expired: Counter,
    /// Messages whose ttl ran out before their recipient acknowledged them.
    pub messages_expired_undelivered: Counter,
    pub messages_stored: Gauge,
    pub messages_queued: Gauge,

    pub writer_queue_jobs: Gauge,
    pub writer_queue_bytes: Gauge,
    pub commits: Counter,
    /// COMMIT alone; it contains the sync.
    pub commit_seconds: Histogram,
    /// A whole batch: BEGIN to the end of COMMIT.
    pub batch_seconds: Histogram,
    /// Jobs of one commit.
    pub batch_jobs: Histogram,
    pub checkpoints: Family<CheckpointLabels, Counter>,
    pub checkpoint_seconds: Histogram,
    /// A 4 KiB append with its sync beside the database, every 10 s.
    pub disk_probe_seconds: Histogram,
    pub wal_bytes: Gauge,
    pub database_bytes: Gauge,
    pub freelist_bytes: Gauge,
    pub free_disk_bytes: Gauge,
    pub readers_in_use: Gauge,
    pub reader_waiters: Gauge,
    /// One read transaction, page or lookup.
    pub read_seconds: Histogram,
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("dchat");
        let r = &mut registry;
        r.register(
            "build",
            "Version of the running binary",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        Metrics {
            http_requests: family(
                r,
                "http_requests",
                "Answered requests by route template, method and status class",
            ),
            http_request_seconds: http_seconds(r),
            connections: gauge(r, "connections", "Open connections"),
            connections_refused: counter(
                r,
                "connections_refused",
                "Connections refused at the connection limit",
            ),
            connections_timed_out: counter(
                r,
                "connections_timed_out",
                "Connections closed because a clock ran out",
            ),
            websockets: gauge(r, "websockets", "Open WebSockets"),
            event_streams: gauge(r, "event_streams", "Open event streams"),
            long_polls: gauge(r, "long_polls", "Requests held until a message comes"),
            subscriptions: gauge(
                r,
                "subscriptions",
                "Mailboxes and channels subscribed to by sockets and streams",
            ),
            messages_pushed: counter(r, "messages_pushed", "Messages handed to subscribers"),
            subscribers_stalled: counter(
                r,
                "subscribers_stalled",
                "Subscribers closed because they took nothing",
            ),
            push_lag_seconds: seconds(
                r,
                "push_lag",
                "From the commit of a message to its handing over to a subscriber",
            ),
            messages_accepted: counter(
                r,
                "messages_accepted",
                "Messages stored, repeats not counted",
            ),
            messages_duplicate: counter(
                r,
                "messages_duplicate",
                "Repeats of an id, answered with the first sequence",
            ),
            messages_refused: family(r, "messages_refused", "Messages refused, by reason"),
            messages_acknowledged: counter(
                r,
                "messages_acknowledged",
                "Messages that an acknowledgement changed to delivered",
            ),
            messages_deleted: counter(r, "messages_deleted", "Messages deleted on request"),
            messages_expired: counter(
                r,
                "messages_expired",
                "Messages removed at the end of their ttl or retention",
            ),
            messages_expired_undelivered: counter(
                r,
                "messages_expired_undelivered",
                "Messages whose ttl ended before an acknowledgement",
            ),
            messages_stored: gauge(r, "messages_stored", "Messages in the database"),
            messages_queued: gauge(
                r,
                "messages_queued",
                "Messages that wait for their recipient",
            ),
            writer_queue_jobs: gauge(r, "writer_queue_jobs", "Jobs that wait for the writer"),
            writer_queue_bytes: bytes(r, "writer_queue", "Bytes that wait for the writer"),
            commits: counter(r, "commits", "Commits to messages.db"),
            commit_seconds: seconds(r, "commit", "Time of COMMIT, which contains the sync"),
            batch_seconds: seconds(
                r,
                "batch",
                "Time of one batch from BEGIN to the end of COMMIT",
            ),
            batch_jobs: histogram(r, "batch_jobs", "Jobs of one commit", powers_of_two()),
            checkpoints: family(r, "checkpoints", "Checkpoints of messages.db by mode"),
            checkpoint_seconds: seconds(r, "checkpoint", "Time of one checkpoint"),
            disk_probe_seconds: seconds(
                r,
                "disk_probe",
                "Time of a 4 KiB append and its sync beside the database",
            ),
            wal_bytes: bytes(r, "wal", "Size of the write-ahead log"),
            database_bytes: bytes(r, "database", "Size of messages.db"),
            freelist_bytes: bytes(r, "freelist", "Free pages inside messages.db"),
            free_disk_bytes: bytes(
                r,
                "free_disk",
                "Free space of the data directory's file system",
            ),
            readers_in_use: gauge(r, "readers_in_use", "Reader connections in use"),
            reader_waiters: gauge(r, "reader_waiters", "Queries that wait for a reader"),
            read_seconds: seconds(r, "read", "Time of one read transaction"),
            registry,
        }
    }

    /// OpenMetrics 1.0 text, for scrapers that ask for it.
    pub fn encode_openmetrics(&self) -> String {
        exposition::openmetrics(&self.registry)
    }

    /// Classic Prometheus text 0.0.4.
    pub fn encode_text(&self) -> String {
        exposition::classic(&exposition::openmetrics(&self.registry))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let metric = Counter::default();
    registry.register(name, help, metric.clone());
    metric
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let metric = Gauge::default();
    registry.register(name, help, metric.clone());
    metric
}

fn bytes(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let metric = Gauge::default();
    registry.register_with_unit(name, help, Unit::Bytes, metric.clone());
    metric
}

fn seconds(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let metric = latency();
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

fn histogram(
    registry: &mut Registry,
    name: &str,
    help: &str,
    buckets: impl Iterator<Item = f64>,
) -> Histogram {
    let metric = Histogram::new(buckets);
    registry.register(name, help, metric.clone());
    metric
}

fn family<L>(registry: &mut Registry, name: &str, help: &str) -> Family<L, Counter>
where
    L: Clone
        + std::hash::Hash
        + Eq
        + fmt::Debug
        + Send
        + Sync
        + 'static
        + prometheus_client::encoding::EncodeLabelSet,
{
    let metric = Family::<L, Counter>::default();
    registry.register(name, help, metric.clone());
    metric
}

fn http_seconds(registry: &mut Registry) -> Family<RouteLabels, Histogram, fn() -> Histogram> {
    let metric = Family::new_with_constructor(latency as fn() -> Histogram);
    registry.register_with_unit(
        "http_request",
        "From the complete head to the answer, by route template",
        Unit::Seconds,
        metric.clone(),
    );
    metric
}

/// 100 us to 10 s: below lies the noise of one wake-up, above it a client has given up.
fn latency() -> Histogram {
    Histogram::new([
        0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
        2.5, 5.0, 10.0,
    ])
}

fn powers_of_two() -> impl Iterator<Item = f64> {
    prometheus_client::metrics::histogram::exponential_buckets(1.0, 2.0, 11)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classic_text_names_counters_as_promtool_wants() {
        let metrics = Metrics::new();
        metrics.messages_accepted.inc_by(3);
        metrics
            .messages_refused
            .get_or_create(&RefusedLabels {
                reason: Refusal::Overloaded,
            })
            .inc();
        metrics.commit_seconds.observe(0.002);
        let text = metrics.encode_text();
        assert!(
            text.contains(
                "# TYPE dchat_messages_accepted_total counter\ndchat_messages_accepted_total 3\n"
            ),
            "{text}"
        );
        assert!(
            text.contains("dchat_messages_refused_total{reason=\"overloaded\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("# TYPE dchat_commit_seconds histogram"),
            "{text}"
        );
        assert!(text.contains("# TYPE dchat_build_info gauge"), "{text}");
        assert!(
            !text.contains("# EOF") && !text.contains("# UNIT"),
            "{text}"
        );
        assert!(metrics.encode_openmetrics().ends_with("# EOF\n"));
    }
}
