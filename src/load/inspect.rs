//! Loads a script without running it: what `inspect` and `archive` need.
//!
//! Blocking: the caller is a command that does nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::js::{Program, ScriptSource, VmSettings};
use super::metrics::{Engine, Registry};
use super::options::{self, Layer, Options, Sources};
use super::schedule::{self, share};
use super::threshold::Evaluator;

/// A loaded script, its init code run once.
pub struct Loaded {
    pub program: Program,
    registry: Registry,
}

/// What a test would do.
#[derive(Debug)]
pub struct Plan {
    pub options: Options,
    /// What file, script, environment and flags together say.
    pub layer: Layer,
    pub warnings: Vec<String>,
    /// VUs at once, those that arrival rates may add included.
    pub vus_max: u32,
    /// From start to the last graceful stop.
    pub total_duration: Duration,
}

impl Loaded {
    /// # Errors
    /// Whatever is wrong with the script.
    pub fn load(
        source: ScriptSource,
        env: BTreeMap<String, String>,
        vm: &VmSettings,
    ) -> Result<Loaded, Error> {
        let registry = Registry::new();
        let program = Program::load(source, Arc::new(env), &registry, vm)?;
        Ok(Loaded { program, registry })
    }

    /// What the script itself says, or the archive that it comes from.
    ///
    /// # Errors
    /// Options that can't be read.
    pub fn script_layer(&self, archived: Option<&str>) -> Result<Layer, Error> {
        let json = archived.or(self.program.options_json());
        Ok(options::script_layer(json)?)
    }

    /// Consolidates options and checks everything that a run would check before it begins.
    ///
    /// # Errors
    /// Invalid options or thresholds.
    pub fn plan<'a>(&'a self, mut sources: Sources<'a>) -> Result<Plan, Error> {
        sources.script = sources.script.or(self.program.options_json());
        let consolidated = options::consolidate(sources, self.program.exports())?;
        let options = consolidated.options;
        if !options.no_thresholds {
            let mut engine = Engine::new(self.registry.clone());
            Evaluator::bind(&options.thresholds, &self.registry, &mut engine)
                .map_err(Error::Thresholds)?;
        }
        let stripe = share::stripe(&options).map_err(|text| options::Invalid(vec![text]))?;
        let shares = share::shares(&options.scenarios, &stripe);
        Ok(Plan {
            vus_max: schedule::demand(&shares).possible,
            total_duration: schedule::longest(&options.scenarios).1,
            options,
            layer: consolidated.layer,
            warnings: consolidated.warnings,
        })
    }
}
