//! What is acknowledged survives kill, crash and restart, once and in order.
