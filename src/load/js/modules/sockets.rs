//! Host side of `k6/websockets` and `k6/ws`: one table of open sockets, each pumped by a task of
//! its own on the VU's worker.
//!
//! The events of `k6/websockets` go through the VU's event loop; those of `k6/ws`, whose `connect`
//! blocks, wait in the socket until `next` asks for them. A socket ends when its task ends, or with
//! the iteration that opened it.

mod events;
mod pump;
mod session;
mod spec;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use rquickjs::function::Opt;
use rquickjs::{Array, ArrayBuffer, Ctx, Exception, Object, Value};

use self::pump::Delivery;
use self::session::Session;
use self::spec::Spec;
use super::{interrupted, must_run, set};
use crate::load::client::websocket::Frame;
use crate::load::js::ffi::buffer_bytes;
use crate::load::js::host::Host;

/// Sockets that one VU may have open.
const SOCKETS_MAX: usize = 1_024;

type Table = Rc<RefCell<HashMap<u32, Rc<Session>>>>;

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let table = Table::default();
    install_opening(bridge, host, &table)?;
    install_sending(bridge, host, &table)?;
    install_round_trips(bridge, &table)?;
    install_rest(bridge, host)?;
    let (vm, sockets) = (host.clone(), table.clone());
    let next = move |ctx: Ctx<'js>, id: u32, wait_ms: Option<f64>| {
        let Some(session) = get(&sockets, id) else {
            return Ok(Value::new_null(ctx));
        };
        let wait = wait_ms.map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1_000.0));
        let next = vm.suspender.block_on(session.next(wait));
        match next.map_err(|_| interrupted(&ctx))? {
            Some(event) => event.value(&ctx, &session),
            None => Ok(Value::new_undefined(ctx)),
        }
    };
    set(bridge, "next", next)
}

fn install_opening<'js>(
    bridge: &Object<'js>,
    host: &Rc<Host>,
    table: &Table,
) -> rquickjs::Result<()> {
    let (vm, sockets) = (host.clone(), table.clone());
    let open = move |ctx: Ctx<'js>, id: u32, flat: Array<'js>| {
        must_run(&ctx, &vm, "using websockets")?;
        refuse_too_many(&ctx, &sockets)?;
        let spec = Spec::read(&ctx, &vm, &flat)?;
        pump::start(&vm, &sockets, id, spec, Delivery::EventLoop);
        rquickjs::Result::Ok(())
    };
    set(bridge, "open", open)?;
    // The answer to the upgrade; what comes then is asked for by `next`.
    let (vm, sockets) = (host.clone(), table.clone());
    let connect = move |ctx: Ctx<'js>, id: u32, flat: Array<'js>| {
        must_run(&ctx, &vm, "using websockets")?;
        refuse_too_many(&ctx, &sockets)?;
        if !spec::is_address(&flat.get::<String>(0)?) {
            return Ok(None);
        }
        let spec = Spec::read(&ctx, &vm, &flat)?;
        let session = pump::start(&vm, &sockets, id, spec, Delivery::Kept);
        let first = vm.suspender.block_on(session.next(None));
        let first = first.map_err(|_| interrupted(&ctx))?;
        first.map(|event| event.value(&ctx, &session)).transpose()
    };
    set(bridge, "connect", connect)
}

fn install_sending<'js>(
    bridge: &Object<'js>,
    host: &Rc<Host>,
    table: &Table,
) -> rquickjs::Result<()> {
    let sockets = table.clone();
    let send = move |ctx: Ctx<'js>, id: u32, data: Value<'js>| {
        let (frame, bytes) = payload(&data)?;
        match get(&sockets, id) {
            Some(session) => session.queue(&ctx, frame, bytes),
            None => Ok(()),
        }
    };
    set(bridge, "send", send)?;
    // Waits until it is written; the error's text if it could not be.
    let (vm, sockets) = (host.clone(), table.clone());
    let write = move |ctx: Ctx<'js>, id: u32, data: Value<'js>| {
        let (frame, bytes) = payload(&data)?;
        let Some(session) = get(&sockets, id) else {
            return Ok(Some("websocket: close sent".to_owned()));
        };
        let written = session.write(frame, bytes);
        vm.suspender
            .block_on(written)
            .map_err(|_| interrupted(&ctx))
    };
    set(bridge, "write", write)?;
    let sockets = table.clone();
    let ping = move |ctx: Ctx<'js>, id: u32| match get(&sockets, id) {
        Some(session) => session.ping(&ctx),
        None => Ok(()),
    };
    set(bridge, "ping", ping)?;
    let sockets = table.clone();
    let close = move |id: u32, code: u16, reason: String| {
        if let Some(session) = get(&sockets, id) {
            session.close(code, &reason);
        }
    };
    set(bridge, "close", close)?;
    // Without waiting for the server's answer.
    let (vm, sockets) = (host.clone(), table.clone());
    let hang_up = move |ctx: Ctx<'js>, id: u32, code: Opt<u16>| {
        let Some(session) = get(&sockets, id) else {
            return Ok(None);
        };
        let written = session.hang_up(code.0);
        vm.suspender
            .block_on(written)
            .map_err(|_| interrupted(&ctx))
    };
    set(bridge, "hangUp", hang_up)?;
    let sockets = table.clone();
    set(bridge, "buffered", move |id: u32| {
        get(&sockets, id).map_or(0, |session| session.buffered.get())
    })
}

/// `ws_round_trip`: from a message with a key until the first message with the same key.
fn install_round_trips<'js>(bridge: &Object<'js>, table: &Table) -> rquickjs::Result<()> {
    let sockets = table.clone();
    set(bridge, "asked", move |id: u32, key: String| {
        if let Some(session) = get(&sockets, id) {
            session.asked(key);
        }
    })?;
    let sockets = table.clone();
    set(bridge, "answered", move |id: u32, key: String| {
        if let Some(session) = get(&sockets, id) {
            session.answered(&key);
        }
    })
}

fn install_rest<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    set(bridge, "text", |bytes: ArrayBuffer<'js>| {
        String::from_utf8_lossy(&buffer_bytes(&bytes)).into_owned()
    })?;
    set(bridge, "bytes", |ctx: Ctx<'js>, text: String| {
        ArrayBuffer::new(ctx, text.into_bytes())
    })?;
    let vm = host.clone();
    set(bridge, "now", move || vm.elapsed().as_secs_f64() * 1_000.0)?;
    let vm = host.clone();
    set(bridge, "throws", move || {
        let run = vm.run.as_ref();
        run.is_some_and(|run| run.shared.settings.throw)
    })?;
    // Said when the script is first loaded, not again by every VU.
    let vm = host.clone();
    set(bridge, "deprecated", move |text: String| {
        if vm.run.is_none() {
            tracing::warn!("{text}");
        }
    })
}

fn get(table: &Table, id: u32) -> Option<Rc<Session>> {
    table.borrow().get(&id).cloned()
}

fn refuse_too_many(ctx: &Ctx<'_>, table: &Table) -> rquickjs::Result<()> {
    if table.borrow().len() < SOCKETS_MAX {
        return Ok(());
    }
    let text = format!("a virtual user can have {SOCKETS_MAX} sockets open");
    Err(Exception::throw_range(ctx, &text))
}

/// A string is a text frame, a buffer a binary one.
fn payload(data: &Value<'_>) -> rquickjs::Result<(Frame, Vec<u8>)> {
    if let Some(text) = data.as_string() {
        return Ok((Frame::Text, text.to_string()?.into_bytes()));
    }
    let buffer = data.as_object().and_then(|object| object.as_array_buffer());
    Ok((Frame::Binary, buffer.map(buffer_bytes).unwrap_or_default()))
}
