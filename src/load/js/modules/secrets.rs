//! Host side of the module `k6/secrets`.

use std::rc::Rc;
use std::sync::Arc;

use rquickjs::{Ctx, Exception, IntoJs, Object, Value};

use super::set;
use crate::load::js::events::Completion;
use crate::load::js::host::Host;
use crate::load::secrets::Error;

/// A secret on its way to a promise.
struct Fetched(Result<Arc<str>, Error>);

impl Completion for Fetched {
    fn settle<'js>(self: Box<Self>, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self.0 {
            Ok(value) => value.as_ref().into_js(ctx),
            Err(error) => Exception::from_message(ctx.clone(), &error.to_string())?.into_js(ctx),
        }
    }
}

pub(super) fn install<'js>(part: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(part, "away", move || vm.running_side().is_some())?;
    let vm = host.clone();
    let known = move |ctx: Ctx<'js>, source: String, name: String| {
        let known = vm.library.secrets.known(&source, &name);
        known.map(|known| given(&ctx, known)).transpose()
    };
    set(part, "known", known)?;
    let vm = host.clone();
    set(
        part,
        "wait",
        move |ctx: Ctx<'js>, source: String, name: String| given(&ctx, get(&vm, source, name)),
    )?;
    let vm = host.clone();
    set(
        part,
        "fetch",
        move |id: u32, source: String, name: String| {
            fetch(&vm, id, source, name);
        },
    )
}

/// Blocks, on a thread with a stack that is large enough for TLS.
fn get(host: &Host, source: String, name: String) -> Result<Arc<str>, Error> {
    let library = host.library.clone();
    let asking = std::thread::spawn(move || library.secrets.get(&source, &name));
    let asked = asking.join();
    asked.unwrap_or_else(|_| Err(Error::Fetch("failed to get secret".to_owned())))
}

fn fetch(host: &Rc<Host>, id: u32, source: String, name: String) {
    let vm = host.clone();
    let library = host.library.clone();
    let task = tokio::task::spawn_local(async move {
        let asking = tokio::task::spawn_blocking(move || library.secrets.get(&source, &name));
        let asked = asking.await;
        let asked = asked.unwrap_or_else(|error| Err(Error::Fetch(error.to_string())));
        vm.events.complete(id, Box::new(Fetched(asked)));
        vm.suspender.wake();
    });
    host.events.begin(id, task.abort_handle());
}

fn given<'js>(ctx: &Ctx<'js>, value: Result<Arc<str>, Error>) -> rquickjs::Result<Value<'js>> {
    match value {
        Ok(value) => value.as_ref().into_js(ctx),
        Err(error) => Err(Exception::throw_message(ctx, &error.to_string())),
    }
}
