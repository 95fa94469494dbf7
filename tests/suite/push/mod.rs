//! WebSocket and server-sent events: start cursors, replay, live, without gap or repeat.

/// Subscribers that come back with their cursors while the relay is loaded and killed.
mod resume;
/// WebSocket frames, their order, errors and close codes.
mod socket;
/// Server-sent events.
mod stream;
