//! Getting a run's calls to the relay, or into a file, in order and in bounded memory.
//!
//! Batches wait here until the relay has answered 200. While it doesn't answer they are kept, up to
//! [`PENDING_BYTES_MAX`]; then the oldest go into `dchat-run-ID.ndjson`, and at the end of the run
//! everything that is still here. The file has one call of the runs API a line, as the import
//! takes it; a batch that arrived although its answer was lost is stored once all the same. Every
//! method may be dropped half way: what was not answered stays here.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use url::Url;

use super::aggregate::Point;
use super::bodies::RegisterBody;
use crate::http_client::{Client, Payload};
use crate::load::control::Order;

/// Memory of batches that wait for the relay, in bytes: some 10 minutes of a usual run.
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Points of one call; the API takes 5,000, this keeps bodies far below its limit.
const POINTS_PER_CALL: usize = 1_000;
/// A relay under full load may be slow, but the next batch is due in a second.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
struct Registered {
    relay_time_ms: i64,
}

/// What the answer to a batch brings along.
#[derive(Debug, Deserialize)]
struct Taken {
    #[serde(default)]
    control: Vec<OrderBody>,
}

/// One order of live control; which one says its key.
#[derive(Debug, Deserialize)]
struct OrderBody {
    #[serde(default)]
    stop: bool,
    vus: Option<u32>,
    rate: Option<f64>,
}

impl OrderBody {
    fn order(&self) -> Option<Order> {
        match self {
            OrderBody { stop: true, .. } => Some(Order::Stop),
            OrderBody { vus: Some(vus), .. } => Some(Order::Vus(*vus)),
            OrderBody { rate, .. } => rate.map(Order::Rate),
        }
    }
}

#[derive(Debug, Serialize)]
struct SamplesBody<'a> {
    source: &'a str,
    batch: u64,
    points: &'a [Point],
}

/// Why a call did not get through.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It may get through later.
    #[error("{0}")]
    Later(String),
    /// The relay will never take it.
    #[error("{0}")]
    Refused(String),
}

#[derive(Debug)]
struct Batch {
    body: Bytes,
    points: usize,
}

#[derive(Debug)]
pub(super) struct Delivery {
    client: Client,
    base: Url,
    register: RegisterBody,
    registered: bool,
    /// The relay's clock minus ours; 0 until it is known.
    offset_ms: i64,
    next_batch: u64,
    pending: VecDeque<Batch>,
    pending_bytes: usize,
    file: PathBuf,
    file_begun: bool,
    batches_in_file: u64,
    points_lost: u64,
    /// Orders of live control that have come with answers.
    orders: Vec<Order>,
}

impl Delivery {
    pub(super) fn new(base: Url, register: RegisterBody, directory: &Path) -> Delivery {
        let file = directory.join(format!("dchat-run-{}.ndjson", register.run_id));
        Delivery {
            client: Client::new(),
            base,
            register,
            registered: false,
            offset_ms: 0,
            next_batch: 1,
            pending: VecDeque::new(),
            pending_bytes: 0,
            file,
            file_begun: false,
            batches_in_file: 0,
            points_lost: 0,
            orders: Vec::new(),
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registered
    }

    pub(super) fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// Points that the relay refused for good.
    pub(super) fn points_lost(&self) -> u64 {
        self.points_lost
    }

    /// The page of the run.
    pub(super) fn page(&self) -> String {
        let mut page = self.base.clone();
        page.set_path("/");
        page.set_query(Some(&format!("run={}", self.register.run_id)));
        page.to_string()
    }

    /// Registers the run and learns the relay's clock from the answer.
    pub(super) async fn register(&mut self, timeout: Duration) -> Result<(), Failure> {
        let sent_at = now_ms();
        self.register.sent_at = Some(sent_at);
        let body = json_bytes(&self.register);
        let answer = self.call("/api/v1/runs", body, timeout).await?;
        let answered: Registered = serde_json::from_slice(&answer)
            .map_err(|_| Failure::Refused("it is no dchat: its answer is something else".into()))?;
        let middle = sent_at + (now_ms() - sent_at) / 2;
        // Later seconds are placed by the same offset as earlier ones.
        if !self.registered && self.next_batch == 1 {
            self.offset_ms = answered.relay_time_ms - middle;
        }
        self.registered = true;
        Ok(())
    }

    /// Queues points; without any it queues an empty batch, which says that the run is alive.
    pub(super) async fn push(&mut self, points: &[Point]) {
        let mut chunks: Vec<&[Point]> = points.chunks(POINTS_PER_CALL).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        for points in chunks {
            let body = json_bytes(&SamplesBody {
                source: "dchat-run",
                batch: self.next_batch,
                points,
            });
            self.next_batch += 1;
            self.pending_bytes += body.len();
            self.pending.push_back(Batch {
                body,
                points: points.len(),
            });
        }
        while self.pending_bytes > PENDING_BYTES_MAX && self.pending.len() > 1 {
            if !self.spill_oldest().await {
                break;
            }
        }
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends what is queued, in order, until everything is there or a call fails.
    pub(super) async fn deliver(&mut self) -> Result<(), Failure> {
        if !self.registered {
            self.register(CALL_TIMEOUT).await?;
        }
        let path = format!("/api/v1/runs/{}/samples", self.register.run_id);
        while let Some(batch) = self.pending.front() {
            match self.call(&path, batch.body.clone(), CALL_TIMEOUT).await {
                Ok(answer) => {
                    self.drop_oldest();
                    // An answer that is no JSON of ours has no orders either.
                    let taken = serde_json::from_slice::<Taken>(&answer);
                    let control = taken.map(|taken| taken.control).unwrap_or_default();
                    let orders = control.iter().filter_map(OrderBody::order);
                    self.orders.extend(orders);
                }
                Err(Failure::Refused(reason)) => {
                    tracing::warn!(reason, "the results relay refuses a batch of this run");
                    let points = self.drop_oldest();
                    self.points_lost += points as u64;
                }
                Err(later) => return Err(later),
            }
        }
        Ok(())
    }

    /// Orders of live control since the last call.
    pub(super) fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    pub(super) async fn finish(&mut self, body: Bytes) -> Result<(), Failure> {
        let path = format!("/api/v1/runs/{}/finish", self.register.run_id);
        self.call(&path, body, CALL_TIMEOUT).await.map(drop)
    }

    /// Puts everything that is still queued, and the end, into the file. Gives back its path.
    pub(super) async fn spill_all(&mut self, finish: &Bytes) -> Option<&Path> {
        while !self.pending.is_empty() {
            if !self.spill_oldest().await {
                return None;
            }
        }
        let written = self.write_line("finish", finish).await;
        written.then_some(&*self.file)
    }

    pub(super) fn batches_in_file(&self) -> u64 {
        self.batches_in_file
    }

    async fn spill_oldest(&mut self) -> bool {
        let Some(body) = self.pending.front().map(|batch| batch.body.clone()) else {
            return false;
        };
        if !self.write_line("samples", &body).await {
            return false;
        }
        self.drop_oldest();
        self.batches_in_file += 1;
        true
    }

    fn drop_oldest(&mut self) -> usize {
        let Some(batch) = self.pending.pop_front() else {
            return 0;
        };
        self.pending_bytes -= batch.body.len();
        batch.points
    }

    /// Appends one call; the first line is always the registration.
    async fn write_line(&mut self, call: &str, body: &Bytes) -> bool {
        let mut text = Vec::with_capacity(body.len() + 128);
        if !self.file_begun {
            let mut register = serde_json::to_value(&self.register).unwrap_or_default();
            if let Some(object) = register.as_object_mut() {
                // A file is brought in later: its times are already the relay's, or ours.
                object.remove("sent_at");
                let started_at = self.register.started_at + self.offset_ms;
                object.insert("started_at".into(), started_at.into());
            }
            text.extend_from_slice(b"{\"call\":\"register\",\"body\":");
            text.extend_from_slice(register.to_string().as_bytes());
            text.extend_from_slice(b"}\n");
        }
        let run_id = &self.register.run_id;
        text.extend_from_slice(
            format!("{{\"call\":\"{call}\",\"run_id\":\"{run_id}\",\"body\":").as_bytes(),
        );
        text.extend_from_slice(body);
        text.extend_from_slice(b"}\n");
        match append(&self.file, &text).await {
            Ok(()) => {
                self.file_begun = true;
                true
            }
            Err(error) => {
                let file = self.file.display();
                tracing::error!(%file, %error, "cannot write the results that the relay did not take");
                false
            }
        }
    }

    async fn call(&self, path: &str, body: Bytes, timeout: Duration) -> Result<Bytes, Failure> {
        let mut url = self.base.clone();
        url.set_path(path);
        url.set_query(None);
        let answer = self
            .client
            .request(Method::POST, &url, Some(Payload::json(body)), timeout)
            .await
            .map_err(|error| Failure::Later(error.to_string()))?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let reason = format!("{} {}", answer.status, error_text(&answer.body));
        // What the relay may get over by itself, or by being told of the run again.
        let later = answer.status.is_server_error()
            || matches!(
                answer.status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
            );
        Err(if later {
            Failure::Later(reason)
        } else {
            Failure::Refused(reason)
        })
    }
}

async fn append(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .await?;
    file.write_all(text).await?;
    file.flush().await
}

fn json_bytes(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body)
        .expect("our bodies have string keys and finite numbers")
        .into()
}

/// The message of the relay's error body, or the beginning of whatever it said.
fn error_text(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct ErrorBody {
        message: String,
    }
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.message,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
    }
}

/// This machine's wall clock, unix milliseconds.
pub(super) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since_epoch.as_millis() as i64
}
