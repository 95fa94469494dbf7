//! Starts outputs, hands every batch to the metrics engine and to each of them, and stops them.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Error, Output, RunStart};
use crate::load::RunOutcome;
use crate::load::metrics::{Engine, SampleBatch};

/// Batches that may wait in the one channel between VUs and outputs.
pub const CHANNEL_BATCHES_MAX: usize = 1_024;

/// The started outputs of a run.
pub struct Manager {
    outputs: Vec<Box<dyn Output>>,
}

impl Manager {
    /// Starts outputs in their order.
    ///
    /// # Errors
    /// The first output that fails; those started before it are stopped with `not_begun`.
    pub async fn start(
        mut outputs: Vec<Box<dyn Output>>,
        run: &RunStart,
        not_begun: &RunOutcome,
    ) -> Result<Manager, Error> {
        for index in 0..outputs.len() {
            if let Err(error) = outputs[index].start(run).await {
                for started in &mut outputs[..index] {
                    started.stop(not_begun).await;
                }
                return Err(error);
            }
        }
        Ok(Manager { outputs })
    }

    /// Takes batches until the channel is closed and empty, then gives the outputs back. `closing`
    /// closes it from this side: a producer that hangs may never drop its end.
    pub async fn pump(
        mut self,
        mut batches: mpsc::Receiver<SampleBatch>,
        engine: Arc<Mutex<Engine>>,
        closing: CancellationToken,
    ) -> Manager {
        loop {
            let batch = tokio::select! {
                batch = batches.recv() => batch,
                () = closing.cancelled(), if !batches.is_closed() => {
                    batches.close();
                    continue;
                }
            };
            let Some(batch) = batch else { break };
            engine.lock().unwrap_or_else(|e| e.into_inner()).add(&batch);
            if self.outputs.is_empty() {
                continue;
            }
            let batch = Arc::new(batch);
            for output in &mut self.outputs {
                output.add(&batch);
            }
        }
        self
    }

    /// Stops all outputs, in order, with the run's outcome.
    pub async fn stop(mut self, outcome: &RunOutcome) {
        for output in &mut self.outputs {
            output.stop(outcome).await;
        }
    }
}
