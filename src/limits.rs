//! Every limit of the relay in one place: name, default and reason.
//!
//! A leaf: it imports nothing of ours. The values in force are shown by `GET /api/v1/status`, and
//! each one is reached by a test.

use std::time::Duration;

/// Longest `id`, `sender`, `recipient` or `channel`, in Unicode scalars.
pub const NAME_SCALARS_MAX: usize = 128;
/// Most fields beside the contract's that one message may carry.
pub const EXTRA_FIELDS_MAX: usize = 16;
/// All extra fields of one message together, as raw JSON, in bytes.
pub const EXTRA_BYTES_MAX: usize = 8 * 1024;
/// Longest `ttl_seconds`: one hundred years.
pub const TTL_SECONDS_MAX: u64 = 3_153_600_000;
/// Most messages of one batch call.
pub const BATCH_MESSAGES_MAX: usize = 1_000;
/// Largest body of the batch call, in bytes.
pub const BATCH_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most ids of one acknowledgement.
pub const ACK_IDS_MAX: usize = 1_000;
/// Most messages of one page.
pub const PAGE_MESSAGES_MAX: usize = 1_000;
/// Messages of one page where the request names no limit.
pub const PAGE_MESSAGES_DEFAULT: usize = 100;
/// A page ends early when its messages reach this many bytes.
pub const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest `wait` of a long poll.
pub const POLL_WAIT_MAX: Duration = Duration::from_secs(55);
/// Time between two heartbeats of an event stream.
pub const STREAM_HEARTBEAT: Duration = Duration::from_secs(15);
/// Time between two ping frames of a WebSocket.
pub const SOCKET_PING: Duration = Duration::from_secs(30);
/// Time without any frame after which a WebSocket's peer is taken for dead.
pub const SOCKET_SILENCE_MAX: Duration = Duration::from_secs(75);
/// Posts and acknowledgements of one WebSocket that wait for their commits.
pub const SOCKET_ANSWERS_MAX: usize = 256;
/// Most points of one samples call.
pub const SAMPLE_POINTS_MAX: usize = 5_000;

/// The limits that an operator can change, and the fixed ones that depend on nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Longest `content` of a message, in bytes.
    pub content_bytes_max: usize,
    /// Largest body of any call but the batch call and runs, in bytes.
    pub body_bytes_max: usize,
    /// Largest body of the runs calls, in bytes.
    pub run_body_bytes_max: usize,
    /// Largest request head, in bytes; above it 431.
    pub head_bytes_max: usize,
    /// Open connections, all peers together.
    pub connections_max: usize,
    /// Time a connection may idle, or take for the first byte of a request.
    pub idle_timeout: Duration,
    /// Time from the first byte of a request head to its end.
    pub head_timeout: Duration,
    /// Time for a whole request body.
    pub body_timeout: Duration,
    /// Jobs that may wait for the writer.
    pub queue_jobs_max: usize,
    /// Bytes that may wait for the writer.
    pub queue_bytes_max: usize,
    /// Jobs of one commit; 1 means one commit per message.
    pub commit_jobs_max: usize,
    /// Bytes of one commit.
    pub commit_bytes_max: usize,
    /// Reader connections; each serves one query at a time.
    pub readers: usize,
    /// Queries that may wait for a reader.
    pub reader_waiters_max: usize,
    /// Longest read transaction.
    pub read_transaction_max: Duration,
    /// WAL size from which the background checkpoint runs.
    pub wal_checkpoint_bytes: u64,
    /// WAL size at which the writer takes part so that the WAL restarts.
    pub wal_restart_bytes: u64,
    /// WAL size at which the writer truncates.
    pub wal_truncate_bytes: u64,
    /// WAL size at which new messages are refused with `OVERLOADED`.
    pub wal_bytes_max: u64,
    /// Free bytes of the disk below which new messages are refused; keeps deletes and acks working.
    pub free_disk_floor_bytes: u64,
    /// Largest `messages.db`; 0 means bounded by the disk alone.
    pub database_bytes_max: u64,
    /// Time a delivered message without a ttl of its own is kept.
    pub retention: Duration,
    /// Subscriptions of one WebSocket.
    pub subscriptions_per_socket_max: usize,
    /// Bytes that may wait for one slow subscriber.
    pub socket_pending_bytes_max: usize,
    /// Time after which a subscriber that takes nothing is closed.
    pub socket_stall_max: Duration,
    /// Open WebSockets and event streams together.
    pub subscribers_max: usize,
    /// Time of the whole drain on a stop signal.
    pub drain_timeout: Duration,
    /// Time stored runs are kept.
    pub runs_retention: Duration,
    /// Stored runs.
    pub runs_max: usize,
    /// Bytes of all stored runs.
    pub runs_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Limits {
            content_bytes_max: 64 * 1024,
            // Every byte of the content may be escaped as \u00XX.
            body_bytes_max: 512 * 1024,
            run_body_bytes_max: 8 * 1024 * 1024,
            head_bytes_max: 16 * 1024,
            connections_max: 16_384,
            idle_timeout: Duration::from_secs(75),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            queue_jobs_max: 8_192,
            queue_bytes_max: 32 * 1024 * 1024,
            commit_jobs_max: 512,
            commit_bytes_max: 4 * 1024 * 1024,
            readers: 2 * cores,
            reader_waiters_max: 4_096,
            read_transaction_max: Duration::from_millis(100),
            wal_checkpoint_bytes: 4 * 1024 * 1024,
            wal_restart_bytes: 32 * 1024 * 1024,
            wal_truncate_bytes: 64 * 1024 * 1024,
            wal_bytes_max: 128 * 1024 * 1024,
            free_disk_floor_bytes: 64 * 1024 * 1024,
            database_bytes_max: 0,
            retention: Duration::from_secs(30 * 86_400),
            subscriptions_per_socket_max: 64,
            socket_pending_bytes_max: 256 * 1024,
            socket_stall_max: Duration::from_secs(60),
            subscribers_max: 16_384,
            drain_timeout: Duration::from_secs(10),
            runs_retention: Duration::from_secs(90 * 86_400),
            runs_max: 500,
            runs_bytes_max: 1024 * 1024 * 1024,
        }
    }
}
