//! Services known to a client: from `.proto` files, protosets or a server's reflection; and
//! messages between JSON and their wire form. Shared by all VUs of a run where it comes from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use prost_reflect::prost_types::FileDescriptorSet;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, ReflectMessage,
    SerializeOptions, Value,
};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use serde_json::Value as Json;

use crate::load::js::library::Library;
use crate::load::js::loader::normalized;

/// Methods by path; the descriptors keep what else they need alive.
#[derive(Debug)]
pub(crate) struct Schema {
    methods: Vec<Method>,
}

/// A method as calls need it.
#[derive(Clone, Debug)]
pub(crate) struct Method(MethodDescriptor);

impl Schema {
    pub(super) fn of_files(
        library: &Arc<Library>,
        base: &Path,
        paths: &[String],
        files: &[String],
    ) -> Result<Arc<Schema>, String> {
        let key = format!("{base:?} {paths:?} {files:?}");
        if let Some(known) = library.schema(&key) {
            return Ok(known);
        }
        let mut resolver = ChainFileResolver::new();
        resolver.add(Sources {
            library: library.clone(),
            directories: directories(base, paths),
        });
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).include_source_info(false);
        for file in files {
            compiler.open_file(file).map_err(|error| chain(&error))?;
        }
        let schema = Arc::new(Schema::of_pool(&compiler.descriptor_pool()));
        library.add_schema(key, schema.clone());
        Ok(schema)
    }

    pub(super) fn of_protoset(
        library: &Library,
        base: &Path,
        path: &str,
    ) -> Result<Arc<Schema>, String> {
        let key = format!("{base:?} protoset {path}");
        if let Some(known) = library.schema(&key) {
            return Ok(known);
        }
        let file = normalized(&base.join(path.trim_start_matches("file://")));
        let bytes = library
            .open(&file)
            .map_err(|error| format!("couldn't open protoset: {error}: {}", file.display()))?;
        let set = FileDescriptorSet::decode(&*bytes)
            .map_err(|error| format!("couldn't unmarshal protoset file {path}: {error}"))?;
        let schema = Arc::new(Schema::of_set(set)?);
        library.add_schema(key, schema.clone());
        Ok(schema)
    }

    pub(super) fn of_set(set: FileDescriptorSet) -> Result<Schema, String> {
        let pool = DescriptorPool::from_file_descriptor_set(set);
        pool.map(|pool| Schema::of_pool(&pool))
            .map_err(|error| error.to_string())
    }

    fn of_pool(pool: &DescriptorPool) -> Schema {
        let methods = pool.services().flat_map(|service| {
            let methods: Vec<Method> = service.methods().map(Method).collect();
            methods
        });
        Schema {
            methods: methods.collect(),
        }
    }

    pub(super) fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter()
    }

    /// `/package.Service/Method`.
    pub(super) fn method(&self, path: &str) -> Option<Method> {
        let found = self.methods.iter().find(|method| method.is(path));
        found.cloned()
    }
}

impl Method {
    pub(super) fn path(&self) -> String {
        format!("/{}/{}", self.0.parent_service().full_name(), self.0.name())
    }

    fn is(&self, path: &str) -> bool {
        path.strip_prefix('/')
            .and_then(|path| path.rsplit_once('/'))
            .is_some_and(|(service, name)| {
                self.0.name() == name && self.0.parent_service().full_name() == service
            })
    }

    pub(super) fn package(&self) -> String {
        self.0.parent_service().package_name().to_owned()
    }

    pub(super) fn service(&self) -> String {
        self.0.parent_service().name().to_owned()
    }

    /// A request from its JSON.
    pub(super) fn request(&self, json: &str) -> Result<Bytes, String> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let message = DynamicMessage::deserialize(self.0.input(), &mut reader)
            .map_err(|error| format!("proto: {error}"))?;
        Ok(message.encode_to_vec().into())
    }

    /// A response as JSON with all its fields; no bytes give the empty message.
    pub(super) fn response(&self, bytes: &[u8]) -> Result<String, String> {
        to_json(self.0.output(), bytes)
    }
}

fn to_json(kind: MessageDescriptor, bytes: &[u8]) -> Result<String, String> {
    let message = DynamicMessage::decode(kind, bytes)
        .map_err(|error| format!("failed to unmarshal the received message: {error}"))?;
    let options = SerializeOptions::new().skip_default_fields(false);
    let mut json = message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| format!("failed to marshal the message: {error}"))?;
    show_absent(&message, &mut json);
    Ok(json.to_string())
}

/// Fields that can be absent, and are, read `null`, as k6 shows them; those of a `oneof` and
/// `optional` ones don't.
fn show_absent(message: &DynamicMessage, json: &mut Json) {
    // Google's own types have words of their own.
    let kind = message.descriptor();
    if kind.package_name() == "google.protobuf" {
        return;
    }
    let Some(object) = json.as_object_mut() else {
        return;
    };
    for field in kind.fields() {
        if !message.has_field(&field) {
            if field.supports_presence() && field.containing_oneof().is_none() {
                object.insert(field.json_name().to_owned(), Json::Null);
            }
            continue;
        }
        let Some(shown) = object.get_mut(field.json_name()) else {
            continue;
        };
        match (&*message.get_field(&field), shown) {
            (Value::Message(inner), shown) => show_absent(inner, shown),
            (Value::List(items), Json::Array(shown)) => {
                for (item, shown) in items.iter().zip(shown) {
                    if let Value::Message(inner) = item {
                        show_absent(inner, shown);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Where `.proto` files are looked for; relative ones start at the script.
fn directories(base: &Path, paths: &[String]) -> Vec<PathBuf> {
    let given = paths
        .iter()
        .map(|path| base.join(path.trim_start_matches("file://")));
    let given: Vec<PathBuf> = given.collect();
    if given.is_empty() {
        vec![base.to_owned()]
    } else {
        given
    }
}

/// Files by way of the library: VUs and archives find what VU 0 has opened.
struct Sources {
    library: Arc<Library>,
    directories: Vec<PathBuf>,
}

impl FileResolver for Sources {
    /// k6 takes every name as it is, also one that leads out of its directory.
    fn resolve_path(&self, path: &Path) -> Option<String> {
        path.to_str().map(str::to_owned)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let mut failed = None;
        for directory in &self.directories {
            let path = normalized(&directory.join(name));
            match self.library.open(&path) {
                Ok(bytes) => return File::from_source(name, &String::from_utf8_lossy(&bytes)),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(protox::Error::new(error))
            }
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// An error with its causes, as one text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
