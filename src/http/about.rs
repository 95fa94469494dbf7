//! The relay about itself: health, readiness, status, metrics.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header::{ACCEPT, CACHE_CONTROL, HeaderValue};
use serde_json::{Map, Value, json};

use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::{self, Response};
use crate::limits;
use crate::metrics::{Refusal, RefusedLabels};
use crate::relay::Health;

/// `GET /health`: answers as soon as the listener is bound.
pub(crate) fn health(app: &App) -> Response {
    let health = app.relay().ok().map(|relay| relay.health());
    let (status, word, reason) = match health {
        None => (StatusCode::OK, "starting", None),
        Some(Health::Ok) => (StatusCode::OK, "ok", None),
        Some(Health::Degraded(reason)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "degraded", Some(reason))
        }
    };
    let mut body = json!({
        "service": "dchat",
        "status": word,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": app.started.elapsed().as_secs(),
        "timestamp": unix_ms(),
    });
    if let Some(reason) = reason {
        body["reason"] = json!(reason);
    }
    fresh(reply::json_with_status(status, &body))
}

/// `GET /ready`: the service has refused already while starting or draining.
pub(crate) fn ready() -> Response {
    fresh(reply::json(&json!({"status": "ready"})))
}

/// `GET /metrics`: Prometheus text, OpenMetrics where `Accept` asks for it.
pub(crate) fn metrics(app: &App, call: &Call) -> Response {
    let wants_open = call
        .header(ACCEPT)
        .is_some_and(|accept| accept.contains("application/openmetrics-text"));
    fresh(if wants_open {
        reply::text(
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            app.metrics.encode_openmetrics(),
        )
    } else {
        reply::text(
            "text/plain; version=0.0.4; charset=utf-8",
            app.metrics.encode_text(),
        )
    })
}

/// `GET /api/v1/status`
pub(crate) fn status(app: &App) -> Result<Response, ApiError> {
    let relay = app.relay()?;
    let now = relay.status();
    let metrics = &app.metrics;
    let addresses: Vec<String> = app
        .addresses
        .iter()
        .map(|at| format!("http://{at}"))
        .collect();
    let body = json!({
        "service": "dchat",
        "version": env!("CARGO_PKG_VERSION"),
        "role": "relay",
        "uptime_seconds": app.started.elapsed().as_secs(),
        "timestamp": unix_ms(),
        "addresses": addresses,
        "epoch": relay.epoch(),
        "sequence": now.committed_sequence,
        "messages": {
            "stored": now.messages_stored,
            "queued": now.messages_queued,
            "accepted": now.messages_accepted,
            "repeated": now.messages_repeated,
            "acknowledged": now.messages_acknowledged,
            "deleted": now.messages_deleted,
            "expired_undelivered": now.messages_expired_undelivered,
            "expiry_held": now.expiry_held,
            "refused": refused(app),
            "accepted_per_second": now.accepted_per_second,
        },
        "storage": {
            "database_bytes": now.database_bytes,
            "wal_bytes": now.wal_bytes,
            "freelist_bytes": now.freelist_bytes,
            "free_disk_bytes": now.free_disk_bytes,
            "checkpoint_seconds_last": now.checkpoint_seconds_last,
        },
        "writer": {
            "queue_jobs": now.queue_jobs,
            "queue_bytes": now.queue_bytes,
            "commits": now.commits,
            "commits_per_second": now.commits_per_second,
            "commit_jobs_mean": now.commit_jobs_mean,
            "commit_seconds_mean": now.commit_seconds_mean,
            "commit_seconds_max": now.commit_seconds_max,
        },
        "readers": {
            "pool": now.readers,
            "busy": now.readers_busy,
            "waiting": now.readers_waiting,
        },
        "connections": {
            "open": metrics.connections.get(),
            "websockets": metrics.websockets.get(),
            "event_streams": metrics.event_streams.get(),
            "long_polls": metrics.long_polls.get(),
            "subscriptions": metrics.subscriptions.get(),
            "watched_feeds": relay.watched_feeds(),
        },
        "limits": limits_in_force(app),
    });
    Ok(fresh(reply::json(&body)))
}

fn refused(app: &App) -> Map<String, Value> {
    let by_reason = Refusal::ALL.map(|reason| {
        let count = app
            .metrics
            .messages_refused
            .get_or_create(&RefusedLabels { reason })
            .get();
        (reason.as_str().to_owned(), json!(count))
    });
    by_reason.into_iter().collect()
}

/// Every limit by its name; bytes and counts as numbers, times in milliseconds.
fn limits_in_force(app: &App) -> Value {
    let l = &app.limits;
    let ms = |time: std::time::Duration| time.as_millis() as u64;
    let mut all = json!({
        "name_scalars_max": limits::NAME_SCALARS_MAX,
        "extra_fields_max": limits::EXTRA_FIELDS_MAX,
        "extra_bytes_max": limits::EXTRA_BYTES_MAX,
        "ttl_seconds_max": limits::TTL_SECONDS_MAX,
        "batch_messages_max": limits::BATCH_MESSAGES_MAX,
        "batch_body_bytes_max": limits::BATCH_BODY_BYTES_MAX,
        "ack_ids_max": limits::ACK_IDS_MAX,
        "page_messages_max": limits::PAGE_MESSAGES_MAX,
        "page_bytes_max": limits::PAGE_BYTES_MAX,
        "poll_wait_max_ms": ms(limits::POLL_WAIT_MAX),
        "stream_heartbeat_ms": ms(limits::STREAM_HEARTBEAT),
        "socket_ping_ms": ms(limits::SOCKET_PING),
        "socket_silence_max_ms": ms(limits::SOCKET_SILENCE_MAX),
        "socket_answers_max": limits::SOCKET_ANSWERS_MAX,
        "sample_points_max": limits::SAMPLE_POINTS_MAX,
    });
    let settable = json!({
        "content_bytes_max": l.content_bytes_max,
        "body_bytes_max": l.body_bytes_max,
        "run_body_bytes_max": l.run_body_bytes_max,
        "head_bytes_max": l.head_bytes_max,
        "connections_max": l.connections_max,
        "idle_timeout_ms": ms(l.idle_timeout),
        "head_timeout_ms": ms(l.head_timeout),
        "body_timeout_ms": ms(l.body_timeout),
        "queue_jobs_max": l.queue_jobs_max,
        "queue_bytes_max": l.queue_bytes_max,
        "commit_jobs_max": l.commit_jobs_max,
        "commit_bytes_max": l.commit_bytes_max,
        "readers": l.readers,
        "reader_waiters_max": l.reader_waiters_max,
        "read_transaction_max_ms": ms(l.read_transaction_max),
        "wal_checkpoint_bytes": l.wal_checkpoint_bytes,
        "wal_restart_bytes": l.wal_restart_bytes,
        "wal_truncate_bytes": l.wal_truncate_bytes,
        "wal_bytes_max": l.wal_bytes_max,
        "free_disk_floor_bytes": l.free_disk_floor_bytes,
        "database_bytes_max": l.database_bytes_max,
        "retention_ms": ms(l.retention),
        "subscriptions_per_socket_max": l.subscriptions_per_socket_max,
        "socket_pending_bytes_max": l.socket_pending_bytes_max,
        "socket_stall_max_ms": ms(l.socket_stall_max),
        "subscribers_max": l.subscribers_max,
        "drain_timeout_ms": ms(l.drain_timeout),
        "runs_retention_ms": ms(l.runs_retention),
        "runs_max": l.runs_max,
        "runs_bytes_max": l.runs_bytes_max,
    });
    if let (Some(all), Value::Object(settable)) = (all.as_object_mut(), settable) {
        all.extend(settable);
    }
    all
}

/// Never from a cache.
fn fresh(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
