//! Host side of the module `k6/data`: arrays built once, by VU 0, and read by all.

use std::rc::Rc;

use rquickjs::{Ctx, Exception, Function, Object};

use super::set;
use crate::load::js::host::{Host, Phase};

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    let array =
        move |ctx: Ctx<'js>, name: String, build: Function<'js>| array(&ctx, &vm, &name, &build);
    set(bridge, "sharedArray", array)?;
    let vm = host.clone();
    let element = move |ctx: Ctx<'js>, name: String, index: u32| {
        let elements = vm.library.array(&name);
        let element = elements.and_then(|elements| {
            let element = elements.get(index as usize)?;
            Some(rquickjs::String::from_str(ctx.clone(), element))
        });
        element.unwrap_or_else(|| Err(Exception::throw_range(&ctx, "no such element")))
    };
    set(bridge, "sharedElement", element)
}

/// The number of elements. `build` gives their JSON and is called only where nobody has yet.
fn array<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    name: &str,
    build: &Function<'js>,
) -> rquickjs::Result<usize> {
    if host.phase.get() != Phase::Init {
        let text = "new SharedArray must be called in the init context";
        return Err(Exception::throw_message(ctx, text));
    }
    if let Some(known) = host.library.array(name) {
        return Ok(known.len());
    }
    let built: Vec<String> = build.call(())?;
    let elements = built.into_iter().map(String::into_boxed_str).collect();
    Ok(host.library.add_array(name, elements).len())
}
