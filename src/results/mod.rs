//! Runs, series and points of load tests: recording them, reading them, judging them.
//!
//! [`Results`] is the only door: `http` calls it, it calls `storage::runs`. It knows no HTTP and
//! no SQL. The verdict is pure and is also used by the command line.

pub mod verdict;
