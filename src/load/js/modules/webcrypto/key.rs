//! Keys of `crypto.subtle`, behind objects that scripts can only hand back.

use std::sync::Arc;

use rquickjs::{Ctx, Value};

use super::curve::{EcPrivate, EcPublic};
use super::failure::Failure;
use crate::load::js::ffi::Opaque;

pub(super) enum Key {
    Secret(Vec<u8>),
    EcPrivate(EcPrivate),
    EcPublic(EcPublic),
    RsaPrivate(Box<rsa::PrivateKey>),
    RsaPublic(Box<rsa::PublicKey>),
}

impl Key {
    /// Shared, because computations on other threads use it too.
    pub(super) fn wrap<'js>(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        Opaque::wrap(ctx, Arc::new(self))
    }

    pub(super) fn secret(&self) -> Result<&[u8], Failure> {
        match self {
            Key::Secret(bytes) => Ok(bytes),
            _ => Err(Failure::access("the key is not a secret key")),
        }
    }

    pub(super) fn is_private(&self) -> bool {
        matches!(self, Key::EcPrivate(_) | Key::RsaPrivate(_))
    }
}

/// Binary forms of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Raw,
    /// RFC 5280's SubjectPublicKeyInfo.
    Spki,
    /// RFC 5208's PrivateKeyInfo.
    Pkcs8,
}

impl Form {
    /// `subtle.js` has checked the name.
    pub(super) fn named(name: &str) -> Form {
        match name {
            "spki" => Form::Spki,
            "pkcs8" => Form::Pkcs8,
            _ => Form::Raw,
        }
    }
}
