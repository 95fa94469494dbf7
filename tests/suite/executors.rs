//! Who runs how many iterations when, and how they stop.
