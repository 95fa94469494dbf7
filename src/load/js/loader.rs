//! Imports: names to modules, modules to bytecode, read and compiled once by VU 0.
//!
//! A file is an ES module if only that makes it compile, else CommonJS, as in k6.

use std::ffi::CString;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::{Declared, WriteOptions};
use rquickjs::{Ctx, Error, Exception, Function, Module, Object, Value};
use url::Url;

use super::error::Location;
use super::ffi;
use super::host::Host;
use super::jslib;
use super::library::{Compiled, Form};
use super::modules::{self, PRELUDE, SOURCES};
use super::remote;

/// Resolves relative to the importing file; knows the built-in modules by name.
pub(crate) struct Modules {
    host: Rc<Host>,
}

impl Modules {
    pub(crate) fn new(host: Rc<Host>) -> Modules {
        Modules { host }
    }
}

impl Resolver for Modules {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        let ours = name.starts_with("dchat:") && (is_own(base) || self.host.loading_own.get());
        if ours || (is_own(name) && !name.starts_with("dchat:")) {
            return Ok(name.to_owned());
        }
        resolve(base, name).map_err(|text| refuse(ctx, &text))
    }
}

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        match unit(ctx, &self.host, name)? {
            Unit::Module(module) => Ok(module),
            Unit::CommonJs(_) => bridge(ctx, &self.host, name),
        }
    }
}

/// What a file is once it is compiled.
pub(crate) enum Unit<'js> {
    Module(Module<'js, Declared>),
    /// Takes `module` and `exports`.
    CommonJs(Function<'js>),
}

/// The absolute name of what `base` imports as `name`.
///
/// # Errors
/// Why there is no such name.
pub(crate) fn resolve(base: &str, name: &str) -> Result<String, String> {
    if is_own(name) && !name.starts_with("dchat:") {
        return Ok(name.to_owned());
    }
    if name == "k6" || name.starts_with("k6/") {
        return Err(unknown_module(name));
    }
    if name.is_empty() {
        return Err("local or remote path required".to_owned());
    }
    let relative = name.starts_with('.') || name.starts_with('/');
    if relative
        && let Ok(base) = Url::parse(base)
        && base.scheme() == "https"
    {
        let joined = base.join(name).map_err(|error| error.to_string())?;
        return Ok(remote_name(joined));
    }
    if relative {
        let directory = Path::new(base).parent().unwrap_or(Path::new(""));
        return Ok(normalized(&directory.join(name)).display().to_string());
    }
    if let Some((scheme, path)) = name.split_once("://") {
        return match scheme {
            "file" if base.starts_with("https://") => Err(format!(
                "origin ({base}) not allowed to load local file: {name}"
            )),
            "file" => Ok(normalized(Path::new(path)).display().to_string()),
            "https" => Url::parse(name)
                .map(remote_name)
                .map_err(|error| format!("{name:?} is no address: {error}")),
            _ => Err(format!(
                "only supported schemes for imports are file and https, {name} has `{scheme}`"
            )),
        };
    }
    Err(format!(
        "The moduleSpecifier {name:?} couldn't be recognised as something k6 supports.\n\
         hint: files begin with './', '../' or '/', other modules with 'k6' or 'https://'"
    ))
}

/// k6's answers to imports of what it once had.
fn removed_module(name: &str) -> Option<&'static str> {
    Some(match name {
        "k6/experimental/timers" => {
            "k6/experimental/timers has been graduated, and it's now globally available as \
             defined by standard WebAPIs. You just need to remove the import."
        }
        "k6/experimental/webcrypto" => {
            "k6/experimental/webcrypto has been graduated and it's now globally available as \
             defined by standard WebAPIs. You just need to remove the import."
        }
        "k6/experimental/grpc" => {
            "k6/experimental/grpc has been graduated, please use k6/net/grpc instead."
        }
        "k6/experimental/tracing" => "k6/experimental/tracing has been removed.",
        "k6/experimental/redis" => "k6/experimental/redis has been removed.",
        _ => return None,
    })
}

fn unknown_module(name: &str) -> String {
    if let Some(removed) = removed_module(name) {
        return removed.to_owned();
    }
    let hint = match name {
        _ if name.starts_with("k6/x/") => "extensions of k6 are not part of dchat",
        "k6/browser" | "k6/experimental/browser" => "browsers are not part of dchat",
        _ => "the module may be misspelt, or need a cargo feature that this build has not",
    };
    format!("unknown module: {name:?}\nhint: {hint}")
}

/// The address, or the name of our own implementation of what stands there.
fn remote_name(address: Url) -> String {
    match jslib::known(&address) {
        Some(name) => name.to_owned(),
        None => address.to_string(),
    }
}

/// The compiled file or module `name`, made in this VM.
pub(crate) fn unit<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    name: &str,
) -> rquickjs::Result<Unit<'js>> {
    let library = &host.library;
    if let Some(compiled) = library.module(name) {
        return instantiate(ctx, host, name, &compiled);
    }
    if let Some(source) = own_source(name) {
        let module = Module::declare(ctx.clone(), name, source)?;
        // Places within our own modules help nobody.
        library.add_module(name, Form::Module, &module.write(options(true))?);
        return Ok(Unit::Module(module));
    }
    if library.is_sealed() {
        let text = format!(
            "the module {name:?} was not previously resolved during initialization (__VU==0)"
        );
        return Err(refuse(ctx, &text));
    }
    let content = read(ctx, host, name)?;
    compile(ctx, host, name, content)
}

/// The text of the entry module or of a file or address that a module names.
fn read(ctx: &Ctx<'_>, host: &Rc<Host>, name: &str) -> rquickjs::Result<String> {
    let library = &host.library;
    if let Some(text) = library.take_entry(name) {
        return Ok(text);
    }
    let content = if name.starts_with("https://") {
        library
            .open_with(Path::new(name), || remote::fetch(name, &library.remote))
            .map_err(|error| {
                let text = format!("the moduleSpecifier {name:?} couldn't be retrieved: {error}");
                refuse(ctx, &text)
            })?
    } else {
        library.open(Path::new(name)).map_err(|error| {
            let text =
                format!("the moduleSpecifier {name:?} couldn't be found on local disk: {error}");
            refuse(ctx, &text)
        })?
    };
    Ok(String::from_utf8_lossy(&content).into_owned())
}

fn instantiate<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    name: &str,
    compiled: &Compiled,
) -> rquickjs::Result<Unit<'js>> {
    match compiled.form {
        Form::CommonJs => {
            let function = ffi::run_script(ctx, &compiled.bytecode)?;
            Ok(Unit::CommonJs(function.get()?))
        }
        form => {
            let module = ffi::load_bytecode(ctx, &compiled.bytecode)?;
            if form == Form::ModuleWithMeta {
                set_meta(&module, host, name)?;
            }
            Ok(Unit::Module(module))
        }
    }
}

fn compile<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    name: &str,
    text: String,
) -> rquickjs::Result<Unit<'js>> {
    let text = match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    };
    if name.ends_with(".ts") {
        let text = without_types(ctx, host, name, &text)?;
        return compile_javascript(ctx, host, name, &text);
    }
    host.library.positions.find(name, &text);
    let compiled = compile_javascript(ctx, host, name, &text);
    // A script from stdin may be either.
    if compiled.is_err() && name.ends_with("/-") {
        let error = ctx.catch();
        return match without_types(ctx, host, name, &text) {
            Ok(text) => compile_javascript(ctx, host, name, &text),
            Err(_) => {
                ctx.catch();
                Err(ctx.throw(error))
            }
        };
    }
    compiled
}

#[cfg(feature = "typescript")]
fn without_types(
    ctx: &Ctx<'_>,
    host: &Rc<Host>,
    name: &str,
    text: &str,
) -> rquickjs::Result<String> {
    match super::typescript::strip(text, name) {
        Ok(stripped) => {
            host.library.positions.add(name, stripped.map);
            Ok(stripped.text)
        }
        Err(invalid) => Err(syntax_error(ctx, &invalid.message, &invalid.at)),
    }
}

#[cfg(not(feature = "typescript"))]
fn without_types(
    ctx: &Ctx<'_>,
    _host: &Rc<Host>,
    name: &str,
    _text: &str,
) -> rquickjs::Result<String> {
    let at = Location {
        file: name.to_owned(),
        line: 1,
        column: 1,
    };
    let text = "this build has no TypeScript (cargo feature `typescript`)";
    Err(syntax_error(ctx, text, &at))
}

fn compile_javascript<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    name: &str,
    text: &str,
) -> rquickjs::Result<Unit<'js>> {
    let resuming = resuming(ctx, host, name, text)?;
    let text = resuming.as_deref().unwrap_or(text);
    // The wrapper's own lines come before line 1, so that places stay as they are. (QuickJS takes
    // 0 for "not given".)
    let wrapped = CString::new(format!("(function (module, exports) {{\n\n{text}\n}})"))?;
    match ffi::compile_script(ctx, &CString::new(name)?, &wrapped, -1) {
        Ok(bytecode) => {
            host.library.add_module(name, Form::CommonJs, &bytecode);
            let function = ffi::run_script(ctx, &bytecode)?;
            return Ok(Unit::CommonJs(function.get()?));
        }
        Err(error) => {
            let as_commonjs = ctx.catch();
            if !looks_like_a_module(text) {
                // `await` outside of functions makes a module too.
                if !text.contains("await") && !text.contains("import") {
                    ctx.throw(as_commonjs);
                    return Err(error);
                }
            }
        }
    }
    let module = Module::declare(ctx.clone(), name, text)?;
    let form = if text.contains("import.meta") {
        set_meta(&module, host, name)?;
        Form::ModuleWithMeta
    } else {
        Form::Module
    };
    // Each VU keeps what it loads: the source only serves `toString`.
    host.library
        .add_module(name, form, &module.write(options(false))?);
    Ok(Unit::Module(module))
}

/// The text with its `await`s in their groups, where a script has both.
#[cfg(feature = "typescript")]
fn resuming(
    ctx: &Ctx<'_>,
    host: &Rc<Host>,
    name: &str,
    text: &str,
) -> rquickjs::Result<Option<String>> {
    let library = &host.library;
    if !text.contains("await") || !(library.has_groups || text.contains("group")) {
        return Ok(None);
    }
    let Some(rewritten) = super::resuming::rewrite(text) else {
        return Ok(None);
    };
    library.positions.shift(name, rewritten.shifts);
    library.set_resuming();
    modules::load(ctx, host, modules::RESUMING)?;
    Ok(Some(rewritten.text))
}

#[cfg(not(feature = "typescript"))]
fn resuming(
    _ctx: &Ctx<'_>,
    _host: &Rc<Host>,
    _name: &str,
    _text: &str,
) -> rquickjs::Result<Option<String>> {
    Ok(None)
}

fn looks_like_a_module(text: &str) -> bool {
    text.contains("export") || text.contains("import")
}

fn options(strip_debug: bool) -> WriteOptions {
    WriteOptions {
        strip_source: true,
        strip_debug,
        ..WriteOptions::default()
    }
}

/// `import.meta` with `url` and `resolve`.
fn set_meta(module: &Module<'_, Declared>, host: &Rc<Host>, name: &str) -> rquickjs::Result<()> {
    let meta = module.meta()?;
    meta.set("url", url_of(name))?;
    let (host, base) = (host.clone(), name.to_owned());
    let resolve = move |ctx: Ctx<'_>, specifier: String| {
        if host.running_side().is_some() {
            let text = "import.meta.resolve() is only available in the init context";
            return Err(Exception::throw_message(&ctx, text));
        }
        let resolved = resolve(&base, &specifier).map_err(|text| refuse(&ctx, &text))?;
        Ok(url_of(&resolved))
    };
    let function = Function::new(meta.ctx().clone(), resolve)?.with_name("resolve")?;
    meta.set("resolve", function)
}

fn url_of(name: &str) -> String {
    if name.starts_with('/') {
        format!("file://{name}")
    } else {
        name.to_owned()
    }
}

/// An ES module with what the CommonJS module `name` exports, for `import`.
fn bridge<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    name: &str,
) -> rquickjs::Result<Module<'js, Declared>> {
    let exports: Value<'js> = modules::run_commonjs(ctx, host, name)?;
    let library = &host.library;
    let module = match library.bridge(name) {
        Some(bytecode) => ffi::load_bytecode(ctx, &bytecode)?,
        None => {
            let names: Vec<String> = match exports.as_object() {
                Some(exports) => exports.keys().collect::<rquickjs::Result<_>>()?,
                None => Vec::new(),
            };
            let mut source =
                String::from("const e = import.meta.exports;\nexport default e.default ?? e;\n");
            for (number, name) in names.iter().filter(|name| is_name(name)).enumerate() {
                source.push_str(&format!(
                    "const v{number} = e.{name};\nexport {{ v{number} as {name} }};\n"
                ));
            }
            let module = Module::declare(ctx.clone(), name, source)?;
            // `import.meta` needs the file's name.
            library.add_bridge(name, &module.write(options(false))?);
            module
        }
    };
    module.meta()?.set("exports", exports)?;
    Ok(module)
}

/// Whether an export can be imported by this name; `default` has its own line.
fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    name != "default"
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(word)
}

/// The namespace of the module `name`, evaluated if it is not yet.
pub(crate) fn namespace<'js>(ctx: &Ctx<'js>, name: &str) -> rquickjs::Result<Object<'js>> {
    Module::import(ctx, name)?.finish()
}

/// Whether a module is one of ours.
pub(crate) fn is_own(name: &str) -> bool {
    // Stripped of its places, a frame of ours has no name.
    name == "<null>" || name == PRELUDE.0 || own_source(name).is_some()
}

fn own_source(name: &str) -> Option<&'static str> {
    if name == PRELUDE.0 {
        return Some(PRELUDE.1);
    }
    let known = SOURCES.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, source)| *source)
        .or_else(|| jslib::source(name))
}

fn syntax_error(ctx: &Ctx<'_>, message: &str, at: &Location) -> Error {
    let error = Exception::throw_syntax(ctx, message);
    let thrown = ctx.catch();
    if let Some(thrown) = thrown.as_object() {
        // Without memory for the place, the message alone must do.
        let _ = thrown.set("stack", format!("    at {at}\n"));
    }
    ctx.throw(thrown);
    error
}

pub(crate) fn refuse(ctx: &Ctx<'_>, text: &str) -> Error {
    Exception::throw_reference(ctx, text)
}

/// Without `.` and `..`, and without asking the file system.
pub(crate) fn normalized(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    clean.push("..");
                }
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_dots() {
        let clean = |path: &str| normalized(Path::new(path)).display().to_string();
        assert_eq!(clean("/a/./b/../c.js"), "/a/c.js");
        assert_eq!(clean("../x.js"), "../x.js");
    }

    #[test]
    fn names_are_resolved_as_in_k6() {
        let to = |base: &str, name: &str| resolve(base, name).unwrap_or_else(|text| text);
        assert_eq!(to("/a/b.js", "./c.js"), "/a/c.js");
        assert_eq!(to("/a/b.js", "file:///x/c.js"), "/x/c.js");
        assert_eq!(to("https://h/a/b.js", "../c.js"), "https://h/c.js");
        assert_eq!(to("https://h/a/b.js", "/c.js"), "https://h/c.js");
        assert_eq!(
            to("/a/b.js", "https://jslib.k6.io/k6-utils/1.4.0/index.js"),
            "https://jslib.k6.io/k6-utils"
        );
        for (name, why) in [
            ("lodash", "couldn't be recognised"),
            ("http://h/x.js", "only supported schemes"),
            ("k6/x/sql", "unknown module"),
            ("dchat:host", "only supported schemes|recognised"),
        ] {
            let text = resolve("/a/b.js", name).expect_err(name);
            assert!(
                why.split('|').any(|why| text.contains(why)),
                "{name}: {text}"
            );
        }
    }
}
