//! Commands, flags, exit codes, error texts and their hints.
