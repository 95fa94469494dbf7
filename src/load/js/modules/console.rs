//! Console, timers and `open` behind the prelude's globals.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rquickjs::function::Opt;
use rquickjs::{ArrayBuffer, Ctx, Exception, IntoJs, Object, Value};

use super::set;
use crate::load::js::host::{Host, Phase};

/// Longest delay of a timer: longer ones would not come before any run's end.
const DELAY_MAX: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    set(bridge, "log", |level: String, text: String| {
        match level.as_str() {
            "error" => tracing::error!(target: "console", "{text}"),
            "warning" => tracing::warn!(target: "console", "{text}"),
            "debug" => tracing::debug!(target: "console", "{text}"),
            _ => tracing::info!(target: "console", "{text}"),
        }
    })?;
    let vm = host.clone();
    set(bridge, "timer", move |id: u32, milliseconds: f64| {
        let delay = Duration::try_from_secs_f64(milliseconds / 1_000.0).unwrap_or(DELAY_MAX);
        vm.events.add_timer(id, delay.min(DELAY_MAX));
    })?;
    let vm = host.clone();
    set(bridge, "cancelTimer", move |id: u32| {
        vm.events.cancel_timer(id)
    })?;
    let vm = host.clone();
    let open = move |ctx: Ctx<'js>, name: String, mode: Opt<String>| {
        open(&ctx, &vm, &name, mode.0.as_deref())
    };
    let open = rquickjs::Function::new(bridge.ctx().clone(), open)?.with_name("open")?;
    bridge.ctx().globals().set("open", open)
}

/// `open(path)` gives text, `open(path, 'b')` an ArrayBuffer; only in init code.
fn open<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    name: &str,
    mode: Option<&str>,
) -> rquickjs::Result<Value<'js>> {
    if host.phase.get() != Phase::Init {
        let text = "open() is only available in the init context";
        return Err(Exception::throw_message(ctx, text));
    }
    let path = Path::new(name.strip_prefix("file://").unwrap_or(name));
    let path: PathBuf = host.library.directory().join(path);
    let content = host.library.open(&path).map_err(|error| {
        let text = format!("The file {:?} can't be opened: {error}", path.display());
        Exception::throw_message(ctx, &text)
    })?;
    if mode == Some("b") {
        return ArrayBuffer::new_copy(ctx.clone(), &content)?.into_js(ctx);
    }
    String::from_utf8_lossy(&content).into_js(ctx)
}
