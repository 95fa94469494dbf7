//! The k6 API as scripts see it.
