//! Host side of the module `k6`: checks, groups, sleep.

use std::rc::Rc;
use std::time::Duration;

use rquickjs::function::Opt;
use rquickjs::{Coerced, Ctx, Exception, Function, Object, Value};

use super::{interrupted, must_run, own_tags, set};
use crate::load::js::host::Host;
use crate::load::js::tagging::OwnTags;
use crate::load::metrics::builtin;

/// What stands between the names in a group's path.
const SEPARATOR: &str = "::";
/// Longest sleep: longer than any run.
const SLEEP_MAX: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    let check = move |ctx: Ctx<'js>, value: Value<'js>, sets: Value<'js>, tags: Opt<Value<'js>>| {
        check(&ctx, &vm, &value, &sets, tags.0.as_ref())
    };
    set(bridge, "check", check)?;
    let vm = host.clone();
    set(bridge, "sleep", move |ctx: Ctx<'js>, seconds: f64| {
        // NaN, infinite and negative times are no time, as in k6.
        let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let time = time.min(SLEEP_MAX);
        if vm.run.is_none() {
            // Loading has its thread for itself, and no event loop.
            std::thread::sleep(time);
            return Ok(());
        }
        vm.sleep(time).map_err(|_| interrupted(&ctx))
    })?;
    let vm = host.clone();
    set(bridge, "enterGroup", move |ctx: Ctx<'js>, name: String| {
        enter(&ctx, &vm, &name)
    })?;
    let vm = host.clone();
    set(bridge, "leaveGroup", move |begun_ms: f64| {
        leave(&vm, begun_ms);
    })?;
    let vm = host.clone();
    set(bridge, "pauseGroup", move || {
        let inner = vm.tagging.group();
        vm.tagging.set_group(outer(&inner));
        inner.to_string()
    })?;
    let vm = host.clone();
    set(bridge, "endGroup", move |inner: String, begun_ms: f64| {
        vm.tagging.set_group(&inner);
        leave(&vm, begun_ms);
    })
}

/// The group as code that goes on after `await` keeps it.
pub(super) fn install_groups<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(bridge, "group", move || vm.tagging.group().to_string())?;
    let vm = host.clone();
    set(bridge, "setGroup", move |group: String| {
        vm.tagging.set_group(&group);
    })
}

/// All sets in their order, each a sample; one that throws has failed and ends the check. Done here
/// and not in the module's script because scripts check after every request.
fn check<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    value: &Value<'js>,
    sets: &Value<'js>,
    tags: Option<&Value<'js>>,
) -> rquickjs::Result<bool> {
    must_run(ctx, host, "check()")?;
    let sets = sets
        .as_object()
        .ok_or_else(|| Exception::throw_message(ctx, "no checks provided to `check`"))?;
    let own = match tags {
        Some(tags) => own_tags(ctx, tags)?,
        None => OwnTags::new(),
    };
    let mut all = true;
    for entry in sets.props::<String, Value<'js>>() {
        let (name, set) = entry?;
        refuse_separator(ctx, "check", &name)?;
        let function = set.as_function().cloned();
        let result = match &function {
            Some(function) => function.call((value.clone(),)),
            None => Ok(set),
        };
        if let (Ok(result), Some(function)) = (&result, &function) {
            refuse_async(ctx, result, function)?;
        }
        let passed = match &result {
            Ok(result) => result.get::<Coerced<bool>>()?.0,
            Err(_) => false,
        };
        if let Some(run) = &host.run {
            let tags = host.tagging.check(&run.shared.interner, &name, &own);
            host.emit_one(builtin::CHECKS, f64::from(u8::from(passed)), tags);
        }
        result?;
        all &= passed;
    }
    Ok(all)
}

/// As k6 does: what such a function comes to is not known when the check is counted.
fn refuse_async<'js>(
    ctx: &Ctx<'js>,
    result: &Value<'js>,
    function: &Function<'js>,
) -> rquickjs::Result<()> {
    if !result.is_promise() {
        return Ok(());
    }
    let made_by: Object<'js> = function.get("constructor")?;
    if made_by.get::<_, String>("name")? != "AsyncFunction" {
        return Ok(());
    }
    let text = "the built-in check() does not support async functions as arguments; hint: use \
                check() of https://jslib.k6.io/k6-utils/1.6.0/index.js";
    Err(Exception::throw_message(ctx, text))
}

/// Gives back the time of the beginning, which `leaveGroup` wants.
fn enter(ctx: &Ctx<'_>, host: &Host, name: &str) -> rquickjs::Result<f64> {
    must_run(ctx, host, "Using group()")?;
    refuse_separator(ctx, "group", name)?;
    let path = format!("{}{SEPARATOR}{name}", host.tagging.group());
    host.tagging.set_group(&path);
    Ok(host.elapsed().as_secs_f64() * 1_000.0)
}

fn leave(host: &Host, begun_ms: f64) {
    let duration = host.elapsed().as_secs_f64() * 1_000.0 - begun_ms;
    host.emit_one(builtin::GROUP_DURATION, duration, host.base_tags());
    let group = host.tagging.group();
    host.tagging.set_group(outer(&group));
}

/// The group around the innermost one: names contain no separator.
fn outer(path: &str) -> &str {
    path.rfind(SEPARATOR).map_or("", |at| &path[..at])
}

fn refuse_separator(ctx: &Ctx<'_>, what: &str, name: &str) -> rquickjs::Result<()> {
    if name.contains(SEPARATOR) {
        let text = format!("{what} names may not contain '{SEPARATOR}': {name:?}");
        return Err(Exception::throw_message(ctx, &text));
    }
    Ok(())
}
