//! How far a run is, on stderr: a live line on a terminal, else a line every 10 s.

use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::load::Begun;
use crate::load::options::Scenario;
use crate::telemetry::k6::LogOutput;

/// How often the live line is redrawn.
const LINE_PERIOD: Duration = Duration::from_millis(250);
/// How often a plain line is written.
const PLAIN_PERIOD: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Off,
    Line,
    Plain,
}

/// The terminal's last lines, which log lines must take away before they are written.
#[derive(Clone)]
pub(super) struct LiveLine {
    bars: MultiProgress,
    to_stdout: bool,
}

impl LiveLine {
    pub(super) fn new() -> LiveLine {
        LiveLine {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            to_stdout: false,
        }
    }

    /// Log lines to where `output` says.
    pub(super) fn to(self, output: &LogOutput) -> LiveLine {
        LiveLine {
            to_stdout: *output == LogOutput::Stdout,
            ..self
        }
    }
}

impl Write for LiveLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| match self.to_stdout {
            true => io::stdout().lock().write(bytes),
            false => io::stderr().lock().write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.to_stdout {
            true => io::stdout().lock().flush(),
            false => io::stderr().lock().flush(),
        }
    }
}

/// A running display; ends with [`Display::finish`].
pub(super) struct Display {
    task: JoinHandle<()>,
    end: oneshot::Sender<()>,
}

/// Starts a display; the function is to be called when the run has begun.
pub(super) fn display(
    progress: Progress,
    line: LiveLine,
    script: String,
) -> (Box<dyn FnOnce(Begun) + Send>, Display) {
    let (begun, begins) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let task = tokio::spawn(async move {
        let Ok(begun) = begins.await else {
            return;
        };
        show(progress, &line, &script, begun, ended).await;
    });
    let tell = Box::new(move |run: Begun| {
        for warning in &run.warnings {
            tracing::warn!("{warning}");
        }
        // Nobody displays anything where the task has ended.
        let _ = begun.send(run);
    });
    (tell, Display { task, end })
}

impl Display {
    /// Ends the display and removes the live line.
    pub(super) async fn finish(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

async fn show(
    progress: Progress,
    line: &LiveLine,
    script: &str,
    run: Begun,
    mut ended: oneshot::Receiver<()>,
) {
    let period = match progress {
        Progress::Off => return,
        Progress::Line => LINE_PERIOD,
        Progress::Plain => PLAIN_PERIOD,
    };
    // A run that fails in setup fails within this time, and then its error stands alone.
    tokio::select! {
        _ = &mut ended => return,
        () = tokio::time::sleep(LINE_PERIOD) => {}
    }
    write_lines(&header(script, &run));
    let bar = (progress == Progress::Line).then(|| line.bars.add(bar_of(&run)));
    loop {
        tokio::select! {
            _ = &mut ended => break,
            () = tokio::time::sleep(period) => {}
        }
        match &bar {
            Some(bar) => {
                bar.set_message(short(&run));
                bar.set_position(run.state.started.elapsed().as_millis() as u64);
            }
            None => write_lines(&status(&run)),
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    write_lines(&status(&run));
}

fn bar_of(run: &Begun) -> ProgressBar {
    let length = run.regular.as_millis().max(1) as u64;
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("[{bar:20}] {percent:>3}% {wide_msg}")
        .expect("the template is a constant")
        .progress_chars("=> ");
    bar.set_style(style);
    bar
}

fn header(script: &str, run: &Begun) -> String {
    let outputs = match run.outputs.as_slice() {
        [] => "-".to_owned(),
        outputs => outputs.join(", "),
    };
    let mut text = format!("  script: {script}\n  output: {outputs}\n");
    let (count, vus) = (run.options.scenarios.len(), run.vus_max);
    let noun = if count == 1 { "scenario" } else { "scenarios" };
    text.push_str(&format!(
        "  {count} {noun}, {vus} max VUs, {} max duration (incl. graceful stop):\n",
        clock(run.longest)
    ));
    for scenario in &run.options.scenarios {
        text.push_str(&format!("    * {}\n", describe(scenario)));
    }
    text
}

fn describe(scenario: &Scenario) -> String {
    use crate::load::options::Executor;
    use crate::load::options::duration::format;
    let what = match &scenario.executor {
        Executor::SharedIterations {
            vus,
            iterations,
            max_duration,
        } => format!(
            "{iterations} iterations shared among {vus} VUs (maxDuration: {}",
            format(*max_duration)
        ),
        Executor::PerVuIterations {
            vus,
            iterations,
            max_duration,
        } => format!(
            "{iterations} iterations for each of {vus} VUs (maxDuration: {}",
            format(*max_duration)
        ),
        Executor::ConstantVus { vus, duration } => {
            format!("{vus} looping VUs for {} (", format(*duration))
        }
        Executor::RampingVus { stages, .. } => format!(
            "up to {} looping VUs for {} over {} stages (",
            stages.iter().map(|s| s.target).max().unwrap_or_default(),
            format(scenario.executor.regular_duration()),
            stages.len()
        ),
        Executor::ConstantArrivalRate {
            rate,
            time_unit,
            duration,
            pre_allocated_vus,
            max_vus,
        } => format!(
            "{:.2} iterations/s for {} ({}",
            *rate as f64 / time_unit.as_secs_f64(),
            format(*duration),
            vus_range(*pre_allocated_vus, *max_vus)
        ),
        Executor::RampingArrivalRate {
            start_rate,
            time_unit,
            stages,
            pre_allocated_vus,
            max_vus,
        } => {
            let targets = stages.iter().map(|stage| u64::from(stage.target));
            let most = targets.max().unwrap_or_default().max(*start_rate);
            format!(
                "up to {:.2} iterations/s for {} over {} stages ({}",
                most as f64 / time_unit.as_secs_f64(),
                format(scenario.executor.regular_duration()),
                stages.len(),
                vus_range(*pre_allocated_vus, *max_vus)
            )
        }
    };
    let comma = if what.ends_with('(') { "" } else { ", " };
    let mut text = format!(
        "{}: {what}{comma}gracefulStop: {}",
        scenario.name,
        format(scenario.graceful_stop)
    );
    if !scenario.start_time.is_zero() {
        text.push_str(&format!(", startTime: {}", format(scenario.start_time)));
    }
    if scenario.exec != "default" {
        text.push_str(&format!(", exec: {}", scenario.exec));
    }
    text.push(')');
    text
}

fn vus_range(pre_allocated: u32, max: u32) -> String {
    if max > pre_allocated {
        format!("maxVUs: {pre_allocated}-{max}")
    } else {
        format!("maxVUs: {pre_allocated}")
    }
}

/// k6's line: time, VUs, iterations.
fn status(run: &Begun) -> String {
    let state = &run.state;
    format!(
        "running ({}/{}), {}/{} VUs, {} complete and {} interrupted iterations",
        clock(state.started.elapsed()),
        clock(run.regular),
        state.vus_active.load(Ordering::Relaxed),
        run.vus_max,
        state.iterations_completed.load(Ordering::Relaxed),
        state.iterations_interrupted.load(Ordering::Relaxed),
    )
}

/// The same for a narrow terminal.
fn short(run: &Begun) -> String {
    let state = &run.state;
    format!(
        "{}/{}  {}/{} VUs  {} iterations",
        clock(state.started.elapsed()),
        clock(run.regular),
        state.vus_active.load(Ordering::Relaxed),
        run.vus_max,
        state.iterations_completed.load(Ordering::Relaxed),
    )
}

/// `07m00.0s`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let minutes = (seconds / 60.0).floor();
    format!(
        "{minutes:02}m{:04.1}s",
        ((seconds - minutes * 60.0) * 10.0).floor() / 10.0
    )
}

/// A closed stderr is no reason to end a run.
fn write_lines(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n'));
}
