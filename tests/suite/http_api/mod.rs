//! The HTTP contract of messages, errors and guards, route by route.

/// Acknowledging and deleting: who changes, what is answered, what goes away.
mod acks;
/// All or nothing for up to 1,000 messages.
mod batch;
/// Each row of the error table that is not another module's promise.
mod errors;
/// Open mode: Host, Origin, Sec-Fetch-Site, and the loopback rule.
mod guards;
/// The same id again: duplicates and conflicts, also after an end of life.
mod idempotency;
/// One message in: fields, rules, content types, what is given back.
mod posting;
/// Health, readiness, status, metrics, the contract's own document.
mod probes;
/// Pages, cursors, boxes, long polls.
mod reading;
/// HTTP/1.1 as plain clients, proxies and load generators speak it.
mod wire;
