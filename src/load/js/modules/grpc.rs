//! Host side of the module `k6/net/grpc`: clients with their schemas and channels, calls, streams.
//!
//! A client is an object of host functions over state that they share, so that it ends with the
//! script's last reference to it. Channels live as long as their client wants them, over many
//! iterations; calls and streams end with their iteration at the latest.

mod invoke;
mod params;
mod reflection;
mod schema;
mod stream;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rquickjs::function::Rest;
use rquickjs::{Array, Ctx, Exception, Object, Value};

use self::schema::Method;
pub(crate) use self::schema::Schema;
use super::console::directory;
use super::{interrupted, must_run, set};
use crate::load::client::grpc::Channel;
use crate::load::js::host::{Host, Phase};

/// What the functions of one client share.
#[derive(Default)]
pub(super) struct Client {
    schemas: RefCell<Vec<Arc<Schema>>>,
    channel: RefCell<Option<Rc<Channel>>>,
    /// As given to `connect`.
    address: RefCell<String>,
}

impl Client {
    fn method(&self, path: &str) -> Option<Method> {
        let schemas = self.schemas.borrow();
        // What was loaded last counts.
        schemas.iter().rev().find_map(|schema| schema.method(path))
    }

    fn channel(&self, ctx: &Ctx<'_>) -> rquickjs::Result<Rc<Channel>> {
        self.channel.borrow().clone().ok_or_else(|| {
            let text = "no gRPC connection, you must call connect first";
            Exception::throw_message(ctx, text)
        })
    }
}

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(bridge, "client", move |ctx: Ctx<'js>| client(&ctx, &vm))
}

fn client<'js>(ctx: &Ctx<'js>, host: &Rc<Host>) -> rquickjs::Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    let client = Rc::new(Client::default());
    install_loading(&object, host, &client)?;
    install_connecting(&object, host, &client)?;
    invoke::install(&object, host, &client)?;
    stream::install(&object, host, &client)?;
    Ok(object)
}

fn install_loading<'js>(
    object: &Object<'js>,
    host: &Rc<Host>,
    client: &Rc<Client>,
) -> rquickjs::Result<()> {
    let (vm, own) = (host.clone(), client.clone());
    let load = move |ctx: Ctx<'js>, paths: Vec<String>, files: Rest<String>| {
        must_init(&ctx, &vm)?;
        let base = directory(&ctx, &vm);
        let schema = Schema::of_files(&vm.library, &base, &paths, &files.0);
        add(&ctx, &own, schema)
    };
    set(object, "load", load)?;
    let (vm, own) = (host.clone(), client.clone());
    let load_protoset = move |ctx: Ctx<'js>, path: String| {
        must_init(&ctx, &vm)?;
        let base = directory(&ctx, &vm);
        add(&ctx, &own, Schema::of_protoset(&vm.library, &base, &path))
    };
    set(object, "loadProtoset", load_protoset)
}

/// The list of `{package, service, full_method}` that a script gets.
fn add<'js>(
    ctx: &Ctx<'js>,
    client: &Client,
    schema: Result<Arc<Schema>, String>,
) -> rquickjs::Result<Array<'js>> {
    let schema = schema.map_err(|text| Exception::throw_message(ctx, &text))?;
    let list = Array::new(ctx.clone())?;
    for (index, method) in schema.methods().enumerate() {
        let entry = Object::new(ctx.clone())?;
        entry.set("package", method.package())?;
        entry.set("service", method.service())?;
        entry.set("full_method", method.path())?;
        list.set(index, entry)?;
    }
    client.schemas.borrow_mut().push(schema);
    Ok(list)
}

fn must_init(ctx: &Ctx<'_>, host: &Host) -> rquickjs::Result<()> {
    if host.phase.get() == Phase::Init {
        return Ok(());
    }
    let text = "load must be called in the init context";
    Err(Exception::throw_message(ctx, text))
}

fn install_connecting<'js>(
    object: &Object<'js>,
    host: &Rc<Host>,
    client: &Rc<Client>,
) -> rquickjs::Result<()> {
    let (vm, own) = (host.clone(), client.clone());
    let connect = move |ctx: Ctx<'js>, address: String, params: Value<'js>| {
        must_run(&ctx, &vm, "connecting to a gRPC server")?;
        let wanted = params::Connect::read(&ctx, &vm, &params)?;
        *own.address.borrow_mut() = address.clone();
        let connected = invoke::connect(&vm, &address, wanted);
        let connected = vm.suspender.block_on(connected);
        match connected.map_err(|_| interrupted(&ctx))? {
            Ok((channel, reflected)) => {
                *own.channel.borrow_mut() = Some(Rc::new(channel));
                own.schemas.borrow_mut().extend(reflected.map(Arc::new));
                Ok(true)
            }
            Err(text) => Err(Exception::throw_message(&ctx, &text)),
        }
    };
    set(object, "connect", connect)?;
    let own = client.clone();
    set(object, "close", move || {
        own.channel.borrow_mut().take();
    })?;
    let own = client.clone();
    set(object, "isConnected", move || {
        own.channel.borrow().is_some()
    })
}
