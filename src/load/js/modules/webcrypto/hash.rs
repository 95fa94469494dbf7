//! The four hashes of the Web Crypto API, and what is made of them: digests, HMAC, PBKDF2.

use hmac::{KeyInit, Mac, SimpleHmac};
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::digest::block_api::BlockSizeUser;
use sha2::{Sha256, Sha384, Sha512};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// Runs generic code with the hash's type.
macro_rules! with_hash {
    ($hash:expr, $type:ident => $work:expr) => {
        match $hash {
            $crate::load::js::modules::webcrypto::hash::Hash::Sha1 => {
                type $type = ::sha1::Sha1;
                $work
            }
            $crate::load::js::modules::webcrypto::hash::Hash::Sha256 => {
                type $type = ::sha2::Sha256;
                $work
            }
            $crate::load::js::modules::webcrypto::hash::Hash::Sha384 => {
                type $type = ::sha2::Sha384;
                $work
            }
            $crate::load::js::modules::webcrypto::hash::Hash::Sha512 => {
                type $type = ::sha2::Sha512;
                $work
            }
        }
    };
}
pub(super) use with_hash;

fn mac<D: Digest + BlockSizeUser>(key: &[u8], data: &[u8]) -> SimpleHmac<D> {
    let mut mac = SimpleHmac::<D>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac
}

impl Hash {
    /// `subtle.js` has checked the name.
    pub(super) fn named(name: &str) -> Hash {
        match name {
            "SHA-1" => Hash::Sha1,
            "SHA-384" => Hash::Sha384,
            "SHA-512" => Hash::Sha512,
            _ => Hash::Sha256,
        }
    }

    pub(super) fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha1 => Sha1::digest(data).to_vec(),
            Hash::Sha256 => Sha256::digest(data).to_vec(),
            Hash::Sha384 => Sha384::digest(data).to_vec(),
            Hash::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    pub(super) fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        with_hash!(self, D => mac::<D>(key, data).finalize().into_bytes().to_vec())
    }

    pub(super) fn verify(self, key: &[u8], expected: &[u8], data: &[u8]) -> bool {
        with_hash!(self, D => mac::<D>(key, data).verify_slice(expected).is_ok())
    }

    pub(super) fn pbkdf2(self, password: &[u8], salt: &[u8], rounds: u32, out: &mut [u8]) {
        with_hash!(self, D => pbkdf2::pbkdf2_hmac::<D>(password, salt, rounds, out));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::crypto::hex;
    use super::*;

    /// RFC 6070, and the same for SHA-256.
    #[test]
    fn published_derivations_come_out() {
        let derived = |hash: Hash, rounds| {
            let mut out = [0; 20];
            hash.pbkdf2(b"password", b"salt", rounds, &mut out);
            hex(&out)
        };
        let wanted = "4b007901b765489abead49d926f721d065a429c1";
        assert_eq!(derived(Hash::Sha1, 4096), wanted);
        let wanted = "120fb6cffcf8b32c43e7225256c4f837a86548c9";
        assert_eq!(derived(Hash::Sha256, 1), wanted);
    }
}
