//! A real relay process on a directory of its own.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::command::dchat;
use super::http::{Client, Request, Response};
use super::process::{ExitCode, Process};
use super::sse::Events;
use super::ws::Socket;
use super::{SOON, check, eventually};

/// A running relay. Dropping it kills the process and removes the directory.
pub struct Relay {
    setup: Setup,
    process: Process,
    addr: SocketAddr,
}

/// How to start (and restart) a relay.
#[derive(Clone)]
#[must_use]
pub struct Setup {
    dir: PathBuf,
    /// Keeps a directory of our own alive; `None` where the test brought one.
    _temp: Option<Arc<TempDir>>,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
}

impl Setup {
    /// More arguments for `dchat relay`.
    pub fn and<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Setup {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// `--limit NAME=VALUE`, e.g. `.limit("content_bytes_max", "1KiB")`.
    pub fn limit(self, name: &str, value: &str) -> Setup {
        self.and(["--limit".to_owned(), format!("{name}={value}")])
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Setup {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Uses `dir` as data directory; it stays when the relay is dropped.
    pub fn in_dir(mut self, dir: impl Into<PathBuf>) -> Setup {
        self.dir = dir.into();
        self._temp = None;
        self
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts it and waits until `/ready` answers 200.
    #[track_caller]
    pub fn start(self) -> Relay {
        let relay = self.start_unready();
        relay.wait_ready();
        relay
    }

    /// Starts it and waits only until it listens.
    #[track_caller]
    pub fn start_unready(self) -> Relay {
        let process = self.spawn();
        let addr = listening_address(&process);
        Relay {
            setup: self,
            process,
            addr,
        }
    }

    /// Starts the process without waiting for anything: for starts that must fail.
    #[track_caller]
    pub fn spawn(&self) -> Process {
        let mut invocation = dchat(["relay", "--port", "0", "--data-dir"]).arg(&self.dir);
        for arg in &self.args {
            invocation = invocation.arg(arg);
        }
        for (name, value) in &self.env {
            invocation = invocation.env(name, value);
        }
        invocation.spawn()
    }
}

impl Relay {
    /// A relay with the defaults, ready.
    #[track_caller]
    pub fn start() -> Relay {
        Relay::setup().start()
    }

    /// A relay with these further arguments, not yet started.
    #[track_caller]
    pub fn with<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Setup {
        Relay::setup().and(args)
    }

    /// A relay in a fresh temporary directory, not yet started.
    #[track_caller]
    pub fn setup() -> Setup {
        let temp = tempfile::Builder::new()
            .prefix("dchat-test-")
            .tempdir()
            .expect("the temporary directory is writable");
        Setup {
            dir: temp.path().join("data"),
            _temp: Some(Arc::new(temp)),
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    // --- the process ---

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDR:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn dir(&self) -> &Path {
        &self.setup.dir
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM; returns at once.
    pub fn terminate(&mut self) {
        self.process.terminate();
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn ended(&mut self) -> ExitCode {
        self.process.ended_within(SOON)
    }

    /// SIGTERM, and checks that it ends with exit code 0.
    #[track_caller]
    pub fn stop(&mut self) {
        self.terminate();
        let code = self.ended();
        check(code == 0, || {
            format!("a stopped relay ends 0, not {code}:\n{}", self.stderr())
        });
    }

    /// Starts again on the same directory with the same arguments, on a new port; kills a
    /// process that still runs.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.process = self.setup.spawn();
        self.addr = listening_address(&self.process);
        self.wait_ready();
    }

    /// The same with further arguments.
    #[track_caller]
    pub fn restart_with<A: Into<OsString>>(&mut self, args: impl IntoIterator<Item = A>) {
        self.setup.args.extend(args.into_iter().map(Into::into));
        self.restart();
    }

    #[track_caller]
    pub fn wait_ready(&self) {
        eventually("the relay is ready", || {
            let answer = Client::try_get(self.addr, "/ready")?;
            (answer.status == 200).then_some(())
        });
    }

    // --- requests ---

    /// A keep-alive connection.
    pub fn client(&self) -> Client {
        Client::to(self.addr)
    }

    /// A request on a connection of its own.
    pub fn request(&self, method: &str, path: &str) -> Request<'static> {
        Request::new(self.addr, method, path)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path).send()
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Response {
        self.request("DELETE", path).send()
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.request("POST", path).json(body).send()
    }

    /// POSTs `body` byte by byte as it is, as `application/json`.
    #[track_caller]
    pub fn post_text(&self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.request("POST", path)
            .body("application/json", body.as_ref())
            .send()
    }

    /// Sends bytes as they are on a new connection and reads one response.
    #[track_caller]
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Response {
        super::http::raw(self.addr, bytes.as_ref())
    }

    // --- messages ---

    /// Posts a message, which must be accepted, and returns the answer.
    #[track_caller]
    pub fn accept(&self, message: Value) -> Value {
        self.post("/api/v1/messages", &message).expect(200).json()
    }

    /// Posts `content` from `sender` to `recipient`.
    #[track_caller]
    pub fn accept_from(&self, sender: &str, recipient: &str, content: &str) -> Value {
        self.accept(json!({"sender": sender, "recipient": recipient, "content": content}))
    }

    /// A stored message, which must be there.
    #[track_caller]
    pub fn message(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/messages/{id}"))
            .expect(200)
            .json()
    }

    /// The messages of one page, e.g. of `user=bob&after=0`.
    #[track_caller]
    pub fn page(&self, query: &str) -> Vec<Value> {
        let page = self
            .get(&format!("/api/v1/messages?{query}"))
            .expect(200)
            .json();
        page["messages"]
            .as_array()
            .expect("messages is a list")
            .clone()
    }

    /// All messages that a query gives, read forward page by page from the start.
    #[track_caller]
    pub fn all(&self, query: &str) -> Vec<Value> {
        let mut client = self.client();
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("/api/v1/messages?{query}&limit=1000&after={after}");
            let page = client.get(&path).expect(200).json();
            found.extend(
                page["messages"]
                    .as_array()
                    .expect("messages is a list")
                    .iter()
                    .cloned(),
            );
            after = page["next_after"]
                .as_i64()
                .expect("next_after is a sequence");
            if page["has_more"] == false {
                return found;
            }
        }
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        self.get("/api/v1/status").expect(200).json()
    }

    // --- pushing ---

    /// An open WebSocket.
    #[track_caller]
    pub fn socket(&self) -> Socket {
        Socket::open(self.addr)
    }

    /// An open event stream, e.g. on `/api/v1/stream?user=bob`.
    #[track_caller]
    pub fn events(&self, path: &str) -> Events {
        Events::open(self.addr, path, &[])
    }
}

/// The address of the first stdout line, `listening on http://ADDR:PORT`.
#[track_caller]
fn listening_address(process: &Process) -> SocketAddr {
    let line = process.line_with("", Duration::from_secs(60));
    let address = line
        .strip_prefix("listening on http://")
        .and_then(|rest| rest.trim().parse().ok());
    match address {
        Some(address) => address,
        None => panic!("the first line on stdout is no `listening on http://ADDR:PORT`: {line:?}"),
    }
}
