//! Server-sent events of one run: what changed, so that a page knows what to read again.
//!
//! `run` carries the run as the list shows it: at once, and whenever it changes. `points` carries
//! `{"from","to"}`, unix milliseconds of the seconds that have new points. `deleted` is the last
//! one of a run that was deleted; a `run` that is over is the last one too. Nothing is replayed: a
//! page that comes back reads the series from the last second that it has.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;

use super::answer::{self, RunHead};
use super::{refused, run_id};
use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::{self, Response};
use crate::results::{self, Results, RunId, State, Watch};
use crate::shutdown;

/// Comment lines that keep proxies from closing a quiet stream; also the pace at which a silent
/// run is noticed as lost.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// `GET /api/v1/runs/{id}/events`
pub(crate) async fn events(
    results: &Results,
    call: &Call,
    stop: &shutdown::Signal,
) -> Result<Response, ApiError> {
    let run_id = run_id(call)?;
    // Watched before it is read, so that nothing falls between.
    let watch = results.watch(run_id.clone());
    let run = results
        .run(&run_id)
        .await
        .map_err(|error| refused(error, run_id.as_str()))?;
    let mut feed = Feed {
        results: results.clone(),
        run_id,
        watch,
        stop: stop.clone(),
        ready: VecDeque::new(),
        state: run.state,
        over: answer::is_over(run.state),
    };
    feed.ready.push_back(Bytes::from_static(b"retry: 2000\n\n"));
    feed.ready.push_back(event("run", &RunHead::of(&run)));
    let events = stream::unfold(feed, |mut feed| async move {
        let bytes = feed.next().await?;
        Some((Ok(bytes), feed))
    });
    Ok(reply::event_stream(events))
}

struct Feed {
    results: Results,
    run_id: RunId,
    watch: Watch,
    stop: shutdown::Signal,
    ready: VecDeque<Bytes>,
    state: State,
    /// Nothing comes after what is ready.
    over: bool,
}

impl Feed {
    /// The next bytes, `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            tokio::select! {
                () = self.stop.triggered() => return None,
                change = self.watch.next() => match change?.seconds {
                    Some((from, to)) => self.points(from, to).await,
                    None => self.reread().await,
                },
                () = tokio::time::sleep(HEARTBEAT) => {
                    self.reread().await;
                    self.ready.push_back(Bytes::from_static(b": alive\n\n"));
                }
            }
        }
    }

    async fn points(&mut self, from: i64, to: i64) {
        if self.state != State::Running {
            self.reread().await;
        }
        let window = json!({"from": from * 1_000, "to": to * 1_000 + 999});
        self.ready.push_back(event("points", &window));
    }

    async fn reread(&mut self) {
        match self.results.run(&self.run_id).await {
            Ok(run) => {
                self.state = run.state;
                self.over = answer::is_over(run.state);
                self.ready.push_back(event("run", &RunHead::of(&run)));
            }
            Err(results::Error::NotFound) => {
                self.over = true;
                let deleted = json!({"run_id": self.run_id.as_str()});
                self.ready.push_back(event("deleted", &deleted));
            }
            // The page comes back by itself, and is told then.
            Err(_) => self.over = true,
        }
    }
}

fn event(name: &str, body: &impl Serialize) -> Bytes {
    let body = serde_json::to_string(body).expect("wire structs have string keys");
    format!("event: {name}\ndata: {body}\n\n").into()
}
