//! Log formats, filters and files.
