//! Host side of the module `k6/http`: one request, several at once, or one in the background.
//!
//! `spec` reads what `http.js` hands over, `perform` does the round trips without touching
//! JavaScript, `answer` gives the result back as a Response.

mod answer;
mod auth;
mod debug;
mod events;
mod jars;
mod kept;
mod leg;
pub(super) mod more;
mod perform;
mod pick;
mod spec;
pub(super) mod stream;

use std::rc::Rc;

use futures_util::stream::StreamExt;
use rquickjs::{Array, Ctx, Exception, IntoJs, Object, Value};

use self::answer::Performed;
pub(crate) use self::jars::{Jar, jar_of};
pub(crate) use self::kept::Keeping;
use self::perform::perform;
use self::spec::{Asked, Refused, Spec};
use super::{interrupted, must_run, set};
use crate::load::client::Failure;
use crate::load::js::host::Host;

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    answer::install(bridge)?;
    let vm = host.clone();
    let now = move |ctx: Ctx<'js>,
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
        request(&ctx, &vm, &asked)
    };
    set(bridge, "request", now)?;
    let vm = host.clone();
    set(
        bridge,
        "requestBatch",
        move |ctx: Ctx<'js>, asked: Array<'js>| batch(&ctx, &vm, &asked),
    )?;
    let vm = host.clone();
    let begin = move |ctx: Ctx<'js>, id: u32, asked: Array<'js>| begin(&ctx, &vm, id, &asked);
    set(bridge, "requestAsync", begin)
}

fn request<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    asked: &Asked<'js>,
) -> rquickjs::Result<Value<'js>> {
    must_run(ctx, host, "Making http requests")?;
    let performed = match Spec::read(ctx, host, asked)? {
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
fn batch<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, asked: &Array<'js>) -> rquickjs::Result<Value<'js>> {
    must_run(ctx, host, "Using batch")?;
    let run = host.run.as_ref().expect("a VM that runs has its run");
    let settings = &run.shared.settings;
    let mut specs = Vec::with_capacity(asked.len());
    for one in asked.iter::<Value<'js>>() {
        match read_batched(ctx, host, &one?)? {
            Ok(spec) => specs.push(spec),
            Err(refused) if settings.throw => {
                return Err(Exception::throw_message(ctx, &refused.failure.text));
            }
            Err(refused) => {
                tracing::warn!(error = refused.failure.text, "A batch request failed");
                return unsent(ctx, host, specs.len(), asked.len(), refused);
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
    let all = futures_util::stream::iter(requests)
        .buffered(at_once)
        .collect::<Vec<_>>();
    let performed = host.suspender.block_on(all).map_err(|_| interrupted(ctx))?;
    let answers = Array::new(ctx.clone())?;
    for (index, one) in performed.into_iter().enumerate() {
        answers.set(index, one.into_js_or_throw(ctx)?)?;
    }
    answers.into_js(ctx)
}

/// A request, or the text of what is wrong with an entry.
fn read_batched<'js>(ctx: &Ctx<'js>, host: &Host, asked: &Value<'js>) -> spec::Read {
    match asked.as_array() {
        Some(list) => Spec::read(ctx, host, &Asked::from_list(list)?),
        None => Ok(Err(Refused {
            text: String::new(),
            failure: Failure::new(0, asked.get::<String>()?),
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
fn begin<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    id: u32,
    asked: &Array<'js>,
) -> rquickjs::Result<()> {
    must_run(ctx, host, "Making http requests")?;
    let spec = Spec::read(ctx, host, &Asked::from_list(asked)?)?;
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
