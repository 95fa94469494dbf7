//! dchat: a durable message relay with SQLite inside, and its own load lab, in one binary.
//!
//! # Map
//!
//! ```text
//! main -> cli -> server -> http -> relay --> storage -> SQLite (messages.db, runs.db)
//!          |                \---> results ----^
//!          '---> load -> load::output::results -> (HTTP) -> the runs API
//! config, limits, histogram, http_client, telemetry, metrics, shutdown: leaves; handed in, never reached for
//! ```
//!
//! # Path of a message
//!
//! `http` parses a body into a [`relay::NewMessage`], which cannot be invalid. [`relay`] queues it
//! for the one writer thread in [`storage`], which commits whatever is queued in one transaction
//! with `synchronous=FULL`. Only after `COMMIT` has returned is the request answered, and only
//! then does the hub say "mailbox or channel X reached sequence N". Sessions that push read
//! forward from storage at their own cursor: a slow one lags, it never loses.
//!
//! # Path of a sample
//!
//! A VU is a QuickJS context on its own coroutine stack, pinned to a worker thread. A blocking
//! host call suspends the coroutine while the worker's event loop does the I/O. Samples leave the
//! worker in batches over one bounded channel; the metrics engine, the thresholds and every
//! output read the same batches. Results go to the relay's runs API over the wire.
//!
//! # Architecture invariants
//!
//! - `relay` knows no HTTP, no SQL, no JSON; `storage` knows no HTTP status; `http` contains no SQL.
//! - Only the writer threads of `storage` write rows; readers open read-only.
//! - `load` never calls `relay`, `storage`, `results` or `http`: it meets the relay over the wire.
//! - Leaves import nothing of ours but other leaves.
//! - No global mutable state beyond the tracing subscriber.
//!
//! `tests/suite/tidy.rs` checks the edges between modules.

pub mod cli;
pub mod config;
pub mod server;

pub mod http;
pub mod relay;
pub mod results;
pub mod storage;

pub mod load;

pub mod histogram;
pub mod http_client;
pub mod limits;
pub mod metrics;
pub mod shutdown;
pub mod telemetry;
