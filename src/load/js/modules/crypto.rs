//! Host side of the module `k6/crypto`: hashes, HMAC, random bytes, and the encodings of their
//! results.

pub(super) mod hash;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use base64::Engine;
use rquickjs::{ArrayBuffer, Ctx, Exception, IntoJs, Object, Value};

use self::hash::{Algorithm, State};
use super::bytes::bytes_of;
use super::{encoding, set};
use crate::load::js::ffi::Opaque;
use crate::load::js::host::Host;

/// Most random bytes of one call: a VU's memory is limited anyway.
const RANDOM_BYTES_MAX: usize = 256 << 20;

/// A hash that a script feeds.
struct Hasher(RefCell<Box<dyn State>>);

pub(super) fn install<'js>(part: &Object<'js>, _host: &Rc<Host>) -> rquickjs::Result<()> {
    let hash = |ctx: Ctx<'js>, name: String, input: Value<'js>, encoding: String| {
        let mut state = algorithm(&ctx, &name)?.start();
        let data = bytes_of(&ctx, &input).map_err(|_| failed(&ctx, &name))?;
        state.update(&data);
        encode(&ctx, state.sum(), &encoding)
    };
    set(part, "hash", hash)?;
    let hmac = |ctx: Ctx<'js>, name: String, key: Value<'js>, input: Value<'js>, out: String| {
        let mut state = algorithm(&ctx, &name)?.start_keyed(&bytes_of(&ctx, &key)?);
        state.update(&bytes_of(&ctx, &input)?);
        encode(&ctx, state.sum(), &out)
    };
    set(part, "hmac", hmac)?;
    set(part, "start", |ctx: Ctx<'js>, name: String| {
        let state = algorithm(&ctx, &name)?.start();
        Opaque::wrap(&ctx, Hasher(RefCell::new(state)))
    })?;
    let start_keyed = |ctx: Ctx<'js>, name: String, key: Value<'js>| {
        let state = algorithm(&ctx, &name)?.start_keyed(&bytes_of(&ctx, &key)?);
        Opaque::wrap(&ctx, Hasher(RefCell::new(state)))
    };
    set(part, "startKeyed", start_keyed)?;
    let update = |ctx: Ctx<'js>, hasher: Value<'js>, input: Value<'js>| {
        let data = bytes_of(&ctx, &input)?;
        Opaque::lend(&hasher, |Hasher(state)| state.borrow_mut().update(&data))
    };
    set(part, "update", update)?;
    // The state stays: a script may go on with `update`, as in k6.
    let digest = |ctx: Ctx<'js>, hasher: Value<'js>, encoding: String| {
        let sum = Opaque::lend(&hasher, |Hasher(state)| state.borrow().sum())?;
        encode(&ctx, sum, &encoding)
    };
    set(part, "digest", digest)?;
    set(part, "random", |ctx: Ctx<'js>, size: i64| {
        let bytes = random(&ctx, size)?;
        ArrayBuffer::new(ctx.clone(), bytes)
    })?;
    set(part, "hex", |ctx: Ctx<'js>, data: Value<'js>| {
        Ok::<_, rquickjs::Error>(hex(&bytes_of(&ctx, &data)?))
    })
}

fn algorithm(ctx: &Ctx<'_>, name: &str) -> rquickjs::Result<Algorithm> {
    Algorithm::named(name)
        .ok_or_else(|| Exception::throw_message(ctx, &format!("invalid algorithm: {name}")))
}

/// Puts the hash's name before the message of what was thrown.
fn failed(ctx: &Ctx<'_>, name: &str) -> rquickjs::Error {
    let thrown = ctx.catch();
    let message = thrown.as_exception().and_then(|thrown| thrown.message());
    let text = format!("{name} failed: {}", message.unwrap_or_default());
    Exception::throw_message(ctx, &text)
}

fn encode<'js>(ctx: &Ctx<'js>, sum: Vec<u8>, encoding: &str) -> rquickjs::Result<Value<'js>> {
    match encoding {
        "hex" => hex(&sum).into_js(ctx),
        "base64" => encoding::STD.encode(sum).into_js(ctx),
        "base64url" => encoding::URL.encode(sum).into_js(ctx),
        "base64rawurl" => encoding::RAW_URL.encode(sum).into_js(ctx),
        "binary" => ArrayBuffer::new(ctx.clone(), sum)?.into_js(ctx),
        _ => {
            let text = format!("invalid output encoding: {encoding}");
            Err(Exception::throw_message(ctx, &text))
        }
    }
}

fn random(ctx: &Ctx<'_>, size: i64) -> rquickjs::Result<Vec<u8>> {
    let size = usize::try_from(size).unwrap_or(0);
    if size == 0 {
        return Err(Exception::throw_message(ctx, "invalid size"));
    }
    if size > RANDOM_BYTES_MAX {
        let text = format!("invalid size: {size} is more than {RANDOM_BYTES_MAX} bytes");
        return Err(Exception::throw_range(ctx, &text));
    }
    let mut bytes = vec![0; size];
    fill(ctx, &mut bytes)?;
    Ok(bytes)
}

/// Fills with the system's random bytes.
pub(super) fn fill(ctx: &Ctx<'_>, bytes: &mut [u8]) -> rquickjs::Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        let text = format!("the system has no random bytes: {error}");
        Exception::throw_message(ctx, &text)
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes what is written");
    }
    text
}
