//! Host side of CommonJS: which file a name means, and what that file is.

use std::rc::Rc;

use rquickjs::{Ctx, Exception, Function, Object, Value};

use super::{load, set};
use crate::load::js::host::{Host, Phase};
use crate::load::js::library::Form;
use crate::load::js::loader::{self, Unit};

/// Frames that are looked through for the file that called.
const FRAMES_MAX: isize = 64;
/// The module of ours that evaluates CommonJS files.
const MODULE: &str = "dchat:commonjs";

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(bridge, "locate", move |ctx: Ctx<'js>, name: String| {
        if vm.phase.get() != Phase::Init {
            let text = "require() is only available in the init context";
            return Err(Exception::throw_message(&ctx, text));
        }
        let base = callers(&ctx)
            .next()
            .unwrap_or_else(|| vm.library.main.clone());
        loader::resolve(&base, &name).map_err(|text| loader::refuse(&ctx, &text))
    })?;
    let vm = host.clone();
    set(bridge, "isCommonJs", move |ctx: Ctx<'js>, file: String| {
        if let Some(compiled) = vm.library.module(&file) {
            return Ok(compiled.form == Form::CommonJs);
        }
        let unit = loader::unit(&ctx, &vm, &file)?;
        rquickjs::Result::Ok(matches!(unit, Unit::CommonJs(_)))
    })?;
    let vm = host.clone();
    set(
        bridge,
        "body",
        move |ctx: Ctx<'js>, file: String| match loader::unit(&ctx, &vm, &file)? {
            Unit::CommonJs(body) => Ok(body),
            Unit::Module(_) => Err(loader::refuse(&ctx, "an ES module has no CommonJS body")),
        },
    )?;
    let vm = host.clone();
    set(bridge, "enter", move |file: String| {
        vm.requiring.borrow_mut().push(file);
    })?;
    let vm = host.clone();
    set(bridge, "leave", move || {
        vm.requiring.borrow_mut().pop();
    })?;
    let vm = host.clone();
    set(bridge, "namespace", move |ctx: Ctx<'js>, file: String| {
        namespace(&ctx, &vm, &file)
    })
}

/// What `require` gives for an ES module: ours have everything in their default export, which
/// unlike a namespace can be changed.
fn namespace<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, file: &str) -> rquickjs::Result<Value<'js>> {
    let namespace = load(ctx, host, file)?;
    if loader::is_own(file) {
        let default: Value<'js> = namespace.get("default")?;
        if default.is_object() {
            return Ok(default);
        }
    }
    Ok(namespace.into_value())
}

/// The exports of the CommonJS file `name`.
pub(crate) fn run_commonjs<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    name: &str,
) -> rquickjs::Result<Value<'js>> {
    let run: Function<'js> = load(ctx, host, MODULE)?.get("run")?;
    run.call((name,))
}

/// The script's files among the callers, the innermost first.
pub(super) fn callers(ctx: &Ctx<'_>) -> impl Iterator<Item = String> {
    (0..FRAMES_MAX)
        .filter_map(|level| ctx.script_or_module_name(level)?.to_string().ok())
        .filter(|name| !name.is_empty() && !loader::is_own(name))
}
