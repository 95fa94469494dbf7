//! JSON lines, summary export, end-of-test summary.
