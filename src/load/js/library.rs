//! What the VMs of one run share: compiled modules, files that were opened, arrays of `k6/data`.
//!
//! VU 0 fills it while the script is loaded; then it is sealed: a file or module that VU 0 has not
//! seen cannot be had later, so that VUs never wait for a disk in the middle of a run.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Elements of a shared array as JSON.
pub(crate) type Elements = Arc<Vec<Box<str>>>;

#[derive(Debug)]
pub(crate) struct Library {
    /// Name of the entry module.
    pub(crate) main: String,
    pub(crate) env: Arc<BTreeMap<String, String>>,
    sealed: AtomicBool,
    modules: Mutex<HashMap<String, Arc<[u8]>>>,
    files: Mutex<HashMap<PathBuf, Arc<[u8]>>>,
    arrays: Mutex<HashMap<String, Elements>>,
}

impl Library {
    pub(crate) fn new(main: String, env: Arc<BTreeMap<String, String>>) -> Library {
        Library {
            main,
            env,
            sealed: AtomicBool::new(false),
            modules: Mutex::default(),
            files: Mutex::default(),
            arrays: Mutex::default(),
        }
    }

    /// No more is added from now on.
    pub(crate) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(crate) fn module(&self, name: &str) -> Option<Arc<[u8]>> {
        lock(&self.modules).get(name).cloned()
    }

    pub(crate) fn add_module(&self, name: &str, bytecode: Vec<u8>) {
        lock(&self.modules).insert(name.to_owned(), bytecode.into());
    }

    /// The directory that relative paths of the entry script start from.
    pub(crate) fn directory(&self) -> &Path {
        Path::new(&self.main).parent().unwrap_or(Path::new("."))
    }

    /// A file's content; read once.
    pub(crate) fn open(&self, path: &Path) -> std::io::Result<Arc<[u8]>> {
        if let Some(known) = lock(&self.files).get(path) {
            return Ok(known.clone());
        }
        if self.is_sealed() {
            return Err(std::io::Error::other(
                "it was not opened when the script was first loaded",
            ));
        }
        let content: Arc<[u8]> = std::fs::read(path)?.into();
        lock(&self.files).insert(path.to_owned(), content.clone());
        Ok(content)
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
