//! The HTTP contract: routes, guards, bodies, pushing, errors.
//!
//! The HTTP contract is kept here and nowhere else. Knows the domain (`relay`, `results`), never
//! SQL. A request runs: connection with its clocks (`accept`, `io`), table lookup and guards
//! (`service`), the warp filter that reads the body and calls the handler (`filters`), answer.

mod about;
pub(crate) mod accept;
pub(crate) mod app;
mod assets;
pub(crate) mod call;
pub(crate) mod error;
mod filters;
mod guards;
mod io;
pub(crate) mod json;
mod messages;
mod openapi;
pub(crate) mod reply;
mod results;
mod service;
mod socket;
mod stream;
mod subscription;
pub(crate) mod table;
mod tally;
