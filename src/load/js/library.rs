//! What the VMs of one run share: compiled modules, files that were opened, arrays of `k6/data`.
//!
//! VU 0 fills it while the script is loaded; then it is sealed: a file or module that VU 0 has not
//! seen cannot be had later, so that VUs never wait for a disk in the middle of a run.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::positions::Positions;
use super::program::{Compatibility, ScriptSource};
use super::remote::Remote;
use crate::load::secrets::Secrets;

/// Elements of a shared array as JSON.
pub(crate) type Elements = Arc<Vec<Box<str>>>;

/// How a file was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Module,
    /// A module that uses `import.meta`.
    ModuleWithMeta,
    CommonJs,
}

#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) form: Form,
    pub(crate) bytecode: Arc<[u8]>,
}

/// All files and remote modules of an archived script, by absolute path or address.
#[derive(Debug, Default)]
pub struct Bundle {
    pub files: BTreeMap<String, Arc<[u8]>>,
}

#[derive(Debug)]
pub(crate) struct Library {
    /// Name of the entry module.
    pub(crate) main: String,
    pub(crate) env: Arc<BTreeMap<String, String>>,
    pub(crate) positions: Positions,
    pub(crate) remote: Remote,
    pub(crate) compatibility: Compatibility,
    pub(crate) secrets: Arc<Secrets>,
    /// The only place that files are read from, if there is one.
    bundle: Option<Arc<Bundle>>,
    /// Whether the entry script speaks of groups at all.
    #[cfg_attr(
        not(feature = "typescript"),
        expect(dead_code, reason = "only the parser of that feature finds awaits")
    )]
    pub(crate) has_groups: bool,
    /// Files call what `dchat:resuming` makes.
    resuming: AtomicBool,
    sealed: AtomicBool,
    /// The entry module's text until it is compiled.
    entry: Mutex<Option<String>>,
    modules: Mutex<HashMap<String, Compiled>>,
    /// ES modules around CommonJS files, by the file's name.
    bridges: Mutex<HashMap<String, Arc<[u8]>>>,
    files: Mutex<HashMap<PathBuf, Arc<[u8]>>>,
    /// Contents that scripts hold as buffers, so that requests send them without a copy.
    shared: Mutex<Vec<Arc<[u8]>>>,
    has_shared: AtomicBool,
    arrays: Mutex<HashMap<String, Elements>>,
    /// Services of gRPC clients, by what was loaded.
    #[cfg(feature = "grpc")]
    schemas: Mutex<HashMap<String, Arc<super::modules::Schema>>>,
}

impl Library {
    pub(crate) fn new(
        main: String,
        source: ScriptSource,
        env: Arc<BTreeMap<String, String>>,
    ) -> Library {
        Library {
            main,
            env,
            positions: Positions::default(),
            remote: source.remote,
            compatibility: source.compatibility,
            secrets: source.secrets,
            bundle: source.bundle,
            has_groups: source.text.contains("group"),
            resuming: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            entry: Mutex::new(Some(source.text)),
            modules: Mutex::default(),
            bridges: Mutex::default(),
            files: Mutex::default(),
            shared: Mutex::default(),
            has_shared: AtomicBool::new(false),
            arrays: Mutex::default(),
            #[cfg(feature = "grpc")]
            schemas: Mutex::default(),
        }
    }

    /// No more is added from now on.
    pub(crate) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    #[cfg_attr(
        not(feature = "typescript"),
        expect(dead_code, reason = "only the parser of that feature finds awaits")
    )]
    pub(crate) fn set_resuming(&self) {
        self.resuming.store(true, Ordering::Release);
    }

    pub(crate) fn is_resuming(&self) -> bool {
        self.resuming.load(Ordering::Acquire)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// The entry module's text, if `name` is the entry module and nobody has asked before.
    pub(crate) fn take_entry(&self, name: &str) -> Option<String> {
        if name == self.main {
            lock(&self.entry).take()
        } else {
            None
        }
    }

    pub(crate) fn module(&self, name: &str) -> Option<Compiled> {
        lock(&self.modules).get(name).cloned()
    }

    pub(crate) fn add_module(&self, name: &str, form: Form, bytecode: &[u8]) {
        let compiled = Compiled {
            form,
            bytecode: bytecode.into(),
        };
        lock(&self.modules).insert(name.to_owned(), compiled);
    }

    pub(crate) fn bridge(&self, name: &str) -> Option<Arc<[u8]>> {
        lock(&self.bridges).get(name).cloned()
    }

    pub(crate) fn add_bridge(&self, name: &str, bytecode: &[u8]) {
        lock(&self.bridges).insert(name.to_owned(), bytecode.into());
    }

    /// A file's content; read once.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        self.open_with(path, || std::fs::read(path))
    }

    /// As [`Library::open`] for what `read` gets from elsewhere.
    pub(crate) fn open_with(
        &self,
        path: &Path,
        read: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<Arc<[u8]>> {
        if let Some(known) = lock(&self.files).get(path) {
            return Ok(known.clone());
        }
        if self.is_sealed() {
            return Err(io::Error::other(
                "it was not opened when the script was first loaded (__VU==0)",
            ));
        }
        let content: Arc<[u8]> = match &self.bundle {
            None => read()?.into(),
            Some(bundle) => {
                let found = path.to_str().and_then(|path| bundle.files.get(path));
                found.cloned().ok_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, "it is not in the archive")
                })?
            }
        };
        lock(&self.files).insert(path.to_owned(), content.clone());
        Ok(content)
    }

    /// Whether `path` is a directory; an archive has none.
    pub(crate) fn is_directory(&self, path: &Path) -> bool {
        self.bundle.is_none() && path.is_dir()
    }

    /// All files and addresses that were read, by name.
    pub(crate) fn files(&self) -> Vec<(String, Arc<[u8]>)> {
        let files = lock(&self.files);
        let named = files.iter();
        let mut all: Vec<_> = named
            .map(|(path, content)| (path.display().to_string(), content.clone()))
            .collect();
        all.sort();
        all
    }

    #[cfg(feature = "grpc")]
    pub(crate) fn schema(&self, key: &str) -> Option<Arc<super::modules::Schema>> {
        lock(&self.schemas).get(key).cloned()
    }

    #[cfg(feature = "grpc")]
    pub(crate) fn add_schema(&self, key: String, schema: Arc<super::modules::Schema>) {
        lock(&self.schemas).insert(key, schema);
    }

    /// `content` is about to be a script's buffer.
    pub(crate) fn share(&self, content: Arc<[u8]>) {
        let mut shared = lock(&self.shared);
        if !shared.iter().any(|known| Arc::ptr_eq(known, &content)) {
            shared.push(content);
        }
        self.has_shared.store(true, Ordering::Release);
    }

    /// The shared content that stands at this very place in memory.
    pub(crate) fn shared_at(&self, bytes: &[u8]) -> Option<Arc<[u8]>> {
        if !self.has_shared.load(Ordering::Acquire) {
            return None;
        }
        let shared = lock(&self.shared);
        let place = bytes.as_ptr_range();
        let same = |known: &&Arc<[u8]>| known.as_ptr_range() == place;
        shared.iter().find(same).cloned()
    }

    pub(crate) fn array(&self, name: &str) -> Option<Elements> {
        lock(&self.arrays).get(name).cloned()
    }

    pub(crate) fn add_array(&self, name: &str, elements: Vec<Box<str>>) -> Elements {
        let elements = Arc::new(elements);
        lock(&self.arrays).insert(name.to_owned(), elements.clone());
        elements
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
