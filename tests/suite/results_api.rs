//! The runs API.
