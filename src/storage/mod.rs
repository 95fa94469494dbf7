//! SQLite: the writer threads, the reader pools, the schema.
