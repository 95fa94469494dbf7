//! Thresholds: syntax, evaluation, abort, exit code 99.
