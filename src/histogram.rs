//! Sparse log-linear histogram on f64: one layout in memory, on the wire and in the file.
