//! One socket as the script's calls and its pump see it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rquickjs::{Ctx, Exception};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use super::events::{Event, Room};
use crate::load::client::websocket::Frame;
use crate::load::js::host::Host;
use crate::load::metrics::{MetricId, TagSet, builtin};

/// Bytes received that the script has not seen yet; then nothing more is read.
pub(super) const WAITING_BYTES_MAX: usize = 1 << 20;
/// What an event costs of them beside its own bytes.
const EVENT_BYTES: usize = 256;
/// Bytes that wait to be written.
const QUEUED_BYTES_MAX: usize = 64 << 20;
/// Pings and round trips under way; the server may never answer them.
const ASKED_MAX: usize = 10_000;

/// What the pump writes.
pub(super) struct Out {
    pub(super) frame: Frame,
    pub(super) bytes: Vec<u8>,
    /// Told when it is written, or the error.
    pub(super) done: Option<oneshot::Sender<Option<String>>>,
    /// The last: hang up without waiting for the server.
    pub(super) last: bool,
    /// Of a pong: pings are only read as fast as they are answered.
    pub(super) _room: Option<Room>,
}

pub(super) struct Session {
    host: Rc<Host>,
    tags: RefCell<TagSet>,
    out: mpsc::UnboundedSender<Out>,
    /// Handed over by `send` and not yet written.
    pub(super) buffered: Cell<usize>,
    /// The script has seen it open, and not closed it.
    pub(super) open: Cell<bool>,
    room: Arc<Semaphore>,
    pings: RefCell<HashMap<u64, Instant>>,
    pings_sent: Cell<u64>,
    asked: RefCell<HashMap<String, Instant>>,
    received_at: Cell<Option<Instant>>,
    /// Events that nobody has asked for yet.
    kept: RefCell<VecDeque<Event>>,
    news: Notify,
}

impl Session {
    pub(super) fn new(host: &Rc<Host>, out: mpsc::UnboundedSender<Out>) -> Session {
        Session {
            host: host.clone(),
            tags: RefCell::default(),
            out,
            buffered: Cell::new(0),
            open: Cell::new(false),
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
            pings: RefCell::default(),
            pings_sent: Cell::new(0),
            asked: RefCell::default(),
            received_at: Cell::new(None),
            kept: RefCell::default(),
            news: Notify::new(),
        }
    }

    pub(super) fn set_tags(&self, tags: TagSet) {
        *self.tags.borrow_mut() = tags;
    }

    pub(super) fn emit(&self, metric: MetricId, value: f64) {
        let tags = self.tags.borrow().clone();
        self.host.emit_one(metric, value, tags);
    }

    pub(super) fn emit_time(&self, metric: MetricId, time: Duration) {
        self.emit(metric, time.as_secs_f64() * 1_000.0);
    }

    /// Waits until the script has seen enough of what came before.
    pub(super) async fn room(&self, bytes: usize) -> Room {
        let cost = (bytes + EVENT_BYTES).min(WAITING_BYTES_MAX) as u32;
        let room = self.room.clone().acquire_many_owned(cost).await;
        room.expect("the semaphore is never closed")
    }

    /// `send` of `k6/websockets`: written when the pump comes to it.
    pub(super) fn queue(
        &self,
        ctx: &Ctx<'_>,
        frame: Frame,
        bytes: Vec<u8>,
    ) -> rquickjs::Result<()> {
        let buffered = self.buffered.get() + bytes.len();
        if buffered > QUEUED_BYTES_MAX {
            let text =
                format!("{QUEUED_BYTES_MAX} bytes wait to be sent on this WebSocket already");
            return Err(Exception::throw_range(ctx, &text));
        }
        self.buffered.set(buffered);
        self.push(frame, bytes, None, false);
        Ok(())
    }

    /// Writes and waits for it; the error's text.
    pub(super) async fn write(&self, frame: Frame, bytes: Vec<u8>) -> Option<String> {
        let (done, written) = oneshot::channel();
        self.buffered.set(self.buffered.get() + bytes.len());
        self.push(frame, bytes, Some(done), false);
        written
            .await
            .unwrap_or_else(|_| Some("websocket: close sent".to_owned()))
    }

    pub(super) fn ping(&self, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
        let number = self.pings_sent.get();
        self.pings_sent.set(number + 1);
        let mut pings = self.pings.borrow_mut();
        if pings.len() >= ASKED_MAX {
            pings.clear();
        }
        pings.insert(number, Instant::now());
        drop(pings);
        self.queue(ctx, Frame::Ping, number.to_string().into_bytes())
    }

    pub(super) fn ponged(&self, payload: &[u8]) {
        let number = std::str::from_utf8(payload)
            .ok()
            .and_then(|n| n.parse().ok());
        let sent = number.and_then(|number: u64| self.pings.borrow_mut().remove(&number));
        match sent {
            Some(sent) => self.emit_time(builtin::WS_PING, sent.elapsed()),
            None => tracing::debug!("received pong for unknown ping ID"),
        }
    }

    pub(super) fn pong(&self, payload: Vec<u8>, room: Room) {
        // The pump that receives it is the one that calls.
        let _ = self.out.send(Out {
            frame: Frame::Pong,
            bytes: payload,
            done: None,
            last: false,
            _room: Some(room),
        });
    }

    /// Begins the closing handshake.
    pub(super) fn close(&self, code: u16, reason: &str) {
        self.open.set(false);
        self.push(Frame::Close, close_payload(code, reason), None, false);
    }

    /// Says so, if there is a code, and closes the connection.
    pub(super) async fn hang_up(&self, code: Option<u16>) -> Option<String> {
        self.open.set(false);
        let (done, written) = oneshot::channel();
        let bytes = code.map_or_else(Vec::new, |code| close_payload(code, ""));
        self.push(Frame::Close, bytes, Some(done), true);
        // A pump that has ended has nothing left to say.
        written.await.ok().flatten()
    }

    fn push(
        &self,
        frame: Frame,
        bytes: Vec<u8>,
        done: Option<oneshot::Sender<Option<String>>>,
        last: bool,
    ) {
        // A pump that has ended drops `done`, which tells.
        let _ = self.out.send(Out {
            frame,
            bytes,
            done,
            last,
            _room: None,
        });
    }

    /// The message that the script is handed now came at this time.
    pub(super) fn received(&self, at: Instant) {
        self.received_at.set(Some(at));
    }

    pub(super) fn asked(&self, key: String) {
        let mut asked = self.asked.borrow_mut();
        if asked.len() >= ASKED_MAX {
            asked.clear();
        }
        asked.insert(key, Instant::now());
    }

    pub(super) fn answered(&self, key: &str) {
        let asked = self.asked.borrow_mut().remove(key);
        if let (Some(asked), Some(received)) = (asked, self.received_at.get()) {
            let time = received.saturating_duration_since(asked);
            self.emit_time(builtin::WS_ROUND_TRIP, time);
        }
    }

    /// An event for whoever asks next.
    pub(super) fn keep(&self, event: Event) {
        self.kept.borrow_mut().push_back(event);
        self.news.notify_one();
    }

    /// The next kept event; `None` when `wait` is over first.
    pub(super) async fn next(&self, wait: Option<Duration>) -> Option<Event> {
        let come = async {
            loop {
                if let Some(event) = self.kept.borrow_mut().pop_front() {
                    return event;
                }
                self.news.notified().await;
            }
        };
        match wait {
            None => Some(come.await),
            Some(wait) => tokio::time::timeout(wait, come).await.ok(),
        }
    }
}

/// RFC 6455, section 5.5.1; 1005 stands for a frame without a code.
pub(super) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    if code == 1005 {
        return Vec::new();
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    payload
}
