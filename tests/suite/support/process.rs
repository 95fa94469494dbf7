//! A child process whose output is collected by threads and which never outlives its handle.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::{check, eventually_within};

/// Exit of a process: its code, or the signal that ended it as `128 + signal`, as shells say it.
pub type ExitCode = i32;

pub struct Process {
    name: String,
    child: Child,
    stdout: Arc<Capture>,
    stderr: Arc<Capture>,
    ended: Option<ExitCode>,
}

/// The text of one stream so far; `closed` once the process has closed it.
#[derive(Default)]
struct Capture {
    text: Mutex<(String, bool)>,
    grown: Condvar,
}

impl Process {
    #[track_caller]
    pub fn spawn(mut command: Command) -> Process {
        let name = format!("{command:?}");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = Capture::of(child.stdout.take().expect("stdout is piped"));
        let stderr = Capture::of(child.stderr.take().expect("stderr is piped"));
        Process {
            name,
            child,
            stdout,
            stderr,
            ended: None,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Everything on stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for the first stdout line that contains `part`.
    #[track_caller]
    pub fn line_with(&self, part: &str, patience: Duration) -> String {
        match self.stdout.line_with(part, patience) {
            Some(line) => line,
            None => panic!(
                "no stdout line with {part:?} within {patience:?} from {}\nstdout:\n{}\nstderr:\n{}",
                self.name,
                self.stdout(),
                self.stderr()
            ),
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.poll().is_none()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.poll().is_none() {
            self.child.kill().expect("our own child can be killed");
            self.reap();
        }
    }

    /// SIGTERM; returns at once.
    pub fn terminate(&mut self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// SIGINT, as Ctrl-C sends it; returns at once.
    pub fn interrupt(&mut self) {
        self.signal(rustix::process::Signal::INT);
    }

    pub fn signal(&mut self, signal: rustix::process::Signal) {
        if self.poll().is_none() {
            let pid = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process(pid, signal).expect("our own child can be signalled");
        }
    }

    /// Waits for the end, at most `patience`, and returns the exit code.
    #[track_caller]
    pub fn ended_within(&mut self, patience: Duration) -> ExitCode {
        let started = Instant::now();
        loop {
            if let Some(code) = self.poll() {
                self.stdout.wait_closed();
                self.stderr.wait_closed();
                return code;
            }
            if started.elapsed() > patience {
                let (name, stdout, stderr) = (self.name.clone(), self.stdout(), self.stderr());
                self.kill();
                panic!(
                    "still running after {patience:?}: {name}\nstdout:\n{stdout}\nstderr:\n{stderr}"
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn poll(&mut self) -> Option<ExitCode> {
        if self.ended.is_none()
            && let Some(status) = self
                .child
                .try_wait()
                .expect("our own child can be waited for")
        {
            self.ended = Some(code_of(status));
        }
        self.ended
    }

    fn reap(&mut self) {
        let status = self.child.wait().expect("our own child can be waited for");
        self.ended = Some(code_of(status));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let stderr = self.stderr();
            let from = stderr.len().saturating_sub(8_000);
            let tail = stderr.get(from..).unwrap_or(&stderr);
            eprintln!("--- stderr of {}:\n{tail}", self.name);
        }
    }
}

impl Capture {
    fn of(stream: impl Read + Send + 'static) -> Arc<Capture> {
        let capture = Arc::new(Capture::default());
        let writer = Arc::clone(&capture);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while let Ok(1..) = reader.read_until(b'\n', &mut line) {
                let mut text = writer.text.lock().expect("no test thread panics here");
                text.0.push_str(&String::from_utf8_lossy(&line));
                line.clear();
                writer.grown.notify_all();
            }
            writer.text.lock().expect("no test thread panics here").1 = true;
            writer.grown.notify_all();
        });
        capture
    }

    fn text(&self) -> String {
        self.text
            .lock()
            .expect("no test thread panics here")
            .0
            .clone()
    }

    fn line_with(&self, part: &str, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        let mut text = self.text.lock().expect("no test thread panics here");
        loop {
            if let Some(line) = text.0.lines().find(|line| line.contains(part)) {
                return Some(line.to_owned());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            if text.1 {
                return None;
            }
            text = self
                .grown
                .wait_timeout(text, left)
                .expect("no test thread panics here")
                .0;
        }
    }

    /// Until the stream is closed, or 2 s: a grandchild may hold it open.
    fn wait_closed(&self) {
        let text = self.text.lock().expect("no test thread panics here");
        let closed = |text: &mut (String, bool)| !text.1;
        drop(
            self.grown
                .wait_timeout_while(text, Duration::from_secs(2), closed),
        );
    }
}

fn code_of(status: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().expect("ended by code or signal"))
}

/// Waits until a process that we did not start ourselves (a child's child) is gone.
#[track_caller]
pub fn gone(pid: u32, patience: Duration) {
    check(pid > 1, || format!("{pid} is no pid of ours"));
    eventually_within(patience, &format!("process {pid} ends"), || {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
}
