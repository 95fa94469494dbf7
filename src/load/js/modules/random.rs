//! Host side of the global `crypto`, without `crypto.subtle`: random bytes and UUIDs.

use std::rc::Rc;

use rquickjs::{ArrayBuffer, Ctx, Object};

use super::crypto::fill;
use super::set;
use crate::load::js::host::Host;

pub(super) fn install<'js>(part: &Object<'js>, _host: &Rc<Host>) -> rquickjs::Result<()> {
    part.set("complete", cfg!(feature = "webcrypto"))?;
    // The caller has checked the length.
    set(part, "bytes", |ctx: Ctx<'js>, length: usize| {
        let mut bytes = vec![0; length];
        fill(&ctx, &mut bytes)?;
        ArrayBuffer::new(ctx, bytes)
    })?;
    set(part, "uuid", |ctx: Ctx<'js>| {
        let mut bytes = [0; 16];
        fill(&ctx, &mut bytes)?;
        let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
        Ok::<_, rquickjs::Error>(uuid.hyphenated().to_string())
    })
}
