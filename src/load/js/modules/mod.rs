//! The importable k6 modules. Each is a small ES module of ours (the `.js` beside its `.rs`) over
//! host functions in Rust, which it reaches through the bridge object that the prelude exports.

mod bytes;
mod commonjs;
mod console;
mod crypto;
mod data;
mod encoding;
mod execution;
mod files;
#[cfg(feature = "grpc")]
mod grpc;
mod html;
pub(crate) mod http;
mod k6;
mod metrics;
mod random;
mod secrets;
mod sockets;
mod text;
mod url;
#[cfg(feature = "webcrypto")]
mod webcrypto;
mod x509;

#[cfg(feature = "grpc")]
pub(crate) use grpc::Schema;

use std::rc::Rc;

use rquickjs::function::IntoJsFunc;
use rquickjs::{Ctx, Exception, Function, Object, Value};

pub(crate) use commonjs::run_commonjs;

use super::host::Host;
use super::loader;
use super::tagging::OwnTags;

/// The first module of every VM: makes the globals, and gives the bridge to the others. Only they
/// can import it.
pub(crate) const PRELUDE: (&str, &str) = ("dchat:host", include_str!("prelude.js"));
/// Name and source of what scripts can import. One that is not imported costs a VU nothing.
pub(crate) const SOURCES: &[(&str, &str)] = &[
    ("k6", include_str!("k6.js")),
    ("k6/metrics", include_str!("metrics.js")),
    ("k6/data", include_str!("data.js")),
    ("k6/execution", include_str!("execution.js")),
    ("k6/http", include_str!("http.js")),
    ("dchat:http-more", include_str!("http/more.js")),
    ("dchat:gjson", include_str!("http/gjson.js")),
    ("dchat:http-stream", include_str!("http/stream.js")),
    ("k6/encoding", include_str!("encoding.js")),
    ("k6/crypto", include_str!("crypto.js")),
    ("k6/crypto/x509", include_str!("x509.js")),
    ("k6/html", include_str!("html.js")),
    ("dchat:selection", include_str!("html/selection.js")),
    ("dchat:element", include_str!("html/element.js")),
    ("dchat:element-kinds", include_str!("html/kinds.js")),
    ("dchat:page", include_str!("html/page.js")),
    ("dchat:uri", include_str!("html/uri.js")),
    ("dchat:commonjs", include_str!("commonjs.js")),
    ("dchat:inspect", include_str!("inspect.js")),
    (RESUMING, include_str!("resuming.js")),
    ("k6/websockets", include_str!("websockets.js")),
    (
        "k6/experimental/websockets",
        include_str!("websockets_experimental.js"),
    ),
    ("k6/ws", include_str!("ws.js")),
    ("k6/experimental/fs", include_str!("experimental/fs.js")),
    ("k6/experimental/csv", include_str!("experimental/csv.js")),
    (
        "k6/experimental/streams",
        include_str!("experimental/streams.js"),
    ),
    ("dchat:readable", include_str!("experimental/readable.js")),
    ("dchat:writable", include_str!("experimental/writable.js")),
    #[cfg(feature = "grpc")]
    ("k6/net/grpc", include_str!("grpc.js")),
    ("k6/timers", include_str!("timers.js")),
    ("k6/secrets", include_str!("secrets.js")),
    ("dchat:text", include_str!("text.js")),
    ("dchat:crypto", include_str!("webcrypto/crypto.js")),
    #[cfg(feature = "webcrypto")]
    ("dchat:subtle", include_str!("webcrypto/subtle.js")),
];
/// Makes the global that code with rewritten `await`s calls.
pub(crate) const RESUMING: &str = "dchat:resuming";
/// Where the prelude finds the bridge while it is evaluated; gone before the script runs.
pub(crate) const BRIDGE: &str = "__host";

/// Puts the host functions of one module into an object.
type Install = for<'js> fn(&Object<'js>, &Rc<Host>) -> rquickjs::Result<()>;

/// What modules of ours ask for by `host.part(name)` when they are first evaluated.
const PARTS: &[(&str, Install)] = &[
    ("k6", k6::install),
    ("metrics", metrics::install),
    ("data", data::install),
    ("execution", execution::install),
    ("http", http::install),
    ("http-more", http::more::install),
    ("http-stream", http::stream::install),
    ("encoding", encoding::install),
    ("crypto", crypto::install),
    ("x509", x509::install),
    ("html", html::install),
    ("text", text::install),
    ("random", random::install),
    ("secrets", secrets::install),
    #[cfg(feature = "webcrypto")]
    ("webcrypto", webcrypto::install),
    ("commonjs", commonjs::install),
    ("sockets", sockets::install),
    ("files", files::install),
    #[cfg(feature = "grpc")]
    ("grpc", grpc::install),
    ("url", url::install),
    ("groups", k6::install_groups),
];

/// The host functions that every VM has: console, timers, and the way to the other parts.
pub(crate) fn bridge<'js>(ctx: &Ctx<'js>, host: &Rc<Host>) -> rquickjs::Result<Object<'js>> {
    let bridge = Object::new(ctx.clone())?;
    console::install(&bridge, host)?;
    let vm = host.clone();
    set(&bridge, "part", move |ctx: Ctx<'js>, name: String| {
        part(&ctx, &vm, &name)
    })?;
    let vm = host.clone();
    set(&bridge, "load", move |ctx: Ctx<'js>, name: String| {
        load(&ctx, &vm, &name)
    })?;
    Ok(bridge)
}

fn part<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, name: &str) -> rquickjs::Result<Object<'js>> {
    let found = PARTS.iter().find(|(known, _)| *known == name);
    let (_, install) = found.expect("modules of ours ask for parts that are there");
    let functions = Object::new(ctx.clone())?;
    install(&functions, host)?;
    Ok(functions)
}

/// The namespace of a module, evaluated now if it was not before: for globals that few scripts use,
/// which the prelude makes at the first look, and for `require`.
pub(crate) fn load<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    name: &str,
) -> rquickjs::Result<Object<'js>> {
    let before = host.loading_own.replace(true);
    let namespace = loader::namespace(ctx, name);
    host.loading_own.set(before);
    namespace
}

/// Sets one host function.
fn set<'js, F, P>(bridge: &Object<'js>, name: &str, function: F) -> rquickjs::Result<()>
where
    F: IntoJsFunc<'js, P> + 'js,
{
    let function = Function::new(bridge.ctx().clone(), function)?.with_name(name)?;
    bridge.set(name, function)
}

/// What a host call throws once its VU is cancelled. A script may catch it, but every further
/// call throws again, and running code is stopped by the interrupt handler.
fn interrupted(ctx: &Ctx<'_>) -> rquickjs::Error {
    Exception::throw_message(ctx, "the virtual user was interrupted")
}

/// k6's refusal of what makes no sense in init code.
fn must_run(ctx: &Ctx<'_>, host: &Host, what: &str) -> rquickjs::Result<()> {
    if host.running_side().is_some() {
        return Ok(());
    }
    let text = format!("{what} in the init context is not supported");
    Err(Exception::throw_message(ctx, &text))
}

/// Tags that a script gave: strings, numbers and booleans by name.
fn own_tags<'js>(ctx: &Ctx<'js>, tags: &Value<'js>) -> rquickjs::Result<OwnTags> {
    let Some(tags) = tags.as_object() else {
        return Ok(OwnTags::new());
    };
    let mut own = OwnTags::new();
    for entry in tags.props::<String, Value<'js>>() {
        let (name, value) = entry?;
        if value.is_string() || value.is_number() || value.is_bool() {
            let text: rquickjs::Coerced<String> = value.get()?;
            own.push((name, text.0));
        } else {
            let text = format!(
                "invalid value for metric tag '{name}': only String, Boolean and Number types are \
                 accepted as a metric tag values"
            );
            return Err(Exception::throw_type(ctx, &text));
        }
    }
    Ok(own)
}
