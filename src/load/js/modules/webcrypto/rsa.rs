//! RSA: OAEP, PSS and PKCS #1 v1.5 signatures, keys in all forms.

use p256::elliptic_curve::common::getrandom::SysRng;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BoxedUint, Oaep, Pkcs1v15Sign, PrivateKey, Pss, PublicKey};

use super::failure::Failure;
use super::hash::{Hash, with_hash};
use super::key::{Form, Key};

/// Lengths of keys that are made here; longer ones take minutes.
const BITS: std::ops::RangeInclusive<usize> = 512..=8192;

/// Private and public.
pub(super) fn generate(bits: f64, exponent: &[u8]) -> Result<(Key, Key), Failure> {
    let bits = bits as usize;
    if !BITS.contains(&bits) || !bits.is_multiple_of(8) {
        let text = format!("invalid modulus length {bits}, should be 512 to 8192 in steps of 8");
        return Err(Failure::operation(&text));
    }
    let exponent = number(exponent);
    let private = PrivateKey::new_with_exp(&mut SysRng, bits, exponent);
    let private = private.map_err(|error| Failure::operation(&error.to_string()))?;
    let public = private.to_public_key();
    Ok((
        Key::RsaPrivate(Box::new(private)),
        Key::RsaPublic(Box::new(public)),
    ))
}

pub(super) fn import(form: Form, data: &[u8]) -> Result<Key, Failure> {
    let bad = |_| Failure::data("the key data is not an RSA key of its format");
    if form == Form::Pkcs8 {
        let key = PrivateKey::from_pkcs8_der(data).map_err(bad)?;
        return Ok(Key::RsaPrivate(Box::new(key)));
    }
    let key = PublicKey::from_public_key_der(data);
    let key = key.map_err(|_| Failure::data("the key data is not an RSA key of its format"))?;
    Ok(Key::RsaPublic(Box::new(key)))
}

pub(super) fn export(key: &Key, form: Form) -> Result<Vec<u8>, Failure> {
    let failed = || Failure::operation("the key can't be encoded");
    match (key, form) {
        (Key::RsaPrivate(key), Form::Pkcs8) => Ok(key
            .to_pkcs8_der()
            .map_err(|_| failed())?
            .as_bytes()
            .to_vec()),
        (Key::RsaPublic(key), Form::Spki) => {
            let data = key.to_public_key_der().map_err(|_| failed())?;
            Ok(data.as_bytes().to_vec())
        }
        _ => Err(wrong_key()),
    }
}

/// From n, e and, of a private key, d, p, q; what else a JSON Web Key has follows from them.
pub(super) fn from_parts(parts: &[Option<Vec<u8>>]) -> Result<Key, Failure> {
    let bad = |_| Failure::data("the numbers make no RSA key");
    let part = |at: usize| parts.get(at).and_then(Option::as_deref).map(number);
    let (Some(n), Some(e)) = (part(0), part(1)) else {
        return Err(Failure::data("modulus and exponent are required"));
    };
    let Some(d) = part(2) else {
        return Ok(Key::RsaPublic(Box::new(PublicKey::new(n, e).map_err(bad)?)));
    };
    let (Some(p), Some(q)) = (part(3), part(4)) else {
        return Err(Failure::data(
            "the prime factors of a private key are required",
        ));
    };
    let key = PrivateKey::from_components(n, e, d, vec![p, q]).map_err(bad)?;
    Ok(Key::RsaPrivate(Box::new(key)))
}

/// n, e and, of a private key, d, p, q, dp, dq, qi.
pub(super) fn parts(key: &Key) -> Result<Vec<Option<Vec<u8>>>, Failure> {
    match key {
        Key::RsaPublic(key) => Ok(vec![
            Some(trimmed(&key.n_bytes())),
            Some(trimmed(&key.e_bytes())),
        ]),
        Key::RsaPrivate(key) => {
            let bytes =
                |number: Option<&BoxedUint>| number.map(|number| trimmed(&number.to_be_bytes()));
            let [p, q] = key.primes() else {
                return Err(Failure::unsupported("keys of more than two primes"));
            };
            Ok(vec![
                Some(trimmed(&key.n_bytes())),
                Some(trimmed(&key.e_bytes())),
                bytes(Some(key.d())),
                bytes(Some(p)),
                bytes(Some(q)),
                bytes(key.dp()),
                bytes(key.dq()),
                bytes(key.crt_coefficient().as_ref()),
            ])
        }
        _ => Err(wrong_key()),
    }
}

pub(super) fn oaep(
    key: &Key,
    hash: Hash,
    label: &[u8],
    data: &[u8],
    encrypt: bool,
) -> Result<Vec<u8>, Failure> {
    let failed = |error: rsa::Error| Failure::operation(&error.to_string());
    with_hash!(hash, D => {
        let padding = Oaep::<D>::new_with_label(label);
        match (key, encrypt) {
            (Key::RsaPublic(key), true) => {
                key.encrypt(&mut SysRng, padding, data).map_err(failed)
            }
            (Key::RsaPrivate(key), false) => key.decrypt(padding, data).map_err(failed),
            _ => Err(wrong_key()),
        }
    })
}

/// PSS with a salt of that length, else PKCS #1 v1.5.
pub(super) fn sign(
    key: &Key,
    hash: Hash,
    salt: Option<f64>,
    data: &[u8],
) -> Result<Vec<u8>, Failure> {
    let Key::RsaPrivate(key) = key else {
        return Err(wrong_key());
    };
    let digest = hash.digest(data);
    let mark = with_hash!(hash, D => match salt {
        Some(salt) => {
            let padding = Pss::<D>::new_with_salt(salt as usize);
            key.sign_with_rng(&mut SysRng, padding, &digest)
        }
        None => key.sign_with_rng(&mut SysRng, Pkcs1v15Sign::new::<D>(), &digest),
    });
    mark.map_err(|error| Failure::operation(&error.to_string()))
}

pub(super) fn verify(
    key: &Key,
    hash: Hash,
    salt: Option<f64>,
    mark: &[u8],
    data: &[u8],
) -> Result<bool, Failure> {
    let Key::RsaPublic(key) = key else {
        return Err(wrong_key());
    };
    let digest = hash.digest(data);
    let held = with_hash!(hash, D => match salt {
        Some(salt) => key.verify(Pss::<D>::new_with_salt(salt as usize), &digest, mark),
        None => key.verify(Pkcs1v15Sign::new::<D>(), &digest, mark),
    });
    Ok(held.is_ok())
}

fn number(bytes: &[u8]) -> BoxedUint {
    BoxedUint::from_be_slice_vartime(bytes)
}

fn trimmed(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}

fn wrong_key() -> Failure {
    Failure::access("the key is not an RSA key of the kind that is needed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_every_form_and_signatures_hold() {
        let (private, public) = generate(1024.0, &[1, 0, 1]).expect("valid");
        let data = export(&private, Form::Pkcs8).expect("exportable");
        let again = import(Form::Pkcs8, &data).expect("valid");
        assert_eq!(parts(&again), parts(&private));
        let from_parts = from_parts(&parts(&private).expect("an RSA key")).expect("valid");
        assert_eq!(parts(&from_parts), parts(&private));
        let data = export(&public, Form::Spki).expect("exportable");
        let public = import(Form::Spki, &data).expect("valid");
        for salt in [None, Some(0.0), Some(32.0)] {
            let mark = sign(&from_parts, Hash::Sha256, salt, b"x").expect("valid");
            assert_eq!(verify(&public, Hash::Sha256, salt, &mark, b"x"), Ok(true));
            assert_eq!(verify(&public, Hash::Sha256, salt, &mark, b"y"), Ok(false));
        }
        let secret = oaep(&public, Hash::Sha1, b"l", b"text", true).expect("valid");
        let plain = oaep(&private, Hash::Sha1, b"l", &secret, false);
        assert_eq!(plain, Ok(b"text".to_vec()));
        let wrong = oaep(&private, Hash::Sha1, b"m", &secret, false);
        assert_eq!(wrong.expect_err("another label").name, "OperationError");
        assert!(generate(1e9, &[3]).is_err());
    }
}
