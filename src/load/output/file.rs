//! Outputs that write lines into a file or to stdout, gzipped where the name ends in `.gz`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::buffer::{BatchWriter, Buffer};
use super::{Error, Output, OutputFuture, RunStart};
use crate::load::RunOutcome;
use crate::load::metrics::SampleBatch;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Stdout,
    File(String),
}

impl Target {
    fn name(&self) -> &str {
        match self {
            Target::Stdout => "stdout",
            Target::File(path) => path,
        }
    }

    fn open(&self) -> io::Result<Box<dyn Sink>> {
        Ok(match self {
            Target::Stdout => Box::new(BufWriter::new(io::stdout())),
            Target::File(path) => {
                let file = BufWriter::new(File::create(path)?);
                if path.ends_with(".gz") {
                    Box::new(GzEncoder::new(file, Compression::default()))
                } else {
                    Box::new(file)
                }
            }
        })
    }
}

/// Makes the writer of a run's lines.
type Format = Box<dyn Fn(Box<dyn Sink>, &RunStart) -> io::Result<Box<dyn BatchWriter>> + Send>;

/// See the module's header.
pub(super) struct FileOutput {
    name: &'static str,
    target: Target,
    /// How often what was written is flushed.
    period: Duration,
    format: Format,
    buffer: Option<Buffer>,
}

impl FileOutput {
    pub(super) fn new(
        name: &'static str,
        target: Target,
        period: Duration,
        format: Format,
    ) -> FileOutput {
        FileOutput {
            name,
            target,
            period,
            format,
            buffer: None,
        }
    }
}

impl Output for FileOutput {
    fn describe(&self) -> String {
        format!("{} ({})", self.name, self.target.name())
    }

    fn start<'a>(&'a mut self, run: &'a RunStart) -> OutputFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let failed = |source| Error::File {
                path: self.target.name().to_owned(),
                source,
            };
            let sink = self.target.open().map_err(failed)?;
            let writer = (self.format)(sink, run).map_err(failed)?;
            let buffer = Buffer::start(self.name, self.period, writer).map_err(failed)?;
            self.buffer = Some(buffer);
            Ok(())
        })
    }

    fn add(&mut self, batch: &Arc<SampleBatch>) {
        if let Some(buffer) = &mut self.buffer {
            buffer.add(batch);
        }
    }

    fn stop<'a>(&'a mut self, _outcome: &'a RunOutcome) -> OutputFuture<'a, ()> {
        Box::pin(async move {
            let Some(buffer) = self.buffer.take() else {
                return;
            };
            let Ok(written) = tokio::task::spawn_blocking(|| buffer.finish()).await else {
                return;
            };
            if let Err(error) = written.result {
                tracing::error!(output = self.describe(), %error, "the output is not complete");
            }
            if written.lost > 0 {
                tracing::error!(
                    output = self.describe(),
                    lost = written.lost,
                    "the output was too slow and is not complete"
                );
            }
        })
    }
}

/// A file that can be ended, as compressed ones must be.
pub(super) trait Sink: Write + Send {
    fn end(self: Box<Self>) -> io::Result<()>;
}

impl<W: Write + Send> Sink for BufWriter<W> {
    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.flush()
    }
}

impl<W: Write + Send> Sink for GzEncoder<W> {
    fn end(self: Box<Self>) -> io::Result<()> {
        self.finish()?.flush()
    }
}
