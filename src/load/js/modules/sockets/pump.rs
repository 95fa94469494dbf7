//! The task of one socket: opens it, then reads and writes at the same time until it is over.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Table;
use super::events::{Closed, Event, Posted};
use super::session::{Out, Session, close_payload};
use super::spec::Spec;
use crate::load::client::Answer;
use crate::load::client::websocket::{self, Ended, Frame, Incoming, Opened, Reader, Writer};
use crate::load::js::host::Host;
use crate::load::metrics::{TagSet, builtin};
use crate::load::options::SystemTag;

/// Longest time that the last frame may take to go out.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    EventLoop,
    /// They wait in the session.
    Kept,
}

/// Takes the socket out of the table when its task ends, however it ends.
struct Entry {
    table: Table,
    id: u32,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.table.borrow_mut().remove(&self.id);
    }
}

/// Begins a socket; operation `id` of the event loop lasts as long as it does.
pub(super) fn start(
    host: &Rc<Host>,
    table: &Table,
    id: u32,
    spec: Spec,
    delivery: Delivery,
) -> Rc<Session> {
    let (out, outgoing) = mpsc::unbounded_channel();
    let session = Rc::new(Session::new(host, out));
    table.borrow_mut().insert(id, session.clone());
    let entry = Entry {
        table: table.clone(),
        id,
    };
    let (vm, own) = (host.clone(), session.clone());
    let task = tokio::task::spawn_local(async move {
        let post = |event: Event| match delivery {
            Delivery::Kept => own.keep(event),
            Delivery::EventLoop => {
                let session = own.clone();
                let last = matches!(event, Event::Closed(_));
                let posted = Box::new(Posted { session, event });
                if last {
                    vm.events.complete(id, posted);
                } else {
                    vm.events.deliver(id, posted);
                }
                vm.suspender.wake();
            }
        };
        let closed = live(&vm, &own, spec, outgoing, delivery, &post).await;
        if delivery == Delivery::EventLoop {
            drop(entry);
            return post(Event::Closed(closed));
        }
        post(Event::Closed(closed));
        // What is kept can be asked for until the event loop has had its turn.
        vm.events.complete(id, Box::new(Nothing { _entry: entry }));
        vm.suspender.wake();
    });
    host.events.begin(id, task.abort_handle());
    host.events.keep_group(id, &host.tagging);
    session
}

/// The event loop need not tell anybody.
struct Nothing {
    _entry: Entry,
}

impl crate::load::js::events::Completion for Nothing {
    fn settle<'js>(
        self: Box<Self>,
        ctx: &rquickjs::Ctx<'js>,
    ) -> rquickjs::Result<rquickjs::Value<'js>> {
        Ok(rquickjs::Value::new_undefined(ctx.clone()))
    }
}

async fn live(
    host: &Rc<Host>,
    session: &Session,
    spec: Spec,
    outgoing: mpsc::UnboundedReceiver<Out>,
    delivery: Delivery,
    post: &dyn Fn(Event),
) -> Closed {
    let run = host.run.as_ref().expect("a VM that runs has its run");
    let base = host.tagging.with(&run.shared.interner, &spec.tags);
    let begun = Instant::now();
    let request = spec.request.clone();
    let opened = websocket::open(&run.client, request, &spec.wish).await;
    let answer = match &opened {
        Ok(opened) => Some(&opened.answer),
        Err(refused) => refused.answer.as_deref(),
    };
    let remote = opened.as_ref().ok().map(|opened| opened.remote);
    session.set_tags(tags(host, &base, &spec.address, answer, remote));
    session.emit(builtin::WS_SESSIONS, 1.0);
    session.emit_time(builtin::WS_CONNECTING, begun.elapsed());
    if let Some(answer) = answer {
        spec.keep_cookies(answer);
    }
    let ended = || session.emit_time(builtin::WS_SESSION_DURATION, begun.elapsed());
    match opened {
        Ok(opened) => {
            let Opened {
                answer,
                reader,
                writer,
                ..
            } = opened;
            post(Event::Opened {
                answer: Box::new(answer),
            });
            let closed = talk(session, reader, writer, outgoing, delivery, post).await;
            ended();
            closed
        }
        Err(refused) => {
            // Only `k6/ws` measures a session that never was.
            if delivery == Delivery::Kept {
                ended();
            }
            Closed {
                error: Some(refused.text),
                answer: refused.answer,
                ..Closed::default()
            }
        }
    }
}

/// The tags of all of a socket's samples, as far as `systemTags` wants them.
fn tags(
    host: &Host,
    base: &TagSet,
    address: &str,
    answer: Option<&Answer>,
    remote: Option<SocketAddr>,
) -> TagSet {
    let wants = |tag: SystemTag| host.tagging.wants(tag);
    let mut pairs: Vec<(&str, Arc<str>)> = Vec::with_capacity(5);
    // With a name of the script's own the URL says the same, so that it makes no more series.
    let own = base.get("name").cloned();
    if own.is_none() && wants(SystemTag::Name) {
        pairs.push(("name", address.into()));
    }
    if wants(SystemTag::Url) {
        pairs.push(("url", own.unwrap_or_else(|| address.into())));
    }
    if let Some(answer) = answer {
        let protocol = websocket::header(answer, "sec-websocket-protocol").unwrap_or_default();
        if wants(SystemTag::Status) {
            pairs.push(("status", answer.status.to_string().into()));
        }
        if wants(SystemTag::Subproto) {
            pairs.push(("subproto", protocol.into()));
        }
    }
    if let Some(remote) = remote
        && wants(SystemTag::Ip)
    {
        pairs.push(("ip", remote.ip().to_string().into()));
    }
    base.with(pairs)
}

type Read = Reader<tokio::io::ReadHalf<crate::load::client::Stream>>;
type Write = Writer<tokio::io::WriteHalf<crate::load::client::Stream>>;

/// The writing half. A socket that is cut off in the middle of its life still says that it goes.
struct Leaving {
    writer: Write,
    /// In the middle of a frame there is nothing that could still be said.
    writing: bool,
    close_sent: bool,
    /// What is said then.
    code: u16,
}

impl Leaving {
    async fn close(&mut self, code: u16) {
        if self.writing || self.close_sent {
            return;
        }
        self.close_sent = true;
        // The connection ends anyway.
        let payload = close_payload(code, "");
        let _ = self.writer.write(Frame::Close, &payload).await;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let code = self.code;
        let farewell = std::pin::pin!(self.close(code));
        // One try: so small a frame goes into the socket's buffer, or it does not go at all.
        let mut context = Context::from_waker(Waker::noop());
        let _ = farewell.poll(&mut context);
    }
}

async fn talk(
    session: &Session,
    mut reader: Read,
    writer: Write,
    mut outgoing: mpsc::UnboundedReceiver<Out>,
    delivery: Delivery,
    post: &dyn Fn(Event),
) -> Closed {
    let mut leaving = Leaving {
        writer,
        writing: false,
        close_sent: false,
        code: match delivery {
            Delivery::EventLoop => 1000,
            Delivery::Kept => 1001,
        },
    };
    let over = tokio::select! {
        over = read(session, &mut reader, post) => over,
        over = write(session, &mut leaving, &mut outgoing, delivery) => over,
    };
    let farewell = async {
        if over.echo != 0 {
            leaving.close(over.echo).await;
        }
        leaving.close_sent = true;
        leaving.writer.shutdown().await;
    };
    // The peer may have stopped reading; the socket is over for the script anyway.
    let _ = tokio::time::timeout(FAREWELL_MAX, farewell).await;
    leaving.close_sent = true;
    over.closed
}

/// What the script is told, and the code that the server gets, 0 for none.
struct Over {
    closed: Closed,
    echo: u16,
}

async fn read(session: &Session, reader: &mut Read, post: &dyn Fn(Event)) -> Over {
    loop {
        match reader.next().await {
            Ok(Incoming::Ping(payload)) => {
                let room = session.room(payload.len()).await;
                session.pong(payload, room);
                post(Event::Ping(session.room(0).await));
            }
            Ok(Incoming::Pong(payload)) => {
                session.ponged(&payload);
                post(Event::Pong(session.room(0).await));
            }
            Ok(Incoming::Close(code, reason)) => {
                return Over {
                    echo: code,
                    closed: by_frame(code, reason),
                };
            }
            Ok(message) => {
                let at = Instant::now();
                let bytes = match &message {
                    Incoming::Text(text) => text.len(),
                    Incoming::Binary(bytes) => bytes.len(),
                    _ => 0,
                };
                let room = session.room(bytes).await;
                post(Event::Message { message, at, room });
            }
            Err(ended) => return broken(ended),
        }
    }
}

/// A close frame of the server's; only 1000 and 1001 are no error, as in k6.
fn by_frame(code: u16, reason: String) -> Closed {
    let error = (!matches!(code, 1000 | 1001)).then(|| close_text(code, &reason));
    Closed {
        code,
        reason,
        error,
        answer: None,
    }
}

fn broken(ended: Ended) -> Over {
    let echo = match &ended {
        Ended::Protocol(code, _) => *code,
        Ended::Abnormal | Ended::Io(_) => 0,
    };
    let closed = match ended {
        Ended::Abnormal => by_frame(1006, ended.to_string()),
        // k6 closes such a socket without an `error` event; we say at least why.
        Ended::Io(_) | Ended::Protocol(..) => {
            tracing::debug!("a WebSocket ended: {ended}");
            Closed::default()
        }
    };
    Over { closed, echo }
}

/// The words of k6's library for a close code.
fn close_text(code: u16, reason: &str) -> String {
    let meaning = match code {
        1000 => " (normal)",
        1001 => " (going away)",
        1002 => " (protocol error)",
        1003 => " (unsupported data)",
        1005 => " (no status)",
        1006 => " (abnormal closure)",
        1007 => " (invalid payload data)",
        1008 => " (policy violation)",
        1009 => " (message too big)",
        1010 => " (mandatory extension missing)",
        1011 => " (internal server error)",
        1015 => " (TLS handshake error)",
        _ => "",
    };
    let separator = if reason.is_empty() { "" } else { ": " };
    format!("websocket: close {code}{meaning}{separator}{reason}")
}

/// Ends when a frame can't be written, or after the last.
async fn write(
    session: &Session,
    leaving: &mut Leaving,
    outgoing: &mut mpsc::UnboundedReceiver<Out>,
    delivery: Delivery,
) -> Over {
    while let Some(out) = outgoing.recv().await {
        let silent = out.last && out.bytes.is_empty();
        let refused = leaving.close_sent && !matches!(out.frame, Frame::Pong);
        leaving.writing = true;
        let written = if silent || (leaving.close_sent && out.frame == Frame::Pong) {
            Ok(())
        } else if refused {
            Err("websocket: close sent".to_owned())
        } else {
            let written = leaving.writer.write(out.frame, &out.bytes).await;
            written.map_err(|error| format!("write: {}", os_words(&error)))
        };
        leaving.writing = false;
        leaving.close_sent |= out.frame == Frame::Close;
        if out.frame != Frame::Pong {
            let left = session.buffered.get().saturating_sub(out.bytes.len());
            session.buffered.set(left);
        }
        // `k6/websockets` counts every frame that a script causes, `k6/ws` only messages.
        let message = matches!(out.frame, Frame::Text | Frame::Binary);
        let counted = match delivery {
            Delivery::EventLoop => written.is_ok() && out.frame != Frame::Pong,
            Delivery::Kept => message,
        };
        if counted {
            session.emit(builtin::WS_MSGS_SENT, 1.0);
        }
        let error = written.err();
        if let Some(done) = out.done {
            // A call that was cut off no longer waits.
            let _ = done.send(error.clone());
        }
        if out.last || (error.is_some() && delivery == Delivery::EventLoop) {
            let closed = Closed {
                error,
                ..Closed::default()
            };
            return Over { closed, echo: 0 };
        }
    }
    // The session is gone, and with it everybody who could ask for more.
    std::future::pending().await
}

/// `Broken pipe (os error 32)` as `broken pipe`.
fn os_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => "broken pipe".into(),
        std::io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_read_as_in_k6() {
        assert_eq!(
            close_text(1006, "unexpected EOF"),
            "websocket: close 1006 (abnormal closure): unexpected EOF"
        );
        assert_eq!(close_text(4000, ""), "websocket: close 4000");
        assert!(by_frame(1001, String::new()).error.is_none());
    }
}
