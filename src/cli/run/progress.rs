//! How far a run is: bars on a terminal, else plain lines now and then.
//!
//! dchat shows it on stderr, so that stdout holds the summary alone; as k6 it goes to stdout,
//! where k6's users and their tools look for it.

mod describe;
mod scenario;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::scenario::{Standing, standing};
use super::flags::Manner;
use crate::load::Begun;
use crate::telemetry::k6::LogOutput;

/// How often bars are redrawn.
const BARS_PERIOD: Duration = Duration::from_millis(250);
/// How often plain lines are written.
const PLAIN_PERIOD: Duration = Duration::from_secs(10);
/// The same as k6.
const PLAIN_PERIOD_K6: Duration = Duration::from_secs(1);
/// Longest name of a scenario before its bar.
const NAME_CHARS_MAX: usize = 30;
const BAR_STEPS: u64 = 10_000;

/// What is shown, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    kind: Kind,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Off,
    Bars,
    Plain,
}

impl Progress {
    /// Nothing where quiet, bars where the place is a terminal.
    pub(super) fn of(manner: Manner, quiet: bool) -> Progress {
        let terminal = match manner {
            Manner::Dchat => io::stderr().is_terminal(),
            Manner::K6 => io::stdout().is_terminal(),
        };
        let kind = match (quiet, terminal) {
            (true, _) => Kind::Off,
            (false, true) => Kind::Bars,
            (false, false) => Kind::Plain,
        };
        Progress { kind, manner }
    }

    /// A closed stream is no reason to end a run.
    fn write(self, text: &str) {
        let _ = match self.manner {
            Manner::Dchat => write!(io::stderr().lock(), "{text}"),
            Manner::K6 => {
                let mut out = io::stdout().lock();
                write!(out, "{text}").and_then(|()| out.flush())
            }
        };
    }

    fn period(self) -> Duration {
        match (self.kind, self.manner) {
            (Kind::Bars, _) => BARS_PERIOD,
            (_, Manner::Dchat) => PLAIN_PERIOD,
            (_, Manner::K6) => PLAIN_PERIOD_K6,
        }
    }
}

/// The terminal's last lines, which log lines must take away before they are written.
#[derive(Clone)]
pub(super) struct LiveLine {
    bars: MultiProgress,
    to_stdout: bool,
}

impl LiveLine {
    pub(super) fn new(progress: Progress) -> LiveLine {
        let target = match progress.manner {
            Manner::Dchat => ProgressDrawTarget::stderr(),
            Manner::K6 => ProgressDrawTarget::stdout(),
        };
        LiveLine {
            bars: MultiProgress::with_draw_target(target),
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
    /// Ends the display and removes its bars.
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
    if progress.kind == Kind::Off {
        return;
    }
    if progress.manner == Manner::Dchat {
        // A run that fails in setup fails within this time, and then its error stands alone.
        tokio::select! {
            _ = &mut ended => return,
            () = tokio::time::sleep(BARS_PERIOD) => {}
        }
    }
    progress.write(&describe::header(script, &run));
    let bars = (progress.kind == Kind::Bars).then(|| Bars::new(&line.bars, &run));
    loop {
        tokio::select! {
            _ = &mut ended => break,
            () = tokio::time::sleep(progress.period()) => {}
        }
        match &bars {
            Some(bars) => bars.update(&run),
            None => progress.write(&plain(&run)),
        }
    }
    if let Some(bars) = bars {
        bars.clear();
    }
    progress.write(&plain(&run));
}

/// One bar a scenario below a line about all of them.
struct Bars {
    all: ProgressBar,
    scenarios: Vec<ProgressBar>,
}

impl Bars {
    fn new(bars: &MultiProgress, run: &Begun) -> Bars {
        let style = |template| {
            ProgressStyle::with_template(template)
                .expect("the template is a constant")
                .progress_chars("=>-")
        };
        let all = bars.add(ProgressBar::new(BAR_STEPS));
        all.set_style(style("{wide_msg}"));
        let scenarios = run.scenarios.iter().map(|_| {
            let bar = bars.add(ProgressBar::new(BAR_STEPS));
            bar.set_style(style("{prefix} [{bar:30}] {wide_msg}"));
            bar
        });
        Bars {
            all,
            scenarios: scenarios.collect(),
        }
    }

    fn update(&self, run: &Begun) {
        self.all.set_message(describe::status(run));
        let width = name_width(run);
        for (bar, scenario) in self.scenarios.iter().zip(&run.scenarios) {
            let standing = standing(scenario, run);
            bar.set_prefix(prefix(&scenario.name, &standing, width));
            bar.set_position((standing.share * BAR_STEPS as f64) as u64);
            bar.set_message(standing.right);
        }
    }

    fn clear(&self) {
        self.scenarios
            .iter()
            .for_each(ProgressBar::finish_and_clear);
        self.all.finish_and_clear();
    }
}

/// A line about the run and one for each scenario, as k6 writes them where there is no terminal.
fn plain(run: &Begun) -> String {
    let mut text = format!("\n{}\n", describe::status(run));
    let width = name_width(run);
    for scenario in &run.scenarios {
        let standing = standing(scenario, run);
        text.push_str(&format!(
            "{} [ {:>3.0}% ] {}\n",
            prefix(&scenario.name, &standing, width),
            standing.share * 100.0,
            standing.right
        ));
    }
    text
}

fn name_width(run: &Begun) -> usize {
    let names = run.scenarios.iter().map(|s| s.name.len());
    names.max().unwrap_or_default().min(NAME_CHARS_MAX)
}

/// Name and sign, at one width. Names of scenarios are ASCII.
fn prefix(name: &str, standing: &Standing, width: usize) -> String {
    let name = match name.get(..NAME_CHARS_MAX) {
        Some(_) if name.len() > NAME_CHARS_MAX => format!("{}...", &name[..NAME_CHARS_MAX - 3]),
        _ => name.to_owned(),
    };
    format!("{name:<width$} {}", standing.sign)
}
