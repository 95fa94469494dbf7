//! Host side of `crypto.subtle`: keys stay here behind objects that scripts can't look into;
//! `subtle.js` has checked algorithms and usages before it calls.
//!
//! What takes long (RSA, PBKDF2) runs on a thread of tokio's blocking pool, a few at a time, and
//! settles a promise, so that neither other VUs nor this one's timers wait for it.

mod aes;
mod curve;
mod failure;
mod hash;
mod key;
mod rsa;

use std::rc::Rc;

use base64::Engine;
use rquickjs::convert::List;
use rquickjs::{ArrayBuffer, Ctx, Exception, IntoJs, Object, Value};
use tokio::sync::Semaphore;

use self::curve::Curve;
use self::failure::Failure;
use self::hash::Hash;
use self::key::{Form, Key};
use super::crypto::fill;
use super::encoding::RAW_URL;
use super::set;
use crate::load::js::events::Completion;
use crate::load::js::ffi::{Opaque, buffer_bytes};
use crate::load::js::host::Host;

/// Heavy computations of all VUs that run at the same time; the others wait their turn.
static LANES: Semaphore = Semaphore::const_new(4);

/// What a computation has made.
enum Made {
    Bytes(Vec<u8>),
    Pair(Box<(Key, Key)>),
}

/// An outcome on its way to a promise.
struct Outcome(Result<Made, Failure>);

impl Completion for Outcome {
    fn settle<'js>(self: Box<Self>, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self.0 {
            Ok(made) => made.into_js(ctx),
            Err(failure) => Ok(failure.object(ctx)?.into_value()),
        }
    }
}

impl<'js> IntoJs<'js> for Made {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self {
            Made::Bytes(bytes) => ArrayBuffer::new(ctx.clone(), bytes)?.into_js(ctx),
            Made::Pair(pair) => List((pair.0.wrap(ctx)?, pair.1.wrap(ctx)?)).into_js(ctx),
        }
    }
}

type Bytes<'js> = ArrayBuffer<'js>;

pub(super) fn install<'js>(part: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(part, "away", move || vm.running_side().is_some())?;
    set(
        part,
        "digest",
        |ctx: Ctx<'js>, hash: String, data: Bytes<'js>| {
            bytes(&ctx, Ok(Hash::named(&hash).digest(&buffer_bytes(&data))))
        },
    )?;
    set(part, "encode", |data: Bytes<'js>| {
        RAW_URL.encode(buffer_bytes(&data))
    })?;
    set(part, "decode", |ctx: Ctx<'js>, text: String| {
        let data = RAW_URL.decode(text.trim_end_matches('='));
        let data = data.map_err(|_| Failure::data("a member is not base64url"));
        bytes(&ctx, data)
    })?;
    set(part, "bits", |number: Bytes<'js>| {
        let number = buffer_bytes(&number);
        let zeros = number
            .first()
            .map_or(0, |first| first.leading_zeros() as usize);
        number.len() * 8 - zeros
    })?;
    keys(part)?;
    ciphers(part)?;
    curves(part)?;
    rsa_keys(part, host)?;
    rsa_use(part, host)?;
    derivation(part, host)
}

fn keys<'js>(part: &Object<'js>) -> rquickjs::Result<()> {
    set(part, "random", |ctx: Ctx<'js>, length: usize| {
        let mut random = vec![0; length.min(1 << 16)];
        fill(&ctx, &mut random)?;
        ArrayBuffer::new(ctx, random)
    })?;
    set(part, "secret", |ctx: Ctx<'js>, data: Bytes<'js>| {
        Key::Secret(buffer_bytes(&data)).wrap(&ctx)
    })?;
    set(part, "secretBytes", |ctx: Ctx<'js>, key: Value<'js>| {
        bytes(&ctx, lent(&key)?.secret().map(<[u8]>::to_vec))
    })?;
    set(part, "isPrivate", |key: Value<'js>| {
        Ok::<_, rquickjs::Error>(lent(&key)?.is_private())
    })
}

fn ciphers<'js>(part: &Object<'js>) -> rquickjs::Result<()> {
    let cbc = |ctx: Ctx<'js>, key: Value<'js>, iv: Bytes<'js>, data: Bytes<'js>, encrypt: bool| {
        let (key, iv, data) = (lent(&key)?, buffer_bytes(&iv), buffer_bytes(&data));
        let done = key
            .secret()
            .and_then(|key| aes::cbc(key, &iv, &data, encrypt));
        bytes(&ctx, done)
    };
    set(part, "aesCbc", cbc)?;
    let ctr =
        |ctx: Ctx<'js>, key: Value<'js>, counter: Bytes<'js>, length: f64, data: Bytes<'js>| {
            let (key, counter, data) = (lent(&key)?, buffer_bytes(&counter), buffer_bytes(&data));
            let done = key
                .secret()
                .and_then(|key| aes::ctr(key, &counter, length, data));
            bytes(&ctx, done)
        };
    set(part, "aesCtr", ctr)?;
    let gcm = |ctx: Ctx<'js>,
               key: Value<'js>,
               iv: Bytes<'js>,
               extra: Bytes<'js>,
               tag_bits: f64,
               data: Bytes<'js>,
               encrypt: bool| {
        let key = lent(&key)?;
        let call = aes::Gcm {
            iv: buffer_bytes(&iv),
            extra: buffer_bytes(&extra),
            tag_bits,
            encrypt,
        };
        let done = key
            .secret()
            .and_then(|key| call.run(key, buffer_bytes(&data)));
        bytes(&ctx, done)
    };
    set(part, "aesGcm", gcm)?;
    set(
        part,
        "hmac",
        |ctx: Ctx<'js>, hash: String, key: Value<'js>, data: Bytes<'js>| {
            let key = lent(&key)?;
            let mac = key
                .secret()
                .map(|key| Hash::named(&hash).hmac(key, &buffer_bytes(&data)));
            bytes(&ctx, mac)
        },
    )?;
    let verify =
        |ctx: Ctx<'js>, hash: String, key: Value<'js>, mac: Bytes<'js>, data: Bytes<'js>| {
            let key = lent(&key)?;
            let (mac, data) = (buffer_bytes(&mac), buffer_bytes(&data));
            let same = key
                .secret()
                .map(|key| Hash::named(&hash).verify(key, &mac, &data));
            value(&ctx, same)
        };
    set(part, "hmacVerify", verify)
}

fn curves<'js>(part: &Object<'js>) -> rquickjs::Result<()> {
    set(part, "ecGenerate", |ctx: Ctx<'js>, curve: String| {
        let (private, public) = Curve::named(&curve).generate();
        Made::Pair(Box::new((private, public))).into_js(&ctx)
    })?;
    let import = |ctx: Ctx<'js>, form: String, curve: String, data: Bytes<'js>| {
        let key = Curve::named(&curve).import(Form::named(&form), &buffer_bytes(&data));
        wrapped(&ctx, key)
    };
    set(part, "ecImport", import)?;
    let from_parts =
        |ctx: Ctx<'js>, curve: String, x: Bytes<'js>, y: Bytes<'js>, d: Option<Bytes<'js>>| {
            let d = d.map(|d| buffer_bytes(&d));
            let curve = Curve::named(&curve);
            wrapped(
                &ctx,
                curve.assemble(&buffer_bytes(&x), &buffer_bytes(&y), d.as_deref()),
            )
        };
    set(part, "ecFromParts", from_parts)?;
    set(
        part,
        "ecExport",
        |ctx: Ctx<'js>, form: String, key: Value<'js>| {
            bytes(&ctx, curve::export(&*lent(&key)?, Form::named(&form)))
        },
    )?;
    set(part, "ecParts", |ctx: Ctx<'js>, key: Value<'js>| {
        parts(&ctx, curve::parts(&*lent(&key)?))
    })?;
    set(
        part,
        "ecdsaSign",
        |ctx: Ctx<'js>, hash: String, key: Value<'js>, data: Bytes<'js>| {
            let digest = Hash::named(&hash).digest(&buffer_bytes(&data));
            bytes(&ctx, curve::sign(&*lent(&key)?, &digest))
        },
    )?;
    let verify =
        |ctx: Ctx<'js>, hash: String, key: Value<'js>, mark: Bytes<'js>, data: Bytes<'js>| {
            let digest = Hash::named(&hash).digest(&buffer_bytes(&data));
            value(
                &ctx,
                curve::verify(&*lent(&key)?, &digest, &buffer_bytes(&mark)),
            )
        };
    set(part, "ecdsaVerify", verify)?;
    set(
        part,
        "ecdh",
        |ctx: Ctx<'js>, private: Value<'js>, public: Value<'js>| {
            bytes(&ctx, curve::agree(&*lent(&private)?, &*lent(&public)?))
        },
    )
}

fn rsa_keys<'js>(part: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    let generate = move |ctx: Ctx<'js>, id: Option<u32>, bits: f64, exponent: Bytes<'js>| {
        let exponent = buffer_bytes(&exponent);
        heavy(&ctx, &vm, id, move || {
            let (private, public) = rsa::generate(bits, &exponent)?;
            Ok(Made::Pair(Box::new((private, public))))
        })
    };
    set(part, "rsaGenerate", generate)?;
    set(
        part,
        "rsaImport",
        |ctx: Ctx<'js>, form: String, data: Bytes<'js>| {
            wrapped(&ctx, rsa::import(Form::named(&form), &buffer_bytes(&data)))
        },
    )?;
    set(
        part,
        "rsaFromParts",
        |ctx: Ctx<'js>, parts: Vec<Option<Bytes<'js>>>| {
            let parts: Vec<Option<Vec<u8>>> = parts
                .iter()
                .map(|part| part.as_ref().map(buffer_bytes))
                .collect();
            wrapped(&ctx, rsa::from_parts(&parts))
        },
    )?;
    set(
        part,
        "rsaExport",
        |ctx: Ctx<'js>, form: String, key: Value<'js>| {
            bytes(&ctx, rsa::export(&*lent(&key)?, Form::named(&form)))
        },
    )?;
    set(part, "rsaParts", |ctx: Ctx<'js>, key: Value<'js>| {
        parts(&ctx, rsa::parts(&*lent(&key)?))
    })
}

fn rsa_use<'js>(part: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    let oaep = move |ctx: Ctx<'js>,
                     id: Option<u32>,
                     hash: String,
                     key: Value<'js>,
                     label: Bytes<'js>,
                     data: Bytes<'js>,
                     encrypt: bool| {
        let (key, label, data) = (lent(&key)?, buffer_bytes(&label), buffer_bytes(&data));
        heavy(&ctx, &vm, id, move || {
            rsa::oaep(&key, Hash::named(&hash), &label, &data, encrypt).map(Made::Bytes)
        })
    };
    set(part, "rsaOaep", oaep)?;
    let vm = host.clone();
    let sign = move |ctx: Ctx<'js>,
                     id: Option<u32>,
                     hash: String,
                     salt: Option<f64>,
                     key: Value<'js>,
                     data: Bytes<'js>| {
        let (key, data) = (lent(&key)?, buffer_bytes(&data));
        heavy(&ctx, &vm, id, move || {
            rsa::sign(&key, Hash::named(&hash), salt, &data).map(Made::Bytes)
        })
    };
    set(part, "rsaSign", sign)?;
    let verify = |ctx: Ctx<'js>,
                  hash: String,
                  salt: Option<f64>,
                  key: Value<'js>,
                  mark: Bytes<'js>,
                  data: Bytes<'js>| {
        let (mark, data) = (buffer_bytes(&mark), buffer_bytes(&data));
        let right = rsa::verify(&*lent(&key)?, Hash::named(&hash), salt, &mark, &data);
        value(&ctx, right)
    };
    set(part, "rsaVerify", verify)
}

fn derivation<'js>(part: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    let pbkdf2 = move |ctx: Ctx<'js>,
                       id: Option<u32>,
                       key: Value<'js>,
                       hash: String,
                       salt: Bytes<'js>,
                       rounds: f64,
                       length: usize| {
        let (key, salt) = (lent(&key)?, buffer_bytes(&salt));
        heavy(&ctx, &vm, id, move || {
            let mut out = vec![0; length.min(1 << 20)];
            Hash::named(&hash).pbkdf2(key.secret()?, &salt, rounds as u32, &mut out);
            Ok(Made::Bytes(out))
        })
    };
    set(part, "pbkdf2", pbkdf2)
}

/// With an id, on another thread, to settle the promise of that id; without, here and now.
fn heavy<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    id: Option<u32>,
    work: impl FnOnce() -> Result<Made, Failure> + Send + 'static,
) -> rquickjs::Result<Value<'js>> {
    let Some(id) = id else {
        let made = host.suspender.on_large_stack(work);
        return value(ctx, made);
    };
    let vm = host.clone();
    let task = tokio::task::spawn_local(async move {
        let _turn = LANES.acquire().await;
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.unwrap_or_else(|_| Err(Failure::operation("the computation failed")));
        vm.events.complete(id, Box::new(Outcome(done)));
        vm.suspender.wake();
    });
    host.events.begin(id, task.abort_handle());
    host.events.keep_group(id, &host.tagging);
    Ok(Value::new_undefined(ctx.clone()))
}

fn lent(key: &Value<'_>) -> rquickjs::Result<std::sync::Arc<Key>> {
    Opaque::lend(key, std::sync::Arc::clone)
}

fn wrapped<'js>(ctx: &Ctx<'js>, key: Result<Key, Failure>) -> rquickjs::Result<Value<'js>> {
    match key {
        Ok(key) => key.wrap(ctx),
        Err(failure) => Err(failure.throw(ctx)),
    }
}

fn bytes<'js>(ctx: &Ctx<'js>, made: Result<Vec<u8>, Failure>) -> rquickjs::Result<Value<'js>> {
    value(ctx, made.map(Made::Bytes))
}

fn value<'js, T: IntoJs<'js>>(
    ctx: &Ctx<'js>,
    made: Result<T, Failure>,
) -> rquickjs::Result<Value<'js>> {
    match made {
        Ok(made) => made.into_js(ctx),
        Err(failure) => Err(failure.throw(ctx)),
    }
}

/// Members of a JSON Web Key; one that is absent is undefined.
fn parts<'js>(
    ctx: &Ctx<'js>,
    parts: Result<Vec<Option<Vec<u8>>>, Failure>,
) -> rquickjs::Result<Value<'js>> {
    let parts = parts.map_err(|failure| failure.throw(ctx))?;
    let array = rquickjs::Array::new(ctx.clone())?;
    for (at, part) in parts.into_iter().enumerate() {
        let part = part
            .map(|part| ArrayBuffer::new(ctx.clone(), part))
            .transpose()?;
        array.set(at, part)?;
    }
    array.into_js(ctx)
}

impl Failure {
    fn object<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
        let error = Exception::from_message(ctx.clone(), &self.message)?.into_object();
        error.set("name", self.name)?;
        Ok(error)
    }

    fn throw(&self, ctx: &Ctx<'_>) -> rquickjs::Error {
        match self.object(ctx) {
            Ok(object) => ctx.throw(object.into_value()),
            Err(error) => error,
        }
    }
}
