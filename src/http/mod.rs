//! The HTTP contract: routes, guards, bodies, pushing, errors.
//!
//! What API.md says is kept here and nowhere else. Knows the domain (`relay`, `results`), never
//! SQL. A request runs: connection (`accept`, `io`), table lookup and guards (`service`), one warp
//! filter per row (`filters`), handler, answer.

pub(crate) mod call;
pub(crate) mod error;
pub(crate) mod json;
pub(crate) mod reply;
pub(crate) mod table;
