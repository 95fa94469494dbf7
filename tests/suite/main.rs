//! The specification of dchat as tests, one module per promise.
//!
//! Everything here drives the real binary from outside, over sockets, files and exit codes, as a
//! stranger would. Names of tests are claims; a module's list of tests should read as its manual.
//! Nothing sleeps to synchronise, ports are 0, directories temporary, seeds printed.
//! `DCHAT_ROUNDS=n` sets the rounds of slow loops.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(
    dead_code,
    unused_imports,
    reason = "helpers stand ready for modules that do not use all of them"
)]
#![allow(
    clippy::print_stderr,
    reason = "seeds and captured output belong in a failing test's log"
)]
#![allow(
    unreachable_pub,
    reason = "nothing outside this binary can reach it anyway"
)]

mod support;

/// Every limit of the relay that refuses or slows instead of growing: queue, disk, sockets.
mod backpressure;
/// Mailboxes and channels: order, cursors, acks, expiry, what `queued` and `delivered` mean.
mod delivery;
/// What is acknowledged survives kill, crash and restart, once and in order.
mod durability;
/// The HTTP contract of messages, errors and guards, route by route.
mod http_api;
/// Random operations and restarts against a plain model of the contract.
mod model;
/// WebSocket and server-sent events: start cursors, replay, live, without gap or repeat.
mod push;
/// The ordered end: drain, deadline, signals, exit codes of a stopping relay.
mod shutdown;

/// Servers that hang, lie, break off or explode: k6's error codes, and nobody else is harmed.
mod bad_servers;
/// Load commands as k6 has them: flags, layers of options, archives, the `k6` link.
#[cfg(unix)]
mod cli_run;
/// Live control: the REST API of a run, its pause, its knobs, and orders through the relay.
mod control;
/// Hashes, encodings, Web Crypto, certificates and secrets, against published vectors.
mod crypto;
/// Executors: who runs how many iterations when, and how they stop.
mod executors;
/// `k6/experimental/{fs,csv,streams}`: files, rows, streams.
mod experimental;
/// Globals, console, `k6/execution`, `k6/metrics`, `k6/data`.
mod globals;
/// `k6/net/grpc`: calls, streams, reflection, and how calls fail.
#[cfg(feature = "grpc")]
mod grpc;
/// Pages: parsing, selections, elements, forms and links.
mod html;
/// The load client on the wire: TLS, HTTP/2, names, forms, cookies, redirects, timings.
mod http_client;
/// The k6 API as scripts see it: modules, options, lifecycle, isolation of VUs.
mod js_api;
/// The libraries of jslib.k6.io that the binary carries.
mod jslib;
/// Files of a script: ES modules, CommonJS, remote imports, `open`.
mod modules;
/// Outputs: JSON lines, summary export, end-of-test summary.
mod outputs;
/// What real k6 does with a script, row by row from `tests/data/`.
mod parity;
/// Outputs that push: what a database, a Prometheus and a collector get to see.
#[cfg(feature = "remote-outputs")]
mod remote_outputs;
/// Thresholds: syntax, evaluation, abort, exit code 99.
mod thresholds;
/// Scripts in TypeScript, and source maps in errors.
mod typescript;
/// `k6/websockets` and `k6/ws`: messages, metrics, and how sockets end.
mod websockets;

/// The runs API: register, samples, finish, list, series, events, import, delete.
mod results_api;
/// The results page, in a real browser.
mod viewer;

/// Commands, flags, exit codes, error texts and their hints.
mod cli;
/// Strangers' programs against the built binary: Locust, promtool, sqlite3.
mod peers;
/// Bugs that were found once, each with a short post-mortem.
mod regression;
/// House rules: module edges, file and line length, what must not stand in `src`.
mod tidy;
