//! A script with everything it imports, read and compiled once and shared by all worker threads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use rquickjs::Value;

use super::ScriptError;
use super::host::Host;
use super::library::{Bundle, Library};
use super::machine::{Machine, Script};
use super::remote::Remote;
use crate::load::metrics::Registry;
use crate::load::secrets::Secrets;
use crate::load::vu::coroutine::{Ended, Fiber, Suspender};

/// A script's text and where it came from.
#[derive(Clone, Debug)]
pub struct ScriptSource {
    /// File that relative imports and `open()` start from; a bare name for a built-in script.
    pub path: PathBuf,
    pub text: String,
    /// Of an archive: the only files that the script can reach.
    pub bundle: Option<Arc<Bundle>>,
    /// Whether modules may be fetched from the net.
    pub remote: Remote,
    pub compatibility: Compatibility,
    /// What `k6/secrets` gives.
    pub secrets: Arc<Secrets>,
}

/// `--compatibility-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compatibility {
    /// Only what the language has.
    Base,
    /// With `global` beside `globalThis`.
    #[default]
    Extended,
}

impl ScriptSource {
    /// A script with its files on disk and remote modules from the user's cache or the net.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> ScriptSource {
        ScriptSource {
            path: path.into(),
            text: text.into(),
            bundle: None,
            remote: Remote::allowed(),
            compatibility: Compatibility::default(),
            secrets: Arc::default(),
        }
    }
}

/// Limits of one VU's JavaScript machine.
#[derive(Clone, Debug)]
pub struct VmSettings {
    /// Heap of one VU; past it the script sees an out-of-memory error.
    pub memory_bytes_max: usize,
    /// Size of one VU's stack; only touched pages cost memory.
    pub stack_bytes: usize,
}

impl Default for VmSettings {
    fn default() -> VmSettings {
        VmSettings {
            memory_bytes_max: VmSettings::MEMORY_BYTES_DEFAULT,
            stack_bytes: VmSettings::STACK_BYTES_DEFAULT,
        }
    }
}

impl VmSettings {
    pub const MEMORY_BYTES_DEFAULT: usize = 256 * 1024 * 1024;
    pub const STACK_BYTES_DEFAULT: usize = 512 * 1024;
}

/// A compiled script. Immutable; shared by `Arc`.
pub struct Program {
    pub(crate) library: Arc<Library>,
    pub(crate) registry: Registry,
    options_json: Option<String>,
    exports: Vec<String>,
}

/// What VU 0 finds in the script.
struct Found {
    options_json: Option<String>,
    exports: Vec<String>,
}

impl Program {
    /// Reads and compiles the script and its imports, and runs the init code once as VU 0.
    /// Blocking: call it before the run or on a blocking thread.
    ///
    /// # Errors
    /// Whatever is wrong with the script, with file, line and column.
    pub fn load(
        source: ScriptSource,
        env: Arc<BTreeMap<String, String>>,
        registry: &Registry,
        settings: &VmSettings,
    ) -> Result<Program, ScriptError> {
        let main = main_name(&source.path);
        let library = Arc::new(Library::new(main, source, env));
        let suspender = Suspender::new();
        let host = Host::loading(suspender.clone(), library.clone(), registry.clone());
        let found = Rc::new(RefCell::new(None));
        let finding = found.clone();
        let vm = settings.clone();
        let body = move || {
            let result = find(Rc::new(host), &vm);
            *finding.borrow_mut() = Some(result);
        };
        let mut fiber = Fiber::new(settings.stack_bytes, suspender, body)
            .map_err(|error| ScriptError::Vm(error.to_string()))?;
        // Init code may wait for timers.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| ScriptError::Vm(error.to_string()))?;
        let ended = runtime.block_on(std::future::poll_fn(|context| fiber.poll(context)));
        let result = found.borrow_mut().take();
        let found = match (ended, result) {
            (Ended::Returned, Some(result)) => result?,
            (Ended::Panicked(text), _) => return Err(ScriptError::Vm(text)),
            _ => return Err(ScriptError::Aborted("init code was interrupted".to_owned())),
        };
        library.seal();
        Ok(Program {
            library,
            registry: registry.clone(),
            options_json: found.options_json,
            exports: found.exports,
        })
    }

    /// `JSON.stringify(options)` of the script, if it exports options.
    pub fn options_json(&self) -> Option<&str> {
        self.options_json.as_deref()
    }

    /// Every file and remote module that was read while loading, by absolute path or address, as it
    /// was read; not the entry script.
    pub fn files(&self) -> Vec<(String, Arc<[u8]>)> {
        self.library.files()
    }

    /// The entry module's name: an absolute path, or the bare name of a built-in script.
    pub fn main(&self) -> &str {
        &self.library.main
    }

    /// Names of the exported functions: `default`, `setup`, scenario functions and so on.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }
}

fn find(host: Rc<Host>, settings: &VmSettings) -> Result<Found, ScriptError> {
    let machine = Machine::new(&host, settings)?;
    machine.with(|ctx| {
        let script = Script::load(&ctx, &host)?;
        let mut exports = Vec::new();
        for key in script.exports.keys::<String>() {
            let key = key.map_err(|error| ScriptError::Vm(error.to_string()))?;
            let value: Result<Value<'_>, _> = script.exports.get(key.as_str());
            if value.is_ok_and(|value| value.is_function()) {
                exports.push(key);
            }
        }
        for name in ["setup", "teardown"] {
            let called = exports.iter().any(|export| export == name);
            if !called && script.exports.contains_key(name).unwrap_or(false) {
                return Err(ScriptError::NotAFunction(name));
            }
        }
        if exports.is_empty() {
            return Err(ScriptError::NoExports);
        }
        let options: Value<'_> = script
            .exports
            .get("options")
            .map_err(|error| ScriptError::Vm(error.to_string()))?;
        Ok(Found {
            options_json: script.stringify(options)?,
            exports,
        })
    })
}

/// The entry module's name as it stands in error messages: a file's absolute path, or the bare
/// name of a built-in script.
fn main_name(path: &Path) -> String {
    let absolute = (path.exists() || path == Path::new("-"))
        .then(|| std::path::absolute(path).ok())
        .flatten();
    absolute.unwrap_or(path.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Program, ScriptError> {
        let source = ScriptSource::new("test.js", text);
        let settings = VmSettings {
            memory_bytes_max: VmSettings::MEMORY_BYTES_DEFAULT,
            stack_bytes: VmSettings::STACK_BYTES_DEFAULT,
        };
        let env = Arc::new(BTreeMap::from([("NAME".to_owned(), "value".to_owned())]));
        Program::load(source, env, &Registry::new(), &settings)
    }

    #[test]
    fn options_and_exports_are_found() {
        let program = load(
            "import http from 'k6/http'; import { Trend } from 'k6/metrics';
             new Trend('mine', true);
             export const options = { vus: 2, tags: { n: __ENV.NAME } };
             export default function () {} export function setup() {}",
        )
        .expect("a script");
        assert_eq!(
            program.options_json(),
            Some(r#"{"vus":2,"tags":{"n":"value"}}"#)
        );
        let mut exports = program.exports().to_vec();
        exports.sort();
        assert_eq!(exports, ["default", "setup"]);
        assert!(program.registry.by_name("mine").is_some());
    }

    #[test]
    fn syntax_errors_name_their_place() {
        let error = load("export default function () {\n  let x = ;\n}").err();
        let Some(ScriptError::Syntax { at, .. }) = error else {
            panic!("{error:?}")
        };
        assert_eq!((at.file.as_str(), at.line), ("test.js", 2));
    }

    #[test]
    fn init_code_must_not_make_requests() {
        let error =
            load("import http from 'k6/http'; http.get('http://x'); export default () => {};");
        let text = error.err().expect("an error").to_string();
        assert!(text.contains("init context"), "{text}");
        assert!(text.contains("test.js:1:"), "{text}");
    }

    #[test]
    fn deep_recursion_is_an_exception_not_a_crash() {
        for code in [
            "function f() { f(); } f();",
            "let a = []; for (let i = 0; i < 1e6; i++) a = [a]; JSON.stringify(a);",
            "new RegExp('('.repeat(1e5) + ')'.repeat(1e5));",
        ] {
            let error = load(&format!("{code} export default () => {{}};"));
            assert!(error.is_err(), "{code}");
        }
    }

    #[test]
    fn missing_modules_and_exports_are_said() {
        let missing = load("import './nowhere.js'; export default () => {};");
        let text = missing.err().expect("an error").to_string();
        assert!(text.contains("nowhere.js"), "{text}");
        assert!(matches!(
            load("const x = 1;").err(),
            Some(ScriptError::NoExports)
        ));
    }
}
