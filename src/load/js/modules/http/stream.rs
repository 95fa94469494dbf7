//! Host side of `dchat:http-stream`: a request whose body a script takes piece by piece.
//!
//! The request is measured when its body ends, is closed, or is forgotten by the script.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::{Array, ArrayBuffer, Ctx, Exception, IntoJs, Object, Value};

use super::super::{interrupted, must_run, set};
use super::events::EventParser;
use super::leg::Leg;
use super::not_sent;
use super::perform::Work;
use super::spec::{Asked, Spec};
use crate::load::client::{Answer, Download, Failure, RoundTrip};
use crate::load::js::ffi::Opaque;
use crate::load::js::host::Host;
use crate::load::metrics::builtin;

/// Longest line or event, as a part of the VU's memory.
const PIECE_SHARE: usize = 8;
/// Keys that wait for their event.
const KEYS_MAX: usize = 10_000;

pub(in crate::load::js::modules) fn install<'js>(
    bridge: &Object<'js>,
    host: &Rc<Host>,
) -> rquickjs::Result<()> {
    let vm = host.clone();
    let begin = move |ctx: Ctx<'js>,
                      method: Value<'js>,
                      target: Value<'js>,
                      body: Value<'js>,
                      headers: Value<'js>,
                      tags: Value<'js>,
                      rest: Value<'js>| {
        let asked = Asked {
            method,
            target,
            body,
            headers,
            tags,
            rest,
        };
        open(&ctx, &vm, &asked)
    };
    set(bridge, "open", begin)?;
    set(
        bridge,
        "read",
        |ctx: Ctx<'js>, body: Value<'js>| match lent(&body)?.take(&ctx, Open::piece)? {
            Some(bytes) => ArrayBuffer::new(ctx.clone(), bytes)?.into_js(&ctx),
            None => Ok(Value::new_null(ctx)),
        },
    )?;
    set(bridge, "line", |ctx: Ctx<'js>, body: Value<'js>| {
        let line = lent(&body)?.take(&ctx, Open::line)?;
        Ok::<_, rquickjs::Error>(line.map(|line| String::from_utf8_lossy(&line).into_owned()))
    })?;
    set(bridge, "event", |ctx: Ctx<'js>, body: Value<'js>| {
        let event = lent(&body)?.take(&ctx, Open::event)?;
        Ok::<_, rquickjs::Error>(event.map(|event| vec![event.kind, event.data, event.id]))
    })?;
    set(bridge, "sent", |body: Value<'js>, key: String| {
        lent(&body).map(|body| body.sent(key))
    })?;
    set(bridge, "got", |body: Value<'js>, key: String| {
        lent(&body).map(|body| body.got(&key))
    })?;
    set(bridge, "close", |body: Value<'js>| {
        lent(&body).map(|body| body.close())
    })
}

fn lent(body: &Value<'_>) -> rquickjs::Result<Rc<Streamed>> {
    Opaque::lend(body, Rc::<Streamed>::clone)
}

/// `[response, body]`; without a body where the request failed.
fn open<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, asked: &Asked<'js>) -> rquickjs::Result<Array<'js>> {
    must_run(ctx, host, "Making http requests")?;
    let pair = Array::new(ctx.clone())?;
    let (response, streamed) = match Spec::read(ctx, host, asked)? {
        Err(refused) => (not_sent(host, refused), None),
        Ok(spec) => {
            let opening = super::perform::open(host.clone(), spec);
            host.suspender
                .block_on(opening)
                .map_err(|_| interrupted(ctx))?
        }
    };
    pair.set(0, response.into_js_or_throw(ctx)?)?;
    match streamed {
        Some(streamed) => pair.set(1, Opaque::wrap(ctx, Rc::new(streamed))?)?,
        None => pair.set(1, Value::new_null(ctx.clone()))?,
    }
    Ok(pair)
}

/// A body on its way.
pub(super) struct Streamed {
    host: Rc<Host>,
    /// Longest wait for a piece: the request's timeout.
    patience: Duration,
    /// `None` once it is over and measured.
    open: RefCell<Option<Open>>,
    waiting: RefCell<HashMap<String, Instant>>,
}

struct Open {
    download: Download,
    first_byte: Instant,
    measured: Measured,
    lines: Vec<u8>,
    events: EventParser,
    bytes_max: usize,
}

/// What the sample will say.
pub(super) struct Measured {
    pub(super) spec: Spec,
    pub(super) leg: Leg,
    pub(super) trip: RoundTrip,
    pub(super) group: Rc<str>,
}

impl Streamed {
    pub(super) fn new(host: Rc<Host>, download: Download, measured: Measured) -> Streamed {
        let run = host.run.as_ref().expect("a VM that runs has its run");
        let bytes_max = run.shared.settings.vm.memory_bytes_max / PIECE_SHARE;
        Streamed {
            patience: measured.spec.timeout,
            open: RefCell::new(Some(Open {
                download,
                first_byte: Instant::now(),
                measured,
                lines: Vec::new(),
                events: EventParser::new(bytes_max),
                bytes_max,
            })),
            waiting: RefCell::default(),
            host,
        }
    }

    /// Blocks the VU until `next` gives something; `None` is the end of the body.
    fn take<'js, T>(
        &self,
        ctx: &Ctx<'js>,
        next: impl AsyncFnOnce(&mut Open, Duration) -> Result<Option<T>, Failure>,
    ) -> rquickjs::Result<Option<T>> {
        // Taken out: nothing is borrowed while the VU is suspended.
        let Some(mut open) = self.open.take() else {
            return Ok(None);
        };
        let taken = self.host.suspender.block_on(next(&mut open, self.patience));
        match taken {
            Err(_) => {
                self.end(open, None);
                Err(interrupted(ctx))
            }
            Ok(Ok(Some(found))) => {
                self.open.replace(Some(open));
                Ok(Some(found))
            }
            Ok(Ok(None)) => {
                self.end(open, None);
                Ok(None)
            }
            Ok(Err(failure)) => {
                let text = failure.detail().to_owned();
                self.end(open, Some(failure));
                Err(Exception::throw_message(ctx, &text))
            }
        }
    }

    fn close(&self) {
        if let Some(open) = self.open.take() {
            self.end(open, None);
        }
    }

    /// The one sample of the request.
    fn end(&self, open: Open, failure: Option<Failure>) {
        let Measured {
            spec,
            leg,
            mut trip,
            group,
        } = open.measured;
        trip.timings.receiving = open.first_byte.elapsed();
        if let Some(failure) = failure {
            trip.outcome = Err(failure);
        }
        let status = trip.outcome.as_ref().map_or(0, |answer| answer.status);
        let work = Work::after(&self.host, group);
        work.emit(&spec, &leg, &trip, spec.expected.matches(status));
    }

    fn sent(&self, key: String) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= KEYS_MAX {
            waiting.clear();
        }
        waiting.insert(key, Instant::now());
    }

    fn got(&self, key: &str) {
        let begun = self.waiting.borrow_mut().remove(key);
        if let Some(begun) = begun {
            let milliseconds = super::perform::milliseconds(begun.elapsed());
            let tags = self.host.base_tags();
            self.host
                .emit_one(builtin::SSE_ROUND_TRIP, milliseconds, tags);
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.close();
    }
}

impl Open {
    async fn piece(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, Failure> {
        if !self.lines.is_empty() {
            return Ok(Some(std::mem::take(&mut self.lines)));
        }
        let piece = self.download.next(patience).await?;
        Ok(piece.map(|piece| piece.to_vec()))
    }

    /// The next line without its end; the last one may have none.
    async fn line(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, Failure> {
        let mut searched = 0;
        loop {
            let found = self.lines[searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let rest = self.lines.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.lines, rest);
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            searched = self.lines.len();
            if searched > self.bytes_max {
                return Err(Failure::body_too_large(self.bytes_max));
            }
            match self.download.next(patience).await? {
                Some(piece) => self.lines.extend_from_slice(&piece),
                None if self.lines.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.lines))),
            }
        }
    }

    async fn event(&mut self, patience: Duration) -> Result<Option<super::events::Event>, Failure> {
        loop {
            if let Some(event) = self.events.next() {
                return Ok(Some(event));
            }
            let Some(piece) = self.download.next(patience).await? else {
                return Ok(None);
            };
            if self.events.feed(&piece).is_err() {
                return Err(Failure::body_too_large(self.bytes_max));
            }
        }
    }
}

/// What the sample of a stream is made with: the answer without its headers and body.
pub(super) fn outline(answer: &Answer) -> Answer {
    Answer {
        status: answer.status,
        reason: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
        proto: answer.proto,
        tls: answer.tls.clone(),
    }
}
