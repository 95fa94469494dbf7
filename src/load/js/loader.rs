//! Imports: names to modules, modules to bytecode, read and compiled once by VU 0.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::{Declared, WriteOptions};
use rquickjs::{Ctx, Error, Exception, Module};

use super::ffi;
use super::library::Library;
use super::modules::{PRELUDE, SOURCES};

/// Resolves relative to the importing file; knows the built-in modules by name.
pub(crate) struct Modules {
    library: Arc<Library>,
}

impl Modules {
    pub(crate) fn new(library: Arc<Library>) -> Modules {
        Modules { library }
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
        // Modules named `dchat:` are our own affair.
        let known = is_builtin(name) || name == PRELUDE.0;
        if known && (!name.starts_with("dchat:") || is_builtin(base)) {
            return Ok(name.to_owned());
        }
        if name == "k6" || name.starts_with("k6/") {
            return Err(refuse(
                ctx,
                &format!("the module {name:?} is not part of this version"),
            ));
        }
        let name = name.strip_prefix("file://").unwrap_or(name);
        if name.starts_with("./") || name.starts_with("../") || name.starts_with('/') {
            let directory = Path::new(base).parent().unwrap_or(Path::new(""));
            return Ok(normalized(&directory.join(name)).display().to_string());
        }
        let text = if name.contains("://") {
            format!("{name:?}: modules from the net are not part of this version")
        } else {
            format!("unknown module {name:?}; files begin with './', '../' or '/'")
        };
        Err(refuse(ctx, &text))
    }
}

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        if let Some((_, source)) = SOURCES.iter().find(|(known, _)| *known == name) {
            return module(ctx, &self.library, name, || Ok((*source).into()));
        }
        module(ctx, &self.library, name, || {
            let content = self.library.open(Path::new(name)).map_err(|error| {
                refuse(ctx, &format!("the module {name:?} can't be read: {error}"))
            })?;
            Ok(content.to_vec())
        })
    }
}

/// The module from the library's bytecode; else from its source, which is then compiled for all.
pub(crate) fn module<'js>(
    ctx: &Ctx<'js>,
    library: &Library,
    name: &str,
    source: impl FnOnce() -> rquickjs::Result<Vec<u8>>,
) -> rquickjs::Result<Module<'js, Declared>> {
    if let Some(bytecode) = library.module(name) {
        return ffi::load_bytecode(ctx, &bytecode);
    }
    if library.is_sealed() && !is_builtin(name) {
        let text = format!("the module {name:?} was not imported when the script was first loaded");
        return Err(refuse(ctx, &text));
    }
    let module = Module::declare(ctx.clone(), name, source()?)?;
    // Each VU keeps what it loads: the source only serves `toString`, and places within our own
    // modules help nobody.
    let options = WriteOptions {
        strip_source: true,
        strip_debug: is_builtin(name) || name == PRELUDE.0,
        ..WriteOptions::default()
    };
    library.add_module(name, module.write(options)?);
    Ok(module)
}

/// Whether a module is one of ours.
fn is_builtin(name: &str) -> bool {
    SOURCES.iter().any(|(known, _)| *known == name)
}

fn refuse(ctx: &Ctx<'_>, text: &str) -> Error {
    Exception::throw_reference(ctx, text)
}

/// Without `.` and `..`, and without asking the file system.
fn normalized(path: &Path) -> PathBuf {
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
}
