//! A small HTTP/1.1 client for the command line and the results reporter.
