//! Bugs that were found once, each with a short post-mortem.
