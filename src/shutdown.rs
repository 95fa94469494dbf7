//! Stop signals and the phases of the drain.
