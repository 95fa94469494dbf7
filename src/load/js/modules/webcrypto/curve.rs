//! ECDSA and ECDH on P-256, P-384 and P-521: keys in all forms, signatures as r and s one after
//! the other, as the Web Crypto API has them.

use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::elliptic_curve::Generate;
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};

use super::failure::Failure;
use super::key::{Form, Key};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

pub(super) enum EcPrivate {
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    P521(p521::SecretKey),
}

pub(super) enum EcPublic {
    P256(p256::PublicKey),
    P384(p384::PublicKey),
    P521(p521::PublicKey),
}

/// Runs code for the curve's crate and makes of its result a variant.
macro_rules! on_curve {
    ($curve:expr, $kind:ident, $crate_name:ident => $work:expr) => {
        match $curve {
            Curve::P256 => {
                use p256 as $crate_name;
                $work.map($kind::P256)
            }
            Curve::P384 => {
                use p384 as $crate_name;
                $work.map($kind::P384)
            }
            Curve::P521 => {
                use p521 as $crate_name;
                $work.map($kind::P521)
            }
        }
    };
}

/// Runs code with the key of whatever curve.
macro_rules! with_key {
    ($kind:ident, $value:expr, $key:ident, $crate_name:ident => $work:expr) => {
        match $value {
            $kind::P256($key) => {
                #[allow(unused_imports, reason = "not all code names the crate")]
                use p256 as $crate_name;
                $work
            }
            $kind::P384($key) => {
                #[allow(unused_imports, reason = "not all code names the crate")]
                use p384 as $crate_name;
                $work
            }
            $kind::P521($key) => {
                #[allow(unused_imports, reason = "not all code names the crate")]
                use p521 as $crate_name;
                $work
            }
        }
    };
}

impl Curve {
    /// `subtle.js` has checked the name.
    pub(super) fn named(name: &str) -> Curve {
        match name {
            "P-384" => Curve::P384,
            "P-521" => Curve::P521,
            _ => Curve::P256,
        }
    }

    fn field_bytes(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    /// Private and public.
    pub(super) fn generate(self) -> (Key, Key) {
        let private = match self {
            Curve::P256 => EcPrivate::P256(p256::SecretKey::generate()),
            Curve::P384 => EcPrivate::P384(p384::SecretKey::generate()),
            Curve::P521 => EcPrivate::P521(p521::SecretKey::generate()),
        };
        let public = private.public();
        (Key::EcPrivate(private), Key::EcPublic(public))
    }

    pub(super) fn import(self, form: Form, data: &[u8]) -> Result<Key, Failure> {
        let bad = || Failure::data("the key data is not of its format and curve");
        match form {
            Form::Raw => self.point(data),
            Form::Spki => {
                let key = on_curve!(self, EcPublic, c => c::PublicKey::from_public_key_der(data)
                    .map_err(|_| bad()));
                key.map(Key::EcPublic)
            }
            Form::Pkcs8 => {
                let key = on_curve!(self, EcPrivate, c => c::SecretKey::from_pkcs8_der(data)
                    .map_err(|_| bad()));
                key.map(Key::EcPrivate)
            }
        }
    }

    fn point(self, data: &[u8]) -> Result<Key, Failure> {
        let key = on_curve!(self, EcPublic, c => c::PublicKey::from_sec1_bytes(data)
            .map_err(|_| Failure::data("the key is no point of its curve")));
        key.map(Key::EcPublic)
    }

    /// From the members of a JSON Web Key.
    pub(super) fn assemble(self, x: &[u8], y: &[u8], d: Option<&[u8]>) -> Result<Key, Failure> {
        let mut point = vec![4];
        point.extend(self.padded(x)?);
        point.extend(self.padded(y)?);
        let public = self.point(&point)?;
        let Some(d) = d else { return Ok(public) };
        let d = self.padded(d)?;
        let private = on_curve!(self, EcPrivate, c => c::SecretKey::from_slice(&d)
            .map_err(|_| Failure::data("the private scalar is out of range")))?;
        if private.public().point() != point {
            return Err(Failure::data(
                "private and public parts don't belong together",
            ));
        }
        Ok(Key::EcPrivate(private))
    }

    /// With leading zeros to the field's length.
    fn padded(self, number: &[u8]) -> Result<Vec<u8>, Failure> {
        let Some(zeros) = self.field_bytes().checked_sub(number.len()) else {
            return Err(Failure::data("a coordinate is too long for its curve"));
        };
        let mut padded = vec![0; zeros];
        padded.extend_from_slice(number);
        Ok(padded)
    }
}

impl EcPrivate {
    fn public(&self) -> EcPublic {
        match self {
            EcPrivate::P256(key) => EcPublic::P256(key.public_key()),
            EcPrivate::P384(key) => EcPublic::P384(key.public_key()),
            EcPrivate::P521(key) => EcPublic::P521(key.public_key()),
        }
    }
}

impl EcPublic {
    /// Uncompressed: 4, x, y.
    fn point(&self) -> Vec<u8> {
        with_key!(EcPublic, self, key, _c => key.to_sec1_bytes().to_vec())
    }
}

fn wrong_key() -> Failure {
    Failure::access("the key is not of an elliptic curve, or not of the kind that is needed")
}

fn private(key: &Key) -> Result<&EcPrivate, Failure> {
    match key {
        Key::EcPrivate(key) => Ok(key),
        _ => Err(wrong_key()),
    }
}

fn public(key: &Key) -> Result<&EcPublic, Failure> {
    match key {
        Key::EcPublic(key) => Ok(key),
        _ => Err(wrong_key()),
    }
}

pub(super) fn export(key: &Key, form: Form) -> Result<Vec<u8>, Failure> {
    let failed = || Failure::operation("the key can't be encoded");
    match form {
        Form::Raw => Ok(public(key)?.point()),
        Form::Spki => with_key!(EcPublic, public(key)?, key, _c => {
            Ok(key.to_public_key_der().map_err(|_| failed())?.as_bytes().to_vec())
        }),
        Form::Pkcs8 => with_key!(EcPrivate, private(key)?, key, _c => {
            Ok(key.to_pkcs8_der().map_err(|_| failed())?.as_bytes().to_vec())
        }),
    }
}

/// x, y and, of a private key, d.
pub(super) fn parts(key: &Key) -> Result<Vec<Option<Vec<u8>>>, Failure> {
    let (point, scalar) = match key {
        Key::EcPublic(key) => (key.point(), None),
        Key::EcPrivate(key) => {
            let scalar = with_key!(EcPrivate, key, key, _c => key.to_bytes().to_vec());
            (key.public().point(), Some(scalar))
        }
        _ => return Err(wrong_key()),
    };
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    Ok(vec![Some(x.to_vec()), Some(y.to_vec()), scalar])
}

pub(super) fn sign(key: &Key, digest: &[u8]) -> Result<Vec<u8>, Failure> {
    with_key!(EcPrivate, private(key)?, key, c => {
        let key = c::ecdsa::SigningKey::from(key);
        let mark: Result<c::ecdsa::Signature, _> = key.sign_prehash(digest);
        let mark = mark.map_err(|_| Failure::operation("the data can't be signed"))?;
        Ok(mark.to_bytes().to_vec())
    })
}

/// A signature of the wrong length is a wrong signature.
pub(super) fn verify(key: &Key, digest: &[u8], mark: &[u8]) -> Result<bool, Failure> {
    with_key!(EcPublic, public(key)?, key, c => {
        let Ok(mark) = c::ecdsa::Signature::from_slice(mark) else {
            return Ok(false);
        };
        let key = c::ecdsa::VerifyingKey::from(key);
        Ok(key.verify_prehash(digest, &mark).is_ok())
    })
}

/// The x coordinate that both sides come to.
pub(super) fn agree(mine: &Key, theirs: &Key) -> Result<Vec<u8>, Failure> {
    Ok(match (private(mine)?, public(theirs)?) {
        (EcPrivate::P256(mine), EcPublic::P256(theirs)) => {
            mine.diffie_hellman(theirs).raw_secret_bytes().to_vec()
        }
        (EcPrivate::P384(mine), EcPublic::P384(theirs)) => {
            mine.diffie_hellman(theirs).raw_secret_bytes().to_vec()
        }
        (EcPrivate::P521(mine), EcPublic::P521(theirs)) => {
            mine.diffie_hellman(theirs).raw_secret_bytes().to_vec()
        }
        _ => return Err(Failure::access("the curves of the keys are not the same")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::crypto::hex;
    use super::super::hash::Hash;
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
        (0..text.len()).step_by(2).map(byte).collect()
    }

    /// RFC 6979, A.2.5: the deterministic signature of "sample" with SHA-256.
    #[test]
    fn published_signature_comes_out_and_holds() {
        let x = unhex("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6");
        let y = unhex("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299");
        let d = unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
        let private = Curve::P256.assemble(&x, &y, Some(&d)).expect("valid");
        let public = Curve::P256.assemble(&x, &y, None).expect("valid");
        let digest = Hash::Sha256.digest(b"sample");
        let mark = sign(&private, &digest).expect("valid");
        assert_eq!(
            hex(&mark),
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
             f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
        );
        assert_eq!(verify(&public, &digest, &mark), Ok(true));
        assert_eq!(verify(&public, &digest, &mark[1..]), Ok(false));
        assert!(Curve::P256.assemble(&y, &x, None).is_err(), "no point");
    }

    /// RFC 5903, 8.1 (NIST's P-256).
    #[test]
    fn published_agreement_comes_out() {
        let i = unhex("c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433");
        let mut theirs = vec![4];
        theirs.extend(unhex(
            "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63",
        ));
        theirs.extend(unhex(
            "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
        ));
        let private = Key::EcPrivate(EcPrivate::P256(
            p256::SecretKey::from_slice(&i).expect("in range"),
        ));
        let public = Curve::P256.import(Form::Raw, &theirs).expect("a point");
        assert_eq!(
            hex(&agree(&private, &public).expect("one curve")),
            "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"
        );
    }

    #[test]
    fn keys_survive_every_form_on_every_curve() {
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let (private, public) = curve.generate();
            for form in [Form::Raw, Form::Spki] {
                let data = export(&public, form).expect("exportable");
                let again = curve.import(form, &data).expect("valid");
                assert_eq!(parts(&again), parts(&public));
            }
            let data = export(&private, Form::Pkcs8).expect("exportable");
            let again = curve.import(Form::Pkcs8, &data).expect("valid");
            assert_eq!(parts(&again), parts(&private));
            let digest = Hash::Sha1.digest(b"short digests too");
            let mark = sign(&again, &digest).expect("valid");
            assert_eq!(verify(&public, &digest, &mark), Ok(true));
        }
    }
}
