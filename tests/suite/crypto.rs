//! `k6/crypto` and what is near it, as scripts see it.

use crate::support::*;

/// A script whose checks are `body`.
#[track_caller]
fn checks(imports: &str, body: &str) {
    let script = format!(
        "{imports}
         import {{ check }} from 'k6';
         const thrown = (call) => {{ try {{ call(); }} catch (e) {{ return e.message; }} return ''; }};
         export default function () {{ check(null, {{ {body} }}); }}"
    );
    Script::new(&script).run().all_checks_pass();
}

#[test]
fn base64_has_its_four_variants_and_both_results() {
    checks(
        "import encoding, { b64encode, b64decode } from 'k6/encoding';",
        r#"
        std: () => b64encode('hello world') === 'aGVsbG8gd29ybGQ=' && b64encode('hello world', 'rawstd') === 'aGVsbG8gd29ybGQ',
        url: () => b64encode(new Uint8Array([251, 255]), 'url') === '-_8=' && b64encode(new Uint8Array([251, 255]).buffer, 'rawurl') === '-_8',
        text: () => b64decode('aGVsbG8gd29ybGQ', 'rawstd', 's') === 'hello world' && b64decode('44GT', 'std', 's') === 'こ',
        buffer: () => new Uint8Array(b64decode('-_8=', 'url'))[1] === 255,
        module: () => encoding.b64encode('') === '' && encoding.b64decode('', 'std', 's') === '',
        broken: () => thrown(() => b64decode('aGVs!')) === 'illegal base64 data at input byte 4',
        type: () => thrown(() => b64encode(7)) === 'invalid type int64, expected string, []byte or ArrayBuffer',"#,
    );
}

#[test]
fn hashes_give_every_encoding_and_take_texts_and_bytes() {
    checks(
        "import crypto, { md5, sha1, sha256, hmac, createHash, createHMAC, randomBytes, hexEncode } from 'k6/crypto';",
        r#"
        hex: () => md5('abc', 'hex') === '900150983cd24fb0d6963f7d28e17f72',
        base64: () => sha1('abc', 'base64') === 'qZk+NkcGgWq6PiVxeFDCbJzQ2J0=',
        base64url: () => sha1('abc', 'base64url') === 'qZk-NkcGgWq6PiVxeFDCbJzQ2J0=',
        base64rawurl: () => sha1('abc', 'base64rawurl') === 'qZk-NkcGgWq6PiVxeFDCbJzQ2J0',
        binary: () => hexEncode(md5('abc', 'binary')) === '900150983cd24fb0d6963f7d28e17f72',
        bytes: () => sha256(new Uint8Array([97, 98, 99]), 'hex') === sha256('abc', 'hex'),
        unicode: () => md5('ü', 'hex') === 'c03410a5204b21cd8229ff754688d743' && md5('\ud800', 'hex') === md5('\ufffd', 'hex'),
        all: () => ['md4', 'md5', 'sha1', 'sha256', 'sha384', 'sha512', 'sha512_224', 'sha512_256', 'ripemd160']
          .map((name) => crypto[name]('x', 'binary').byteLength).join() === '16,16,20,32,48,64,28,32,20',
        hmac: () => hmac('md5', 'Jefe', 'what do ya want for nothing?', 'hex') === '750c783e6ab0b503eaa86e310a5db738',
        stepwise: () => { const h = createHash('sha1'); h.update('a'); h.update('bc'); return h.digest('hex') === sha1('abc', 'hex') && h.digest('hex') === sha1('abc', 'hex'); },
        keyed: () => { const h = createHMAC('sha256', 'k'); h.update('d'); return h.digest('base64') === hmac('sha256', 'k', 'd', 'base64'); },
        random: () => randomBytes(8).byteLength === 8 && hexEncode(randomBytes(8)) !== hexEncode(randomBytes(8)),
        size: () => thrown(() => randomBytes(0)) === 'invalid size' && thrown(() => randomBytes(-1)) === 'invalid size',
        algorithm: () => thrown(() => createHMAC('sha3', 'k')) === 'invalid algorithm: sha3',
        encoding: () => thrown(() => md5('x', 'utf8')) === 'invalid output encoding: utf8',
        type: () => thrown(() => md5({}, 'hex')) === 'md5 failed: invalid type map[string]interface {}, expected string, []byte or ArrayBuffer',
        stranger: () => thrown(() => createHash('md5').update.call({}, 'x')) !== '',"#,
    );
}

#[test]
fn modules_of_our_own_are_not_importable() {
    Script::new("import { parse } from 'dchat:selection'; export default function () {}")
        .run()
        .expect(107)
        .says(&["dchat:selection"]);
}
