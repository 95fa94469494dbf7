//! The reporter: an output that sends a run's per-second aggregates to a dchat's runs API.

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use super::{Error, Output, OutputFuture, RunStart};
use crate::load::RunOutcome;
use crate::load::metrics::SampleBatch;

/// Where a run is reported to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportTo {
    /// Nowhere: no probe, no file.
    Off,
    /// A dchat that answers on loopback port 7071, asked once; without one nowhere.
    Probe,
    /// This one; what it doesn't take goes into a file.
    Url(Url),
}

#[derive(Clone, Debug)]
pub struct ReporterConfig {
    pub report_to: ReportTo,
    /// Whether the script's text is stored with the run (`--no-store-script`).
    pub store_script: bool,
    /// Where `dchat-run-ID.ndjson` goes when something could not be delivered.
    pub directory: PathBuf,
}

/// See the module's header.
#[derive(Debug)]
pub struct Reporter {
    config: ReporterConfig,
}

impl Reporter {
    pub fn new(config: ReporterConfig) -> Reporter {
        Reporter { config }
    }
}

impl Output for Reporter {
    fn describe(&self) -> String {
        format!("results ({:?})", self.config.report_to)
    }

    fn start<'a>(&'a mut self, _run: &'a RunStart) -> OutputFuture<'a, Result<(), Error>> {
        unimplemented!()
    }

    fn add(&mut self, _batch: &Arc<SampleBatch>) {
        unimplemented!()
    }

    fn stop<'a>(&'a mut self, _outcome: &'a RunOutcome) -> OutputFuture<'a, ()> {
        unimplemented!()
    }
}
