//! Host side of `Stream`: a task that sends what the script writes and hands over what comes.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rquickjs::{Array, Ctx, Exception, Function, IntoJs, Object, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::invoke::{Target, error_value, measure};
use super::{Client, interrupted, set};
use crate::load::client::grpc::{Code, End, Receiver, Sender, Status};
use crate::load::js::events::Completion;
use crate::load::js::host::Host;
use crate::load::metrics::builtin;

/// Bytes of messages that the script has not seen yet; then nothing more is read.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// What a message costs of them beside its own bytes.
const MESSAGE_BYTES: usize = 256;
/// Bytes of messages that wait to be sent.
const QUEUED_BYTES_MAX: usize = 64 << 20;

/// First places of the lists that `grpc.js` takes apart.
const DATA: u8 = 0;
const ERROR: u8 = 1;
const END: u8 = 2;

pub(super) fn install<'js>(
    object: &Object<'js>,
    host: &Rc<Host>,
    client: &Rc<Client>,
) -> rquickjs::Result<()> {
    let (vm, own) = (host.clone(), client.clone());
    let stream = move |ctx: Ctx<'js>, id: u32, method: String, params: Value<'js>| {
        let words = ("invalid GRPC Stream's method: ", "GRPC Stream's");
        let target = Target::read(&ctx, &vm, &own, &method, &params, words)?;
        begin(&ctx, &vm, id, target)
    };
    set(object, "stream", stream)
}

/// Starts the call; gives back `write(json)`, which without JSON is the end of writing.
fn begin<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    id: u32,
    target: Target,
) -> rquickjs::Result<Function<'js>> {
    let begun = Instant::now();
    let opened = host.suspender.block_on(target.channel.begin(&target.call));
    let opened = opened.map_err(|_| interrupted(ctx))?;
    let (sender, receiver) = opened.map_err(|status| {
        let text = format!("failed to create a new stream: {status}");
        Exception::throw_message(ctx, &text)
    })?;
    host.emit_one(builtin::GRPC_STREAMS, 1.0, target.tags.clone());
    let (out, outgoing) = mpsc::unbounded_channel::<Option<String>>();
    let queued = Rc::new(Cell::new(0));
    let session = Session {
        host: host.clone(),
        target,
        id,
        queued: queued.clone(),
    };
    let task = tokio::task::spawn_local(async move {
        let status = session.run(sender, receiver, outgoing).await;
        measure(&session.host, &session.target.tags, status.code, begun);
        if status.code != Code::OK {
            session.deliver(Event::Error(status));
        }
        session.host.events.complete(id, Box::new(Event::End));
        session.host.suspender.wake();
    });
    host.events.begin(id, task.abort_handle());
    Function::new(ctx.clone(), move |ctx: Ctx<'js>, json: Option<String>| {
        let bytes = queued.get() + json.as_ref().map_or(0, String::len);
        if bytes > QUEUED_BYTES_MAX {
            let text = format!("{QUEUED_BYTES_MAX} bytes wait to be sent on this stream already");
            return Err(Exception::throw_range(&ctx, &text));
        }
        queued.set(bytes);
        // A stream that is over takes nothing.
        let _ = out.send(json);
        Ok(())
    })
}

struct Session {
    host: Rc<Host>,
    target: Target,
    id: u32,
    queued: Rc<Cell<usize>>,
}

impl Session {
    /// Sends and receives until the server has ended the call.
    async fn run(
        &self,
        sender: Sender,
        receiver: Receiver,
        outgoing: mpsc::UnboundedReceiver<Option<String>>,
    ) -> Status {
        let work = async {
            tokio::select! {
                status = self.receive(receiver) => status,
                status = self.send(sender, outgoing) => status,
            }
        };
        match self.target.call.timeout {
            None => work.await,
            Some(limit) => match tokio::time::timeout(limit, work).await {
                Ok(status) => status,
                Err(_) => Status::deadline_exceeded(),
            },
        }
    }

    async fn receive(&self, mut receiver: Receiver) -> Status {
        let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
        loop {
            let bytes = match receiver.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Status::ok(),
                Err(status) => return status,
            };
            let json = if self.target.discard {
                "{}".to_owned()
            } else {
                match self.target.method.response(&bytes) {
                    Ok(json) => json,
                    Err(text) => return Status::new(Code::INTERNAL, text),
                }
            };
            let cost = (json.len() + MESSAGE_BYTES).min(WAITING_BYTES_MAX) as u32;
            let permit = room.clone().acquire_many_owned(cost).await;
            let tags = self.target.tags.clone();
            self.host
                .emit_one(builtin::GRPC_STREAMS_MSGS_RECEIVED, 1.0, tags);
            self.deliver(Event::Data {
                json,
                _room: permit.expect("the semaphore is never closed"),
            });
        }
    }

    /// Ends only with a message that can't be sent.
    async fn send(
        &self,
        mut sender: Sender,
        mut outgoing: mpsc::UnboundedReceiver<Option<String>>,
    ) -> Status {
        while let Some(Some(json)) = outgoing.recv().await {
            self.queued
                .set(self.queued.get().saturating_sub(json.len()));
            let message = match self.target.method.request(&json) {
                Ok(message) => message,
                Err(text) => {
                    let what = "can't serialise request object to protocol buffer";
                    return Status::new(Code::UNKNOWN, format!("{what}: {text}"));
                }
            };
            match sender.send(message, End::No).await {
                Ok(()) => {
                    let tags = self.target.tags.clone();
                    self.host
                        .emit_one(builtin::GRPC_STREAMS_MSGS_SENT, 1.0, tags);
                }
                Err(status) if status.code == Code::RESOURCE_EXHAUSTED => return status,
                // The server has ended the call; what it says comes by the other way.
                Err(_) => return std::future::pending().await,
            }
        }
        sender.finish();
        std::future::pending().await
    }

    fn deliver(&self, event: Event) {
        self.host.events.deliver(self.id, Box::new(event));
        self.host.suspender.wake();
    }
}

enum Event {
    Data {
        json: String,
        _room: OwnedSemaphorePermit,
    },
    Error(Status),
    End,
}

impl Completion for Event {
    fn settle<'js>(self: Box<Self>, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let list = Array::new(ctx.clone())?;
        match *self {
            Event::Data { json, _room } => {
                list.set(0, DATA)?;
                list.set(1, ctx.json_parse(json)?)?;
            }
            Event::Error(status) => {
                list.set(0, ERROR)?;
                list.set(1, error_value(ctx, &status)?)?;
            }
            Event::End => list.set(0, END)?,
        }
        list.into_js(ctx)
    }
}
