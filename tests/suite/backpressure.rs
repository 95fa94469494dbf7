//! Limits that refuse or slow instead of growing.
