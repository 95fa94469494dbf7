//! Host side of the module `k6/http`: one request, several at once, or one in the background.
//!
//! `spec` reads the flat list that `http.js` makes, `perform` does the round trips without touching
//! JavaScript, `answer` gives the result back as a flat list.

mod answer;
mod perform;
mod spec;

use std::rc::Rc;

use futures_util::stream::{self, StreamExt};
use rquickjs::{Array, ArrayBuffer, Ctx, Exception, IntoJs, Object, Value};

use self::perform::perform;
use self::spec::Spec;
use super::{cookies, interrupted, must_run, set};
use crate::load::js::ffi::buffer_bytes;
use crate::load::js::host::Host;

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    cookies::install(bridge, host)?;
    let vm = host.clone();
    set(bridge, "request", move |ctx: Ctx<'js>, flat: Array<'js>| {
        request(&ctx, &vm, &flat)
    })?;
    let vm = host.clone();
    set(
        bridge,
        "requestBatch",
        move |ctx: Ctx<'js>, flats: Array<'js>| batch(&ctx, &vm, &flats),
    )?;
    let vm = host.clone();
    let begin = move |ctx: Ctx<'js>, id: u32, flat: Array<'js>| begin(&ctx, &vm, id, &flat);
    set(bridge, "requestAsync", begin)?;
    set(bridge, "join", |ctx: Ctx<'js>, parts: Vec<Value<'js>>| {
        join(&ctx, &parts)
    })?;
    set(bridge, "text", |bytes: ArrayBuffer<'js>| {
        String::from_utf8_lossy(&buffer_bytes(&bytes)).into_owned()
    })
}

fn request<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    flat: &Array<'js>,
) -> rquickjs::Result<Value<'js>> {
    must_run(ctx, host, "Making http requests")?;
    let spec = Spec::read(ctx, host, flat)?;
    let performed = host
        .suspender
        .block_on(perform(host.clone(), spec))
        .map_err(|_| interrupted(ctx))?;
    performed.into_js_or_throw(ctx)
}

/// `batch` at a time, `batchPerHost` of them to one host.
fn batch<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, flats: &Array<'js>) -> rquickjs::Result<Value<'js>> {
    must_run(ctx, host, "Using http.batch()")?;
    let specs: rquickjs::Result<Vec<Spec>> = flats
        .iter::<Array<'js>>()
        .map(|flat| Spec::read(ctx, host, &flat?))
        .collect();
    let settings = &host
        .run
        .as_ref()
        .expect("a VM that runs has its run")
        .shared
        .settings;
    let (at_once, per_host) = (
        settings.batch_max.max(1),
        settings.batch_per_host_max.max(1),
    );
    let mut hosts = std::collections::HashMap::new();
    let requests: Vec<_> = specs?
        .into_iter()
        .map(|spec| {
            let gate = hosts
                .entry(spec.host_name())
                .or_insert_with(|| Rc::new(tokio::sync::Semaphore::new(per_host)))
                .clone();
            let vm = host.clone();
            async move {
                let _turn = gate.acquire().await;
                perform(vm, spec).await
            }
        })
        .collect();
    let all = stream::iter(requests).buffered(at_once).collect::<Vec<_>>();
    let performed = host.suspender.block_on(all).map_err(|_| interrupted(ctx))?;
    let answers = Array::new(ctx.clone())?;
    for (index, one) in performed.into_iter().enumerate() {
        answers.set(index, one.into_js_or_throw(ctx)?)?;
    }
    answers.into_js(ctx)
}

/// Starts a request whose answer settles promise `id` by way of the event loop.
fn begin<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, id: u32, flat: &Array<'js>) -> rquickjs::Result<()> {
    must_run(ctx, host, "Making http requests")?;
    let spec = Spec::read(ctx, host, flat)?;
    let vm = host.clone();
    let task = tokio::task::spawn_local(async move {
        let performed = perform(vm.clone(), spec).await;
        vm.events.complete(id, Box::new(performed));
        vm.suspender.wake();
    });
    host.events.begin(id, task.abort_handle());
    Ok(())
}

/// Texts and buffers one after the other, for multipart bodies.
fn join<'js>(ctx: &Ctx<'js>, parts: &[Value<'js>]) -> rquickjs::Result<ArrayBuffer<'js>> {
    let mut bytes: Vec<u8> = Vec::new();
    for part in parts {
        if let Some(text) = part.as_string() {
            bytes.extend_from_slice(text.to_string()?.as_bytes());
        } else if let Some(buffer) = part.as_object().and_then(|object| object.as_array_buffer()) {
            bytes.extend(buffer_bytes(buffer));
        } else {
            let text = "file data must be a string or an ArrayBuffer";
            return Err(Exception::throw_type(ctx, text));
        }
    }
    ArrayBuffer::new(ctx.clone(), bytes)
}
