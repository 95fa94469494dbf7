//! Connecting and unary calls: what a script gives is read first, then the call runs without
//! JavaScript, then its answer becomes a value.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use rquickjs::{Array, Ctx, Exception, IntoJs, Object, Value};
use url::Url;

use super::params::{CallParams, Connect};
use super::reflection;
use super::schema::{Method, Schema};
use super::{Client, interrupted, must_run, set};
use crate::load::client::grpc::{Call, Channel, Code, Metadata, Reply, Setting, Status};
use crate::load::js::events::Completion;
use crate::load::js::host::Host;
use crate::load::metrics::{TagSet, builtin};
use crate::load::options::SystemTag;

/// k6's default of `invoke`.
const INVOKE_MAX: Duration = Duration::from_secs(120);

pub(super) fn install<'js>(
    object: &Object<'js>,
    host: &Rc<Host>,
    client: &Rc<Client>,
) -> rquickjs::Result<()> {
    let (vm, own) = (host.clone(), client.clone());
    let invoke = move |ctx: Ctx<'js>, method: String, json: String, params: Value<'js>| {
        let prepared = Prepared::read(&ctx, &vm, &own, &method, &json, &params)?;
        let performed = vm.suspender.block_on(prepared.perform(vm.clone()));
        let performed = performed.map_err(|_| interrupted(&ctx))?;
        performed.value(&ctx)
    };
    set(object, "invoke", invoke)?;
    let (vm, own) = (host.clone(), client.clone());
    let begin = move |ctx: Ctx<'js>, id: u32, method: String, json: String, params: Value<'js>| {
        let prepared = Prepared::read(&ctx, &vm, &own, &method, &json, &params)?;
        let inside = vm.clone();
        let task = tokio::task::spawn_local(async move {
            let performed = prepared.perform(inside.clone()).await;
            inside.events.complete(id, Box::new(performed));
            inside.suspender.wake();
        });
        vm.events.begin(id, task.abort_handle());
        rquickjs::Result::Ok(())
    };
    set(object, "invokeAsync", begin)?;
    let (vm, own) = (host.clone(), client.clone());
    let health = move |ctx: Ctx<'js>, service: String| {
        must_run(&ctx, &vm, "invoking RPC methods")?;
        let channel = own.channel(&ctx)?;
        let checked = vm.suspender.block_on(health(&vm, &channel, &service));
        let checked = checked.map_err(|_| interrupted(&ctx))?;
        checked.map_err(|text| Exception::throw_message(&ctx, &text))
    };
    set(object, "health", health)
}

/// Opens a channel; with `reflect` also asks what the server has.
pub(super) async fn connect(
    host: &Rc<Host>,
    address: &str,
    wanted: Connect,
) -> Result<(Channel, Option<Schema>), String> {
    let run = host.run.as_ref().expect("a VM that runs has its run");
    let scheme = if wanted.plaintext { "http" } else { "https" };
    let bare = ["dns:///", "passthrough:///"]
        .iter()
        .find_map(|prefix| address.strip_prefix(prefix))
        .unwrap_or(address);
    let dialing = |text: &str| {
        let text = format!("transport: error while dialing: {text}");
        format!("connection error: desc = {text:?}")
    };
    let port = if bare.rsplit_once(':').is_some() {
        ""
    } else {
        ":443"
    };
    let url = Url::parse(&format!("{scheme}://{bare}{port}"))
        .map_err(|error| dialing(&format!("address {address}: {error}")))?;
    let setting = Setting {
        url,
        authority: wanted.authority,
        user_agent: run.shared.settings.user_agent.to_string(),
        receive_bytes_max: wanted.receive_bytes_max,
        send_bytes_max: wanted.send_bytes_max,
    };
    let work = async {
        let channel = Channel::open(&run.client, setting, wanted.tls).await;
        let channel = channel.map_err(|failure| dialing(failure.detail()))?;
        if !wanted.reflect {
            return Ok((channel, None));
        }
        let begun = Instant::now();
        let schema = reflection::reflect(&channel, &wanted.reflect_metadata).await;
        let status = if schema.is_ok() {
            Code::OK
        } else {
            Code::UNKNOWN
        };
        measure(host, &host.base_tags(), status, begun);
        schema.map(|schema| (channel, Some(schema)))
    };
    match tokio::time::timeout(wanted.timeout, work).await {
        Ok(connected) => connected,
        Err(_) => Err("context deadline exceeded".to_owned()),
    }
}

async fn health(host: &Host, channel: &Channel, service: &str) -> Result<i32, String> {
    let call = Call {
        path: reflection::HEALTH.to_owned(),
        metadata: Metadata::new(),
        timeout: None,
    };
    let begun = Instant::now();
    let reply = channel
        .unary(&call, reflection::health_request(service))
        .await;
    measure(host, &host.base_tags(), reply.status.code, begun);
    if reply.status.code != Code::OK {
        return Err(reply.status.to_string());
    }
    let message = reply.message.unwrap_or_default();
    reflection::health_status(&message).ok_or_else(|| "the answer can't be read".to_owned())
}

pub(super) fn measure(host: &Host, tags: &TagSet, code: Code, begun: Instant) {
    let status = host.tagging.wants(SystemTag::Status);
    let status = status.then(|| ("status", code.0.to_string()));
    let tags = tags.with(status);
    let time = begun.elapsed().as_secs_f64() * 1_000.0;
    host.emit_one(builtin::GRPC_REQ_DURATION, time, tags);
}

/// The method, its call and its tags, as far as they don't depend on the message.
pub(super) struct Target {
    pub(super) channel: Rc<Channel>,
    pub(super) method: Method,
    pub(super) call: Call,
    pub(super) tags: TagSet,
    pub(super) discard: bool,
}

impl Target {
    /// `prefix` stands before refusals of the method, `what` before those of the params.
    pub(super) fn read<'js>(
        ctx: &Ctx<'js>,
        host: &Host,
        client: &Client,
        name: &str,
        params: &Value<'js>,
        (prefix, what): (&str, &str),
    ) -> rquickjs::Result<Target> {
        must_run(ctx, host, "invoking RPC methods")?;
        let channel = client.channel(ctx)?;
        let refuse = |text: String| {
            let text = format!("{prefix}{text}");
            Exception::throw_message(ctx, &text)
        };
        if name.is_empty() {
            return Err(refuse("method to invoke cannot be empty".to_owned()));
        }
        let path = if name.starts_with('/') {
            name.to_owned()
        } else {
            format!("/{name}")
        };
        let Some(method) = client.method(&path) else {
            let text = format!("method {path:?} not found in file descriptors");
            return Err(refuse(text));
        };
        let params = CallParams::read(ctx, params, what)?;
        let run = host.run.as_ref().expect("a VM that runs has its run");
        let base = host.tagging.with(&run.shared.interner, &params.tags);
        let (service, short) = path[1..].rsplit_once('/').unwrap_or_default();
        let name = base
            .get("name")
            .cloned()
            .unwrap_or_else(|| path.as_str().into());
        let url = format!("{}{path}", client.address.borrow());
        let system: [(SystemTag, &str, Arc<str>); 4] = [
            (SystemTag::Url, "url", url.into()),
            (SystemTag::Service, "service", service.into()),
            (SystemTag::Method, "method", short.into()),
            (SystemTag::Name, "name", name),
        ];
        let wanted = system
            .into_iter()
            .filter(|(tag, _, _)| host.tagging.wants(*tag));
        let tags = base.with(wanted.map(|(_, name, value)| (name, value)));
        Ok(Target {
            channel,
            method,
            call: Call {
                path,
                metadata: params.metadata,
                timeout: params.timeout,
            },
            tags,
            discard: params.discard,
        })
    }
}

struct Prepared {
    target: Target,
    message: Result<Bytes, String>,
}

impl Prepared {
    fn read<'js>(
        ctx: &Ctx<'js>,
        host: &Host,
        client: &Client,
        method: &str,
        json: &str,
        params: &Value<'js>,
    ) -> rquickjs::Result<Prepared> {
        let words = ("", "GRPC's client.invoke()");
        let mut target = Target::read(ctx, host, client, method, params, words)?;
        target.call.timeout.get_or_insert(INVOKE_MAX);
        let message = target.method.request(json);
        Ok(Prepared { target, message })
    }

    async fn perform(self, host: Rc<Host>) -> Performed {
        let target = self.target;
        let message = match self.message {
            Ok(message) => message,
            Err(text) => {
                let what = "unable to serialise request object to protocol buffer";
                return Performed(Err(format!("{what}: {text}")));
            }
        };
        let begun = Instant::now();
        let reply = target.channel.unary(&target.call, message).await;
        measure(&host, &target.tags, reply.status.code, begun);
        let json = if target.discard {
            Ok(None)
        } else {
            let bytes = reply.message.as_deref().unwrap_or_default();
            target.method.response(bytes).map(Some)
        };
        Performed(json.map(|json| (reply, json)))
    }
}

/// A call's end: its reply and the message as JSON, or why there could be none.
struct Performed(Result<(Reply, Option<String>), String>);

impl Performed {
    fn value<'js>(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let (reply, json) = self
            .0
            .map_err(|text| Exception::throw_message(ctx, &text))?;
        let response = Object::new(ctx.clone())?;
        response.set("status", reply.status.code.0)?;
        match json {
            Some(json) => response.set("message", ctx.json_parse(json)?)?,
            None => response.set("message", Value::new_null(ctx.clone()))?,
        }
        let error = if reply.status.code == Code::OK {
            Value::new_null(ctx.clone())
        } else {
            error_value(ctx, &reply.status)?.into_js(ctx)?
        };
        response.set("error", error)?;
        response.set("headers", metadata_value(ctx, &reply.headers)?)?;
        response.set("trailers", metadata_value(ctx, &reply.trailers)?)?;
        response.into_js(ctx)
    }
}

impl Completion for Performed {
    fn settle<'js>(self: Box<Self>, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self.value(ctx) {
            // The event loop takes an error object as a rejection.
            Err(rquickjs::Error::Exception) => Ok(ctx.catch()),
            other => other,
        }
    }
}

/// `{name: [value, …]}`.
fn metadata_value<'js>(ctx: &Ctx<'js>, metadata: &Metadata) -> rquickjs::Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    for (name, value) in metadata {
        let values: Array<'js> = match object.get::<_, Option<Array<'js>>>(name.as_str())? {
            Some(values) => values,
            None => {
                let values = Array::new(ctx.clone())?;
                object.set(name.as_str(), values.clone())?;
                values
            }
        };
        let text = String::from_utf8_lossy(value).into_owned();
        values.set(values.len(), text)?;
    }
    Ok(object)
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `{code, message, details}` of a `google.rpc.Status`.
pub(super) fn error_value<'js>(ctx: &Ctx<'js>, status: &Status) -> rquickjs::Result<Object<'js>> {
    use base64::Engine;
    let object = Object::new(ctx.clone())?;
    object.set("code", status.code.0)?;
    object.set("message", status.message.as_str())?;
    let details = Array::new(ctx.clone())?;
    let read = RpcStatus::decode(status.details.as_slice()).unwrap_or_default();
    for (index, any) in read.details.iter().enumerate() {
        let detail = Object::new(ctx.clone())?;
        detail.set("@type", any.type_url.as_str())?;
        let value = base64::engine::general_purpose::STANDARD.encode(&any.value);
        detail.set("value", value)?;
        details.set(index, detail)?;
    }
    object.set("details", details)?;
    Ok(object)
}
