//! Console, timers and `open` behind the prelude's globals.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rquickjs::function::Opt;
use rquickjs::{Ctx, Exception, IntoJs, Object, Value};

use super::commonjs::callers;
use super::set;
use crate::load::js::ffi::shared_buffer;
use crate::load::js::host::{Host, Phase};
use crate::load::js::loader::normalized;

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
        vm.events.keep_group(id, &vm.tagging);
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

/// `open(path)` gives text, `open(path, 'b')` an ArrayBuffer that all VUs share; only in init code.
fn open<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    name: &str,
    mode: Option<&str>,
) -> rquickjs::Result<Value<'js>> {
    if host.phase.get() != Phase::Init {
        let text = "the \"open\" function is only available in the init stage \
                    (i.e. the global scope)\n\
                    hint: open files outside of functions, or in the function of a SharedArray";
        return Err(Exception::throw_message(ctx, text));
    }
    let refused = |text: String| Exception::throw_message(ctx, &text);
    let name = name.strip_prefix("file://").unwrap_or(name);
    if name.is_empty() {
        return Err(refused(
            "open() can't be used with an empty filename".to_owned(),
        ));
    }
    let path = normalized(&directory(ctx, host).join(name));
    if host.library.is_directory(&path) {
        let text = format!(
            "open() can't be used with directories, path: {:?}",
            path.display()
        );
        return Err(refused(text));
    }
    let content = host.library.open(&path).map_err(|error| {
        refused(match error.kind() {
            ErrorKind::NotFound => format!("open {}: no such file or directory", path.display()),
            ErrorKind::Other => format!(
                "open() can't be used with files that weren't previously opened during \
                 initialization (__VU==0), path: {:?}",
                path.display()
            ),
            _ => format!("open {}: {error}", path.display()),
        })
    })?;
    if mode == Some("b") {
        return shared_buffer(ctx, content);
    }
    String::from_utf8_lossy(&content).into_js(ctx)
}

/// Relative paths start from the file whose top level runs, as in k6.
pub(super) fn directory(ctx: &Ctx<'_>, host: &Host) -> PathBuf {
    let requiring = host.requiring.borrow().last().cloned();
    let file = requiring
        .or_else(|| callers(ctx).last())
        .filter(|file| !file.starts_with("https://"))
        .unwrap_or_else(|| host.library.main.clone());
    Path::new(&file)
        .parent()
        .unwrap_or(Path::new(""))
        .to_owned()
}
