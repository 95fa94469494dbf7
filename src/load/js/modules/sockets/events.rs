//! What happens on a socket, as the list that `websockets.js` and `ws.js` take apart.

use std::rc::Rc;
use std::time::Instant;

use rquickjs::{Array, ArrayBuffer, Ctx, IntoJs, Object, Value};
use tokio::sync::OwnedSemaphorePermit;

use super::session::Session;
use crate::load::client::Answer;
use crate::load::client::websocket::Incoming;
use crate::load::js::events::Completion;
use crate::load::metrics::builtin;

/// First places of the lists.
const OPENED: u8 = 0;
const MESSAGE: u8 = 1;
const PING: u8 = 2;
const PONG: u8 = 3;
const CLOSED: u8 = 4;

/// Place kept in the socket's queue until the script has seen the event.
pub(super) type Room = OwnedSemaphorePermit;

pub(super) enum Event {
    Opened {
        answer: Box<Answer>,
    },
    Message {
        message: Incoming,
        at: Instant,
        room: Room,
    },
    Ping(Room),
    Pong(Room),
    Closed(Closed),
}

/// How a socket ended.
#[derive(Default)]
pub(super) struct Closed {
    /// 0 where no close frame came.
    pub(super) code: u16,
    pub(super) reason: String,
    /// What an `error` event says.
    pub(super) error: Option<String>,
    /// An answer that was no upgrade.
    pub(super) answer: Option<Box<Answer>>,
}

impl Event {
    /// The list, as the script sees it now: a message counts as received when it is handed over.
    pub(super) fn value<'js>(
        self,
        ctx: &Ctx<'js>,
        session: &Session,
    ) -> rquickjs::Result<Value<'js>> {
        let list = Array::new(ctx.clone())?;
        match self {
            Event::Opened { answer } => {
                session.open.set(true);
                list.set(0, OPENED)?;
                list.set(1, answer_object(ctx, &answer)?)?;
            }
            Event::Message { message, at, room } => {
                list.set(0, MESSAGE)?;
                if session.open.get() {
                    session.received(at);
                    session.emit(builtin::WS_MSGS_RECEIVED, 1.0);
                }
                match message {
                    Incoming::Text(text) => list.set(1, text)?,
                    Incoming::Binary(bytes) => {
                        list.set(1, ArrayBuffer::new(ctx.clone(), bytes)?)?
                    }
                    _ => unreachable!("control frames are events of their own"),
                }
                drop(room);
            }
            Event::Ping(_room) => list.set(0, PING)?,
            Event::Pong(_room) => list.set(0, PONG)?,
            Event::Closed(closed) => {
                session.open.set(false);
                list.set(0, CLOSED)?;
                list.set(1, closed.code)?;
                list.set(2, closed.reason)?;
                list.set(3, closed.error)?;
                if let Some(answer) = &closed.answer {
                    list.set(4, answer_object(ctx, answer)?)?;
                }
            }
        }
        list.into_js(ctx)
    }
}

/// `{status, headers, body}`; names of headers as Go writes them, several of one name joined.
fn answer_object<'js>(ctx: &Ctx<'js>, answer: &Answer) -> rquickjs::Result<Object<'js>> {
    let mut joined: Vec<(String, String)> = Vec::new();
    for (name, value) in &answer.headers {
        let name = canonical(name);
        match joined.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.push_str(", ");
                values.push_str(value);
            }
            None => joined.push((name, value.clone())),
        }
    }
    let headers = Object::new(ctx.clone())?;
    for (name, value) in joined {
        headers.set(name, value)?;
    }
    let object = Object::new(ctx.clone())?;
    object.set("status", answer.status)?;
    object.set("headers", headers)?;
    object.set("body", String::from_utf8_lossy(&answer.body).into_owned())?;
    Ok(object)
}

/// `sec-websocket-accept` as `Sec-Websocket-Accept`.
fn canonical(name: &str) -> String {
    let mut upper = true;
    name.chars()
        .map(|letter| {
            let written = if upper {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            };
            upper = letter == '-';
            written
        })
        .collect()
}

/// An event on its way through the VU's event loop.
pub(super) struct Posted {
    pub(super) session: Rc<Session>,
    pub(super) event: Event,
}

impl Completion for Posted {
    fn settle<'js>(self: Box<Self>, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        self.event.value(ctx, &self.session)
    }
}
