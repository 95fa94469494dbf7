//! AES in the three modes of the Web Crypto API, with keys of 128, 192 and 256 bits.

use ::aes::cipher::block_padding::Pkcs7;
use ::aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser,
    KeyInit, KeyIvInit, StreamCipher,
};
use ::aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::{U12, U13, U14, U15, U16};
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{AesGcm, TagSize};

use super::failure::Failure;

const BLOCK_BYTES: usize = 16;

/// Runs generic code with the cipher of the key's length.
macro_rules! with_cipher {
    ($key:expr, $type:ident => $work:expr) => {
        match $key.len() {
            16 => {
                type $type = Aes128;
                $work
            }
            24 => {
                type $type = Aes192;
                $work
            }
            _ => {
                type $type = Aes256;
                $work
            }
        }
    };
}

pub(super) fn cbc(key: &[u8], iv: &[u8], data: &[u8], encrypt: bool) -> Result<Vec<u8>, Failure> {
    if iv.len() != BLOCK_BYTES {
        return Err(Failure::operation(
            "iv length is invalid, should be 16 bytes",
        ));
    }
    with_cipher!(key, C => if encrypt {
        cbc_encrypt::<C>(key, iv, data)
    } else {
        cbc_decrypt::<C>(key, iv, data)
    })
}

fn cbc_encrypt<C>(key: &[u8], iv: &[u8], data: &[u8]) -> Result<Vec<u8>, Failure>
where
    C: BlockCipherEncrypt + KeyInit,
{
    let mode = ::cbc::Encryptor::<C>::new_from_slices(key, iv).map_err(|_| bad_key())?;
    let mut out = vec![0; (data.len() / BLOCK_BYTES + 1) * BLOCK_BYTES];
    mode.encrypt_padded_b2b::<Pkcs7>(data, &mut out)
        .map_err(|_| Failure::operation("could not pad plaintext"))?;
    Ok(out)
}

fn cbc_decrypt<C>(key: &[u8], iv: &[u8], data: &[u8]) -> Result<Vec<u8>, Failure>
where
    C: BlockCipherDecrypt + KeyInit,
{
    let mode = ::cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| bad_key())?;
    let mut out = vec![0; data.len()];
    let length = mode
        .decrypt_padded_b2b::<Pkcs7>(data, &mut out)
        .map_err(|_| Failure::operation("invalid padding"))?
        .len();
    out.truncate(length);
    Ok(out)
}

/// Encrypting and decrypting are the same. The counter is the last `length` bits of the block and
/// wraps within them.
pub(super) fn ctr(
    key: &[u8],
    counter: &[u8],
    length: f64,
    mut data: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let Ok(block) = <[u8; BLOCK_BYTES]>::try_from(counter) else {
        return Err(Failure::operation(
            "counter length is invalid, should be 16 bytes",
        ));
    };
    if !(1.0..=128.0).contains(&length) {
        return Err(Failure::operation(
            "invalid length, should be within 1 <= length <= 128 bounds",
        ));
    }
    let start = u128::from_be_bytes(block);
    let mask = u128::MAX >> (128 - length as u32);
    let blocks = data.len().div_ceil(BLOCK_BYTES) as u128;
    if blocks > mask.saturating_add(1) {
        return Err(Failure::operation(
            "the data is longer than the counter counts",
        ));
    }
    // Blocks until the counter begins anew.
    let until_wrap = (mask - (start & mask)).saturating_add(1);
    let at = usize::try_from(until_wrap).map_or(data.len(), |blocks| {
        blocks.saturating_mul(BLOCK_BYTES).min(data.len())
    });
    let (before, after) = data.split_at_mut(at);
    with_cipher!(key, C => {
        ctr_run::<C>(key, start, before)?;
        ctr_run::<C>(key, start & !mask, after)?;
    });
    Ok(data)
}

fn ctr_run<C>(key: &[u8], start: u128, data: &mut [u8]) -> Result<(), Failure>
where
    C: BlockCipherEncrypt + KeyInit + BlockSizeUser<BlockSize = U16>,
{
    let mode = ::ctr::Ctr128BE::<C>::new_from_slices(key, &start.to_be_bytes());
    mode.map_err(|_| bad_key())?.apply_keystream(data);
    Ok(())
}

/// One call of AES-GCM.
pub(super) struct Gcm {
    pub(super) iv: Vec<u8>,
    pub(super) extra: Vec<u8>,
    pub(super) tag_bits: f64,
    pub(super) encrypt: bool,
}

impl Gcm {
    pub(super) fn run(&self, key: &[u8], data: Vec<u8>) -> Result<Vec<u8>, Failure> {
        with_cipher!(key, C => match self.tag_bits {
            96.0 => self.sized::<C, U12>(key, &data),
            104.0 => self.sized::<C, U13>(key, &data),
            112.0 => self.sized::<C, U14>(key, &data),
            120.0 => self.sized::<C, U15>(key, &data),
            128.0 => self.sized::<C, U16>(key, &data),
            _ => Err(Failure::operation("invalid tag length, should be 96, 104, 112, 120 or 128")),
        })
    }

    fn sized<C, T>(&self, key: &[u8], data: &[u8]) -> Result<Vec<u8>, Failure>
    where
        C: BlockCipherEncrypt + KeyInit + BlockSizeUser<BlockSize = U16>,
        T: TagSize,
    {
        match self.iv.len() {
            12 => self.with_nonce::<C, U12, T>(key, data),
            16 => self.with_nonce::<C, U16, T>(key, data),
            _ => Err(Failure::unsupported("iv must be of 12 or 16 bytes")),
        }
    }

    fn with_nonce<C, N, T>(&self, key: &[u8], data: &[u8]) -> Result<Vec<u8>, Failure>
    where
        C: BlockCipherEncrypt + KeyInit + BlockSizeUser<BlockSize = U16>,
        N: aes_gcm::aead::array::ArraySize,
        T: TagSize,
    {
        let mode = AesGcm::<C, N, T>::new_from_slice(key).map_err(|_| bad_key())?;
        let nonce = self.iv.as_slice().try_into();
        let nonce: aes_gcm::aead::array::Array<u8, N> = nonce.map_err(|_| bad_key())?;
        let payload = Payload {
            msg: data,
            aad: &self.extra,
        };
        let done = if self.encrypt {
            mode.encrypt(&nonce, payload)
        } else {
            mode.decrypt(&nonce, payload)
        };
        done.map_err(|_| Failure::operation("could not authenticate the data"))
    }
}

fn bad_key() -> Failure {
    Failure::operation("could not create cipher")
}

#[cfg(test)]
mod tests {
    use super::super::super::crypto::hex;
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
        let byte = |pair: &[char]| {
            let pair: String = pair.iter().collect();
            u8::from_str_radix(&pair, 16).expect("hexadecimal digits")
        };
        digits.chunks(2).map(byte).collect()
    }

    /// NIST SP 800-38A, F.2.1, F.2.3, F.2.5: first block.
    #[test]
    fn published_vectors_of_cbc_come_out() {
        let iv = unhex("000102030405060708090a0b0c0d0e0f");
        let plain = unhex("6bc1bee22e409f96e93d7e117393172a");
        let vectors = [
            (
                "2b7e151628aed2a6abf7158809cf4f3c",
                "7649abac8119b246cee98e9b12e9197d",
            ),
            (
                "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
                "4f021db243bc633d7178183a9fa071e8",
            ),
            (
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                "f58c4c04d6e5f1ba779eabfb5f7bfbd6",
            ),
        ];
        for (key, first) in vectors {
            let key = unhex(key);
            let coded = cbc(&key, &iv, &plain, true).expect("valid");
            assert_eq!(hex(&coded[..16]), first);
            assert_eq!(cbc(&key, &iv, &coded, false).expect("valid"), plain);
        }
        let broken = cbc(&[0; 16], &iv, &[0; 16], false).expect_err("no padding");
        assert_eq!(broken.name, "OperationError");
    }

    /// NIST SP 800-38A, F.5.1.
    #[test]
    fn published_vector_of_ctr_comes_out() {
        let key = unhex("2b7e151628aed2a6abf7158809cf4f3c");
        let counter = unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let plain = unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let coded = ctr(&key, &counter, 64.0, plain.clone()).expect("valid");
        let wanted = "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff";
        assert_eq!(hex(&coded), wanted);
        assert_eq!(ctr(&key, &counter, 64.0, coded).expect("valid"), plain);
    }

    #[test]
    fn counter_wraps_within_its_bits() {
        let key = [7; 16];
        let mut counter = [1; 16];
        counter[15] = 0xff;
        let two = ctr(&key, &counter, 8.0, vec![0; 32]).expect("valid");
        counter[15] = 0;
        let second = ctr(&key, &counter, 8.0, vec![0; 16]).expect("valid");
        assert_eq!(two[16..], second);
        assert!(ctr(&key, &counter, 1.0, vec![0; 48]).is_err());
    }

    /// The GCM specification's test cases 4 and 16.
    #[test]
    fn published_vectors_of_gcm_come_out() {
        let plain = unhex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let call = |encrypt| Gcm {
            iv: unhex("cafebabefacedbaddecaf888"),
            extra: unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
            tag_bits: 128.0,
            encrypt,
        };
        let key = "feffe9928665731c6d6a8f9467308308";
        let vectors = [
            (key.to_owned(), "5bc94fbc3221a5db94fae95ae7121a47"),
            (key.repeat(2), "76fc6ece0f4e1768cddf8853bb2d551b"),
        ];
        for (key, tag) in vectors {
            let key = unhex(&key);
            let mut coded = call(true).run(&key, plain.clone()).expect("valid");
            assert_eq!(hex(&coded[plain.len()..]), tag);
            assert_eq!(call(false).run(&key, coded.clone()).expect("valid"), plain);
            coded[0] ^= 1;
            let refused = call(false).run(&key, coded).expect_err("it was changed");
            assert_eq!(refused.name, "OperationError");
        }
    }
}
