//! The test's measurements: metric registry, tags, samples, sinks.
//!
//! Not to be mixed up with `crate::metrics`, which is what the relay says about itself.

pub mod breakdown;
pub mod builtin;
pub mod engine;
pub mod figures;
pub mod registry;
pub mod sample;
pub mod sink;
pub mod submetric;
pub mod tags;
pub mod window;

pub use engine::{Engine, SinkRef};
pub use registry::{Metric, MetricId, MetricKind, Registry, RegistryError, ValueKind};
pub use sample::{Container, HttpSample, SampleBatch, SampleSink, Timings};
pub use tags::{RequestTags, TagSet};
