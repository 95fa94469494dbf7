//! Parameters of `connect`, `invoke` and `Stream`, checked and refused in k6's words.

use std::sync::Arc;
use std::time::Duration;

use rquickjs::{Array, Ctx, Exception, Object, Value};

use super::super::own_tags;
use crate::load::client::Tls;
use crate::load::client::grpc::Metadata;
use crate::load::js::ffi::{buffer_bytes, view_bytes};
use crate::load::js::host::Host;
use crate::load::js::tagging::OwnTags;
use crate::load::options::{Network, TlsAuth, duration};

/// k6's default of `connect`.
const CONNECT_MAX: Duration = Duration::from_secs(60);

/// `connect(address, params)`.
pub(super) struct Connect {
    pub(super) plaintext: bool,
    pub(super) reflect: bool,
    pub(super) reflect_metadata: Metadata,
    pub(super) timeout: Duration,
    pub(super) receive_bytes_max: Option<usize>,
    pub(super) send_bytes_max: Option<usize>,
    pub(super) authority: Option<String>,
    /// Instead of the run's settings.
    pub(super) tls: Option<Tls>,
}

/// Params of a call.
#[derive(Default)]
pub(super) struct CallParams {
    pub(super) metadata: Metadata,
    pub(super) tags: OwnTags,
    pub(super) timeout: Option<Duration>,
    pub(super) discard: bool,
}

type Refusal = String;

impl Connect {
    pub(super) fn read<'js>(
        ctx: &Ctx<'js>,
        host: &Host,
        params: &Value<'js>,
    ) -> rquickjs::Result<Connect> {
        let mut read = Connect {
            plaintext: false,
            reflect: false,
            reflect_metadata: Metadata::new(),
            timeout: CONNECT_MAX,
            receive_bytes_max: None,
            send_bytes_max: None,
            authority: None,
            tls: None,
        };
        let Some(params) = params.as_object() else {
            return Ok(read);
        };
        for entry in params.props::<String, Value<'js>>() {
            let (key, value) = entry?;
            read.set(ctx, host, &key, &value)?.map_err(|text| {
                let text = format!("invalid grpc.connect() parameters: {text}");
                Exception::throw_message(ctx, &text)
            })?;
        }
        Ok(read)
    }

    fn set<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        host: &Host,
        key: &str,
        value: &Value<'js>,
    ) -> rquickjs::Result<Result<(), Refusal>> {
        let must_be = |what: &str| {
            let shown = shown(value);
            Ok(Err(format!(
                "invalid {key} value: '{shown}', it needs to be {what}"
            )))
        };
        match key {
            "plaintext" => match value.as_bool() {
                Some(is) => self.plaintext = is,
                None => return must_be("boolean"),
            },
            "reflect" => match value.as_bool() {
                Some(is) => self.reflect = is,
                None => return must_be("boolean"),
            },
            "reflectMetadata" => match metadata(ctx, value)? {
                Ok(metadata) => self.reflect_metadata = metadata,
                Err(text) => return Ok(Err(format!("invalid reflectMetadata param: {text}"))),
            },
            "timeout" => match time(value)? {
                Ok(time) => self.timeout = time,
                Err(text) => return Ok(Err(format!("invalid timeout value: {text}"))),
            },
            "maxReceiveSize" | "maxSendSize" => {
                let whole = value.as_number().filter(|size| size.fract() == 0.0);
                let Some(size) = whole else {
                    return must_be("an integer");
                };
                if size < 0.0 {
                    return must_be("a positive integer");
                }
                // 0 is the default.
                let size = (size > 0.0).then_some(size as usize);
                if key == "maxSendSize" {
                    self.send_bytes_max = size;
                } else {
                    self.receive_bytes_max = size;
                }
            }
            "authority" => match value.as_string() {
                Some(text) => self.authority = Some(text.to_string()?).filter(|t| !t.is_empty()),
                None => return must_be("a string"),
            },
            "tls" => match value.as_object() {
                Some(given) => match tls(host, given)? {
                    Ok(tls) => self.tls = Some(tls),
                    Err(text) => return Ok(Err(text)),
                },
                None => {
                    let text = "expected (optional) keys: cert, key, password, and cacerts";
                    let shown = shown(value);
                    return Ok(Err(format!("invalid tls value: '{shown}', {text}")));
                }
            },
            other => return Ok(Err(format!("unknown connect param: {other:?}"))),
        }
        Ok(Ok(()))
    }
}

impl CallParams {
    /// `what`: the words before a refusal.
    pub(super) fn read<'js>(
        ctx: &Ctx<'js>,
        params: &Value<'js>,
        what: &str,
    ) -> rquickjs::Result<CallParams> {
        let mut read = CallParams::default();
        let Some(params) = params.as_object() else {
            return Ok(read);
        };
        for entry in params.props::<String, Value<'js>>() {
            let (key, value) = entry?;
            let refused = match key.as_str() {
                "metadata" => match metadata(ctx, &value)? {
                    Ok(metadata) => {
                        read.metadata = metadata;
                        continue;
                    }
                    Err(text) => format!("invalid metadata param: {text}"),
                },
                "tags" => {
                    read.tags = own_tags(ctx, &value)?;
                    continue;
                }
                "timeout" => match time(&value)? {
                    Ok(time) => {
                        read.timeout = Some(time).filter(|time| !time.is_zero());
                        continue;
                    }
                    Err(text) => format!("invalid timeout value: {text}"),
                },
                "discardResponseMessage" => {
                    read.discard = value.get::<rquickjs::Coerced<bool>>()?.0;
                    continue;
                }
                other => format!("unknown param: {other:?}"),
            };
            let text = format!("invalid {what} parameters: {refused}");
            return Err(Exception::throw_message(ctx, &text));
        }
        Ok(read)
    }
}

/// Names to texts; those that end in `-bin` to bytes.
fn metadata<'js>(
    ctx: &Ctx<'js>,
    value: &Value<'js>,
) -> rquickjs::Result<Result<Metadata, Refusal>> {
    let mut metadata = Metadata::new();
    if value.is_null() || value.is_undefined() {
        return Ok(Ok(metadata));
    }
    let Some(object) = value.as_object().filter(|_| !value.is_array()) else {
        return Ok(Err("must be an object with key-value pairs".to_owned()));
    };
    for entry in object.props::<String, Value<'js>>() {
        let (name, value) = entry?;
        let bytes = if name.to_ascii_lowercase().ends_with("-bin") {
            match bytes(ctx, &value) {
                Some(bytes) => bytes,
                None => return Ok(Err(format!("{name:?} value must be binary"))),
            }
        } else {
            match value.as_string() {
                Some(text) => text.to_string()?.into_bytes(),
                None => return Ok(Err(format!("{name:?} value must be a string"))),
            }
        };
        metadata.push((name, bytes));
    }
    Ok(Ok(metadata))
}

fn bytes<'js>(_ctx: &Ctx<'js>, value: &Value<'js>) -> Option<Vec<u8>> {
    let object = value.as_object()?;
    if let Some(buffer) = object.as_array_buffer() {
        return Some(buffer_bytes(buffer));
    }
    view_bytes(object.as_typed_array::<u8>()?).ok()
}

/// Milliseconds, or a text like `1m30s`.
fn time(value: &Value<'_>) -> rquickjs::Result<Result<Duration, Refusal>> {
    let read = match (value.as_number(), value.as_string()) {
        (Some(ms), _) => duration::from_ms(ms),
        (_, Some(text)) => duration::parse(&text.to_string()?),
        _ => None,
    };
    Ok(read.ok_or_else(|| format!("'{}' is no duration", shown(value))))
}

/// `{cert, key, password, cacerts}`, all texts, the last also a list.
fn tls(host: &Host, given: &Object<'_>) -> rquickjs::Result<Result<Tls, Refusal>> {
    let text = |key: &str| -> rquickjs::Result<Result<Option<String>, Refusal>> {
        let value: Value<'_> = given.get(key)?;
        if value.is_undefined() {
            return Ok(Ok(None));
        }
        match value.as_string() {
            Some(text) => Ok(Ok(Some(text.to_string()?))),
            None => {
                let kind = if key == "password" {
                    "a"
                } else {
                    "a PEM formatted"
                };
                let shown = shown(&value);
                Ok(Err(format!(
                    "invalid tls {key} value: '{shown}', it needs to be {kind} string"
                )))
            }
        }
    };
    let (cert, key, password) = match (text("cert")?, text("key")?, text("password")?) {
        (Ok(cert), Ok(key), Ok(password)) => (cert, key, password),
        (Err(text), ..) | (_, Err(text), _) | (.., Err(text)) => return Ok(Err(text)),
    };
    let authorities: Value<'_> = given.get("cacerts")?;
    let authorities: Vec<String> = match (authorities.as_array(), authorities.as_string()) {
        (Some(list), _) => list_of_texts(list)?,
        (_, Some(text)) => vec![text.to_string()?],
        _ => Vec::new(),
    };
    let run = host.run.as_ref().expect("a VM that runs has its run");
    let settings = &run.shared.settings;
    let mut network: Network = (*settings.network).clone();
    if let (Some(cert), Some(key)) = (cert, key) {
        network.tls_auth = vec![TlsAuth {
            domains: Vec::new(),
            cert,
            key,
            password,
        }];
    }
    let tls = Tls::new(Arc::new(network), settings.insecure_skip_tls_verify);
    Ok(Ok(tls.with_anchors(&authorities)))
}

fn list_of_texts(list: &Array<'_>) -> rquickjs::Result<Vec<String>> {
    list.iter::<String>().collect()
}

/// A value in an error.
fn shown(value: &Value<'_>) -> String {
    value
        .get::<rquickjs::Coerced<String>>()
        .map_or_else(|_| value.type_name().to_owned(), |text| text.0)
}
