//! The hashes of `k6/crypto` behind one face, plain and as HMAC.

use hmac::{KeyInit, Mac, SimpleHmac};
use md4::Md4;
use md5::Md5;
use ripemd::Ripemd160;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::digest::block_api::BlockSizeUser;
use sha2::{Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

/// Named as k6 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Algorithm {
    Md4,
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    Sha512To224,
    Sha512To256,
    Ripemd160,
}

/// A hash under way; its sum may be taken at any time and changes nothing.
pub(in super::super) trait State {
    fn update(&mut self, data: &[u8]);
    fn sum(&self) -> Vec<u8>;
}

struct Plain<D>(D);

impl<D: Digest + Clone> State for Plain<D> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn sum(&self) -> Vec<u8> {
        self.0.clone().finalize().to_vec()
    }
}

struct Keyed<M>(M);

impl<M: Mac + Clone> State for Keyed<M> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn sum(&self) -> Vec<u8> {
        self.0.clone().finalize().into_bytes().to_vec()
    }
}

fn plain<D: Digest + Clone + 'static>() -> Box<dyn State> {
    Box::new(Plain(D::new()))
}

fn keyed<D>(key: &[u8]) -> Box<dyn State>
where
    D: Digest + BlockSizeUser + Clone + 'static,
{
    let mac = SimpleHmac::<D>::new_from_slice(key).expect("HMAC takes keys of any length");
    Box::new(Keyed(mac))
}

impl Algorithm {
    pub(in super::super) fn named(name: &str) -> Option<Algorithm> {
        Some(match name {
            "md4" => Algorithm::Md4,
            "md5" => Algorithm::Md5,
            "sha1" => Algorithm::Sha1,
            "sha256" => Algorithm::Sha256,
            "sha384" => Algorithm::Sha384,
            "sha512" => Algorithm::Sha512,
            "sha512_224" => Algorithm::Sha512To224,
            "sha512_256" => Algorithm::Sha512To256,
            "ripemd160" => Algorithm::Ripemd160,
            _ => return None,
        })
    }

    pub(in super::super) fn start(self) -> Box<dyn State> {
        match self {
            Algorithm::Md4 => plain::<Md4>(),
            Algorithm::Md5 => plain::<Md5>(),
            Algorithm::Sha1 => plain::<Sha1>(),
            Algorithm::Sha256 => plain::<Sha256>(),
            Algorithm::Sha384 => plain::<Sha384>(),
            Algorithm::Sha512 => plain::<Sha512>(),
            Algorithm::Sha512To224 => plain::<Sha512_224>(),
            Algorithm::Sha512To256 => plain::<Sha512_256>(),
            Algorithm::Ripemd160 => plain::<Ripemd160>(),
        }
    }

    pub(in super::super) fn start_keyed(self, key: &[u8]) -> Box<dyn State> {
        match self {
            Algorithm::Md4 => keyed::<Md4>(key),
            Algorithm::Md5 => keyed::<Md5>(key),
            Algorithm::Sha1 => keyed::<Sha1>(key),
            Algorithm::Sha256 => keyed::<Sha256>(key),
            Algorithm::Sha384 => keyed::<Sha384>(key),
            Algorithm::Sha512 => keyed::<Sha512>(key),
            Algorithm::Sha512To224 => keyed::<Sha512_224>(key),
            Algorithm::Sha512To256 => keyed::<Sha512_256>(key),
            Algorithm::Ripemd160 => keyed::<Ripemd160>(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    /// What the algorithms' own documents say of "abc": RFC 1320, 1321, FIPS 180-4, the RIPEMD page.
    #[test]
    fn published_digests_of_abc_come_out() {
        let published = [
            ("md4", "a448017aaf21d8525fc10ae87aa6729d"),
            ("md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "sha256",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                "sha384",
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
                 8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                "sha512",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (
                "sha512_224",
                "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa",
            ),
            (
                "sha512_256",
                "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
            ),
            ("ripemd160", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
        ];
        for (name, digest) in published {
            let mut state = Algorithm::named(name).expect("it is known").start();
            state.update(b"ab");
            state.update(b"c");
            assert_eq!(hex(&state.sum()), digest, "{name}");
        }
    }

    /// RFC 4231, test case 2; RFC 2202, test case 2.
    #[test]
    fn published_hmacs_come_out() {
        let published = [
            ("md5", "750c783e6ab0b503eaa86e310a5db738"),
            ("sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (
                "sha256",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                "sha384",
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
                 8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                "sha512",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ];
        for (name, digest) in published {
            let algorithm = Algorithm::named(name).expect("it is known");
            let mut state = algorithm.start_keyed(b"Jefe");
            state.update(b"what do ya want for nothing?");
            assert_eq!(hex(&state.sum()), digest, "{name}");
        }
    }
}
