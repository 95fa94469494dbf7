//! The HTTP contract of messages, errors and guards, route by route.
