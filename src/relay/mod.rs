//! The domain of the relay: messages, sequences, cursors, the hub.
