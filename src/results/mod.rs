//! Runs, series and points of load tests, and the verdict.
