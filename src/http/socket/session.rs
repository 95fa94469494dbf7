//! One WebSocket from its upgrade to its close: one task that reads frames, waits for commits and
//! pushes.
//!
//! Frames are handled in order. Posts and acknowledgements are queued for the writer at once and
//! answered in order when their commits return, so that one socket fills a commit by itself.
//! Between two frames every subscription that is behind pushes one page. Nothing is buffered
//! beyond that: a peer that reads slowly slows its own session, and one that takes nothing is
//! closed.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{self, Future};
use futures_util::stream::FuturesOrdered;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

use super::frame::{self, Kind};
use crate::http::app::App;
use crate::http::call::RequestId;
use crate::http::error::ApiError;
use crate::http::io::DRAIN_STALL_MAX;
use crate::http::messages::{self, Object, ack_target, message_of_frame};
use crate::http::subscription::Subscription;
use crate::limits::{SOCKET_ANSWERS_MAX, SOCKET_PING, SOCKET_SILENCE_MAX};

/// Time for the peer to answer our close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

type Answers = FuturesOrdered<Pin<Box<dyn Future<Output = Answer> + Send>>>;

/// What becomes of one frame.
enum Answer {
    Frame(Vec<u8>),
    /// A commit whose outcome nobody knows: 1011.
    StorageFailed,
}

/// Why the session ends.
enum End {
    /// The connection is gone.
    Gone,
    /// The peer has closed: the library's answer waits to be written.
    Closed,
    Close(CloseCode, &'static str),
}

pub(super) struct Session {
    app: App,
    socket: WebSocketStream<TokioIo<Upgraded>>,
    request_id: RequestId,
    answers: Answers,
    subscriptions: Vec<Subscription>,
    heard: Instant,
}

impl Session {
    pub(super) fn new(
        app: App,
        socket: WebSocketStream<TokioIo<Upgraded>>,
        request_id: RequestId,
    ) -> Session {
        app.metrics.websockets.inc();
        Session {
            app,
            socket,
            request_id,
            answers: FuturesOrdered::new(),
            subscriptions: Vec::new(),
            heard: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        let end = self.serve().await;
        match end {
            Err(End::Close(code, reason)) => self.close(code, reason).await,
            Err(End::Closed) => {
                // Answered until the library says that both sides have closed (RFC 6455, 7.1.1).
                let answered = async { while let Some(Ok(_)) = self.socket.next().await {} };
                let _ = tokio::time::timeout(CLOSE_PATIENCE, answered).await;
            }
            Err(End::Gone) | Ok(()) => {}
        }
    }

    /// Never `Ok`: a session ends only by one of the [`End`]s.
    async fn serve(&mut self) -> Result<(), End> {
        let stop = self.app.stop.clone();
        let mut ping_at = Instant::now() + SOCKET_PING;
        let alarm = tokio::time::sleep_until(ping_at);
        tokio::pin!(alarm);
        loop {
            let behind = self.subscriptions.iter().any(Subscription::is_behind);
            tokio::select! {
                biased;
                () = stop.triggered() => {
                    self.answer_all().await?;
                    return Err(End::Close(CloseCode::Away, "the relay is stopping"));
                }
                () = &mut alarm => {
                    let dead_at = self.heard + SOCKET_SILENCE_MAX;
                    if Instant::now() >= dead_at {
                        return Err(End::Gone);
                    }
                    if Instant::now() >= ping_at {
                        self.write(Message::Ping(Bytes::new())).await?;
                        ping_at = Instant::now() + SOCKET_PING;
                    }
                    alarm.as_mut().reset(ping_at.min(dead_at));
                }
                Some(answer) = self.answers.next(), if !self.answers.is_empty() => {
                    self.answer(answer).await?;
                }
                frame = self.socket.next(), if self.answers.len() < SOCKET_ANSWERS_MAX => {
                    self.heard = Instant::now();
                    self.take(frame).await?;
                }
                () = any_grown(&mut self.subscriptions), if !behind => {}
                () = future::ready(()), if behind => {}
            }
            self.push().await?;
        }
    }

    /// One frame of the peer.
    async fn take(&mut self, frame: Option<Result<Message, Error>>) -> Result<(), End> {
        match frame {
            Some(Ok(Message::Text(text))) => self.handle(&text).await,
            Some(Ok(Message::Binary(_))) => {
                Err(End::Close(CloseCode::Unsupported, "frames are JSON text"))
            }
            // Pings are answered by the library; a pong was heard.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
            Some(Err(Error::Capacity(_))) => Err(End::Close(
                CloseCode::Size,
                "the frame is larger than the limit",
            )),
            Some(Err(Error::Utf8(_))) => Err(End::Close(CloseCode::Invalid, "text is UTF-8")),
            Some(Ok(Message::Close(_))) => Err(End::Closed),
            Some(Err(_)) | None => Err(End::Gone),
        }
    }

    async fn handle(&mut self, text: &Utf8Bytes) -> Result<(), End> {
        let object = match Object::parse(text.as_bytes()) {
            Ok(object) => object,
            Err(error) => return self.refuse(error, None).await,
        };
        let reference = frame::reference(&object);
        match Kind::of(&object) {
            Err(error) => self.refuse(error, reference).await,
            Ok(Kind::Message) => match message_of_frame(&self.app, &object) {
                Ok(message) => {
                    let (app, request_id) = (self.app.clone(), self.request_id);
                    let answer = async move {
                        let accepted = messages::accept(&app, message).await;
                        let accepted =
                            accepted.inspect_err(|error| messages::count_refused(&app, error, 1));
                        answer_of(accepted, reference, &request_id, frame::accepted)
                    };
                    self.begin(Box::pin(answer));
                    Ok(())
                }
                Err(error) => {
                    messages::count_refused(&self.app, &error, 1);
                    self.refuse(error, reference).await
                }
            },
            Ok(Kind::Ack) => match ack_target(&object) {
                Ok((user, target)) => {
                    let (app, request_id) = (self.app.clone(), self.request_id);
                    let answer = async move {
                        let acked = match app.relay() {
                            Ok(relay) => relay.ack(user, target).await.map_err(messages::refused),
                            Err(error) => Err(error),
                        };
                        answer_of(acked, reference, &request_id, |n, r| frame::acked(*n, r))
                    };
                    self.begin(Box::pin(answer));
                    Ok(())
                }
                Err(error) => self.refuse(error, reference).await,
            },
            Ok(Kind::Subscribe) => self.subscribe(&object, reference).await,
            Ok(Kind::Unsubscribe) => self.unsubscribe(&object, reference).await,
            Ok(Kind::Ping) => self.reply(frame::plain("pong", reference.as_deref())).await,
            // Without tokens there is nothing to check.
            Ok(Kind::Auth) => {
                self.reply(frame::plain("authenticated", reference.as_deref()))
                    .await
            }
        }
    }

    async fn subscribe(
        &mut self,
        object: &Object<'_>,
        reference: Option<String>,
    ) -> Result<(), End> {
        // What was posted on this socket before is stored before the start cursor is taken.
        self.answer_all().await?;
        match self.start(object) {
            Ok(subscription) => {
                let epoch = self.app.relay().map_or("", |relay| relay.epoch());
                let (feed, after) = (subscription.feed(), subscription.cursor());
                let frame = frame::subscribed(feed, after, epoch, reference.as_deref());
                self.subscriptions.push(subscription);
                self.send(frame).await
            }
            Err(error) => self.refuse(error, reference).await,
        }
    }

    /// Ends an earlier subscription of the same target.
    fn start(&mut self, object: &Object<'_>) -> Result<Subscription, ApiError> {
        let (feed, after) = (frame::feed(object)?, frame::after(object)?);
        let max = self.app.limits.subscriptions_per_socket_max;
        let others = |earlier: &Subscription| !frame::same_target(earlier.feed(), &feed);
        if self.subscriptions.iter().filter(|one| others(one)).count() >= max {
            return Err(ApiError::overloaded(format!(
                "this socket has {max} subscriptions, which is the limit"
            )));
        }
        self.subscriptions.retain(others);
        Subscription::start(&self.app, feed, after)
    }

    async fn unsubscribe(
        &mut self,
        object: &Object<'_>,
        reference: Option<String>,
    ) -> Result<(), End> {
        match frame::feed(object) {
            Ok(feed) => {
                self.subscriptions
                    .retain(|one| !frame::same_target(one.feed(), &feed));
                self.reply(frame::unsubscribed(&feed, reference.as_deref()))
                    .await
            }
            Err(error) => self.refuse(error, reference).await,
        }
    }

    /// Queues work for the writer now, in the order of the frames, and its answer for later.
    fn begin(&mut self, mut answer: Pin<Box<dyn Future<Output = Answer> + Send>>) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(done) => self.answers.push_back(Box::pin(future::ready(done))),
            Poll::Pending => self.answers.push_back(answer),
        }
    }

    /// An error frame behind the answers of earlier frames.
    async fn refuse(&mut self, error: ApiError, reference: Option<String>) -> Result<(), End> {
        self.reply(frame::error(&error, reference.as_deref(), &self.request_id))
            .await
    }

    /// A finished answer behind those of earlier frames.
    async fn reply(&mut self, frame: Vec<u8>) -> Result<(), End> {
        if self.answers.is_empty() {
            return self.send(frame).await;
        }
        self.answers
            .push_back(Box::pin(future::ready(Answer::Frame(frame))));
        Ok(())
    }

    async fn answer_all(&mut self) -> Result<(), End> {
        while let Some(answer) = self.answers.next().await {
            self.answer(answer).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, answer: Answer) -> Result<(), End> {
        match answer {
            Answer::Frame(frame) => self.send(frame).await,
            Answer::StorageFailed => Err(End::Close(
                CloseCode::Error,
                "storage failed; send the same id again",
            )),
        }
    }

    /// One page of each subscription that is behind.
    async fn push(&mut self) -> Result<(), End> {
        for index in 0..self.subscriptions.len() {
            let subscription = &mut self.subscriptions[index];
            if !subscription.is_behind() {
                continue;
            }
            let read = subscription
                .read()
                .await
                .map_err(|_| End::Close(CloseCode::Error, "storage cannot be read"))?;
            if read.is_empty() {
                continue;
            }
            for message in &read {
                let frame = frame::message(subscription.feed(), message);
                taken(&self.app, self.socket.feed(text(frame))).await?;
            }
            taken(&self.app, self.socket.flush()).await?;
        }
        Ok(())
    }

    async fn send(&mut self, frame: Vec<u8>) -> Result<(), End> {
        self.write(text(frame)).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        taken(&self.app, self.socket.send(message)).await
    }

    async fn close(&mut self, code: CloseCode, reason: &'static str) {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let farewell = async {
            self.socket.send(Message::Close(Some(frame))).await?;
            while self.socket.next().await.is_some_and(|frame| frame.is_ok()) {}
            Ok::<_, Error>(())
        };
        // A peer that does not answer is left.
        let _ = tokio::time::timeout(CLOSE_PATIENCE, farewell).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.app.metrics.websockets.dec();
    }
}

/// Waits until the peer has taken what is written; ends the session when it takes nothing for too
/// long, and sooner in a drain.
async fn taken(app: &App, write: impl Future<Output = Result<(), Error>>) -> Result<(), End> {
    let mut write = std::pin::pin!(write);
    // Nearly always the system's buffer has room: no timer for those.
    if let Poll::Ready(done) = futures_util::poll!(write.as_mut()) {
        return done.map_err(|_| End::Gone);
    }
    let patience = async {
        tokio::select! {
            () = tokio::time::sleep(app.limits.socket_stall_max) => {}
            () = app.stop.triggered() => tokio::time::sleep(DRAIN_STALL_MAX).await,
        }
    };
    tokio::select! {
        done = write => done.map_err(|_| End::Gone),
        () = patience => {
            if app.stop.is_triggered() {
                return Err(End::Close(CloseCode::Away, "the relay is stopping"));
            }
            app.metrics.subscribers_stalled.inc();
            Err(End::Close(CloseCode::Again, "nothing was taken for too long"))
        }
    }
}

async fn any_grown(subscriptions: &mut [Subscription]) {
    if subscriptions.is_empty() {
        return future::pending().await;
    }
    let all = subscriptions
        .iter_mut()
        .map(|subscription| Box::pin(subscription.grown()));
    future::select_all(all).await;
}

fn answer_of<T>(
    result: Result<T, ApiError>,
    reference: Option<String>,
    request_id: &RequestId,
    write: impl FnOnce(&T, Option<&str>) -> Vec<u8>,
) -> Answer {
    match result {
        Ok(value) => Answer::Frame(write(&value, reference.as_deref())),
        Err(error) if error.is_unanswered() => Answer::StorageFailed,
        Err(error) => Answer::Frame(frame::error(&error, reference.as_deref(), request_id)),
    }
}

fn text(frame: Vec<u8>) -> Message {
    let text = Utf8Bytes::try_from(Bytes::from(frame));
    Message::Text(text.expect("frames are written as UTF-8"))
}
