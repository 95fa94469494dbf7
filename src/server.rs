//! The only place that wires parts: bind, open storage, run, drain.
