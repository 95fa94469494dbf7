//! The ordered end of a relay.
