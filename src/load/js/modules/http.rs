//! Host side of the module `k6/http`: one request, several at once, or one in the background.
//!
//! `spec` reads the flat list that `http.js` makes, `perform` does the round trips without touching
//! JavaScript, `answer` gives the result back as a flat list.

mod answer;
mod auth;
mod debug;
mod jars;
mod leg;
pub(super) mod more;
mod perform;
mod spec;

use std::rc::Rc;

use futures_util::stream::{self, StreamExt};
use rquickjs::{Array, Ctx, Exception, IntoJs, Object, Value};

use self::answer::Performed;
pub(crate) use self::jars::{Jar, jar_of};
use self::perform::perform;
use self::spec::{Refused, Spec};
use super::{interrupted, must_run, set};
use crate::load::client::Failure;
use crate::load::js::host::Host;

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
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
    set(bridge, "requestAsync", begin)
}

fn request<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    flat: &Array<'js>,
) -> rquickjs::Result<Value<'js>> {
    must_run(ctx, host, "Making http requests")?;
    let performed = match Spec::read(ctx, host, flat)? {
        Ok(spec) => host
            .suspender
            .block_on(perform(host.clone(), spec))
            .map_err(|_| interrupted(ctx))?,
        Err(refused) => not_sent(host, refused),
    };
    performed.into_js_or_throw(ctx)
}

fn not_sent(host: &Host, refused: Refused) -> Performed {
    let run = host.run.as_ref().expect("a VM that runs has its run");
    Performed::refused(refused, run.shared.settings.throw)
}

/// `batch` at a time, `batchPerHost` of them to one host. One request that can't be understood
/// keeps all from being sent, as in k6.
fn batch<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, flats: &Array<'js>) -> rquickjs::Result<Value<'js>> {
    must_run(ctx, host, "Using batch")?;
    let run = host.run.as_ref().expect("a VM that runs has its run");
    let settings = &run.shared.settings;
    let mut specs = Vec::with_capacity(flats.len());
    for flat in flats.iter::<Value<'js>>() {
        match read_batched(ctx, host, &flat?)? {
            Ok(spec) => specs.push(spec),
            Err(refused) if settings.throw => {
                return Err(Exception::throw_message(ctx, &refused.failure.text));
            }
            Err(refused) => {
                tracing::warn!(error = refused.failure.text, "A batch request failed");
                return unsent(ctx, host, specs.len(), flats.len(), refused);
            }
        }
    }
    let (at_once, per_host) = (
        settings.batch_max.max(1),
        settings.batch_per_host_max.max(1),
    );
    let mut hosts = std::collections::HashMap::new();
    let requests: Vec<_> = specs
        .into_iter()
        .map(|spec| {
            let gate = hosts
                .entry(
                    spec.address
                        .as_ref()
                        .map(|address| address.authority.clone()),
                )
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

/// A flat list, or the text of what is wrong with an entry.
fn read_batched<'js>(ctx: &Ctx<'js>, host: &Host, flat: &Value<'js>) -> spec::Read {
    match flat.as_array() {
        Some(flat) => Spec::read(ctx, host, flat),
        None => Ok(Err(Refused {
            text: String::new(),
            failure: Failure::new(0, flat.get::<String>()?),
        })),
    }
}

/// The answers of a batch whose request number `bad` can't be understood: empty ones before it,
/// none behind it.
fn unsent<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    bad: usize,
    count: usize,
    refused: Refused,
) -> rquickjs::Result<Value<'js>> {
    let answers = Array::new(ctx.clone())?;
    for index in 0..bad {
        let nothing = Refused {
            text: String::new(),
            failure: Failure::new(0, ""),
        };
        answers.set(index, not_sent(host, nothing).into_js(ctx)?)?;
    }
    answers.set(bad, not_sent(host, refused).into_js(ctx)?)?;
    for index in bad + 1..count {
        answers.set(index, Value::new_null(ctx.clone()))?;
    }
    answers.into_js(ctx)
}

/// Starts a request whose answer settles promise `id` by way of the event loop.
fn begin<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, id: u32, flat: &Array<'js>) -> rquickjs::Result<()> {
    must_run(ctx, host, "Making http requests")?;
    let spec = Spec::read(ctx, host, flat)?;
    let vm = host.clone();
    // Made here, not in the task: it notes the group that the script is in.
    let performing = spec.map(|spec| perform(vm.clone(), spec));
    let task = tokio::task::spawn_local(async move {
        let performed = match performing {
            Ok(performing) => performing.await,
            Err(refused) => not_sent(&vm, refused),
        };
        vm.events.complete(id, Box::new(performed));
        vm.suspender.wake();
    });
    host.events.begin(id, task.abort_handle());
    host.events.keep_group(id, &host.tagging);
    Ok(())
}
