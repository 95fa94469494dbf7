//! Strangers' programs against the built binary.
