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

#[test]
fn text_is_encoded_and_decoded_whole_and_in_pieces() {
    checks(
        "",
        r#"
        encode: () => new TextEncoder().encode('aü€😀').join() === '97,195,188,226,130,172,240,159,152,128' && new TextEncoder().encoding === 'utf-8',
        into: () => { const to = new Uint8Array(4); const done = new TextEncoder().encodeInto('aü€', to); return done.read === 2 && done.written === 3; },
        decode: () => new TextDecoder().decode(new Uint8Array([97, 195, 188])) === 'aü' && new TextDecoder().decode() === '',
        lossy: () => new TextDecoder().decode(new Uint8Array([255, 97])) === '\ufffda',
        fatal: () => thrown(() => new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([255]))) === 'decoding text: invalid byte sequence',
        bom: () => new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 97])) === 'a'
          && new TextDecoder('utf-8', { ignoreBOM: true }).decode(new Uint8Array([0xef, 0xbb, 0xbf, 97])) === '\ufeffa',
        utf16: () => new TextDecoder('utf-16le').decode(new Uint8Array([97, 0, 0x3d, 0xd8, 0, 0xde])) === 'a😀'
          && new TextDecoder('UTF-16BE').encoding === 'utf-16be' && new TextDecoder('utf-16be').decode(new Uint8Array([0, 97])) === 'a',
        stream: () => { const d = new TextDecoder(); return d.decode(new Uint8Array([226, 130]), { stream: true }) === '' && d.decode(new Uint8Array([172])) === '€'; },
        label: () => thrown(() => new TextDecoder('koi8-r')) === 'unsupported encoding: koi8-r',
        lazy: () => typeof TextEncoder === 'function' && Object.keys(globalThis).includes('TextDecoder') === false,"#,
    );
}

/// A script whose checks are the members of what `body`, an async function's, returns.
#[track_caller]
fn async_checks(body: &str) {
    let script = format!(
        "import {{ check }} from 'k6';
         import {{ b64decode, b64encode }} from 'k6/encoding';
         const {{ subtle }} = crypto;
         const bytes = (text) => new TextEncoder().encode(text);
         const text = (data) => new TextDecoder().decode(data);
         const hex = (data) => [...new Uint8Array(data)].map((b) => b.toString(16).padStart(2, '0')).join('');
         const fails = (promise) => promise.then(() => 'no failure', (e) => e.name);
         export default async function () {{
           const seen = await (async () => {{ {body} }})();
           const held = Object.keys(seen).map((key) => [key, (s) => s[key] === true]);
           check(seen, Object.fromEntries(held));
         }}"
    );
    Script::new(&script).run().all_checks_pass();
}

#[test]
fn random_values_and_uuids_are_random() {
    checks(
        "",
        r#"
        same: () => { const a = new Uint32Array(8); return crypto.getRandomValues(a) === a; },
        values: () => crypto.getRandomValues(new Uint32Array(8)).some((n) => n > 255),
        uuid: () => /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()),
        differ: () => crypto.randomUUID() !== crypto.randomUUID(),
        type: () => thrown(() => crypto.getRandomValues(new Float32Array(1))) === "typedArray parameter isn't a TypedArray instance",
        quota: () => thrown(() => crypto.getRandomValues(new Uint8Array(65537))).includes('maximum length is 65536'),"#,
    );
}

#[test]
fn web_crypto_digests_encrypts_and_derives() {
    async_checks(
        r#"
        const data = bytes('what do ya want for nothing?');
        const seen = { digest: hex(await subtle.digest('sha-1', bytes('abc'))) === 'a9993e364706816aba3e25717850c26c9cd0d89d' };
        for (const name of ['AES-CBC', 'AES-CTR', 'AES-GCM']) {
          for (const length of [128, 192, 256]) {
            const key = await subtle.generateKey({ name, length }, true, ['encrypt', 'decrypt']);
            const how = { name, iv: crypto.getRandomValues(new Uint8Array(name === 'AES-GCM' ? 12 : 16)), counter: new Uint8Array(16), length: 64, additionalData: bytes('x') };
            const coded = await subtle.encrypt(how, key, data);
            seen[name + length] = text(await subtle.decrypt(how, key, coded)) === text(data)
              && coded.byteLength === { 'AES-CBC': 32, 'AES-CTR': 28, 'AES-GCM': 44 }[name];
          }
        }
        const jefe = await subtle.importKey('raw', bytes('Jefe'), { name: 'HMAC', hash: 'SHA-256' }, true, ['sign', 'verify']);
        const mac = await subtle.sign('HMAC', jefe, data);
        seen.hmac = hex(mac) === '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843';
        seen.verified = await subtle.verify('HMAC', jefe, mac, data);
        seen.refused = !(await subtle.verify('HMAC', jefe, mac, bytes('x')));
        const jwk = await subtle.exportKey('jwk', jefe);
        seen.jwk = jwk.kty === 'oct' && jwk.alg === 'HS256' && jwk.k === 'SmVmZQ' && jwk.ext === true && jwk.key_ops.join() === 'sign,verify';
        const again = await subtle.importKey('jwk', jwk, { name: 'HMAC', hash: { name: 'SHA-256' } }, true, ['sign']);
        seen.imported = hex(await subtle.sign({ name: 'hmac' }, again, data)) === hex(mac);
        const password = await subtle.importKey('raw', bytes('password'), 'PBKDF2', false, ['deriveBits', 'deriveKey']);
        const how = { name: 'PBKDF2', hash: 'SHA-1', salt: bytes('salt'), iterations: 4096 };
        seen.pbkdf2 = hex(await subtle.deriveBits(how, password, 160)) === '4b007901b765489abead49d926f721d065a429c1';
        const derived = await subtle.deriveKey(how, password, { name: 'AES-GCM', length: 128 }, true, ['encrypt']);
        seen.derived = hex(await subtle.exportKey('raw', derived)) === '4b007901b765489abead49d926f721d0';
        return seen;"#,
    );
}

#[test]
fn web_crypto_has_pairs_of_keys() {
    async_checks(
        r#"
        const seen = {}, data = bytes('message');
        for (const namedCurve of ['P-256', 'P-384', 'P-521']) {
          const size = { 'P-256': 32, 'P-384': 48, 'P-521': 66 }[namedCurve];
          const pair = await subtle.generateKey({ name: 'ECDSA', namedCurve }, true, ['sign', 'verify']);
          const how = { name: 'ECDSA', hash: 'SHA-256' };
          const mark = await subtle.sign(how, pair.privateKey, data);
          seen['ecdsa' + namedCurve] = mark.byteLength === 2 * size && await subtle.verify(how, pair.publicKey, mark, data);
          const jwk = await subtle.exportKey('jwk', pair.privateKey);
          const again = await subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve }, true, ['sign']);
          seen['jwk' + namedCurve] = jwk.crv === namedCurve && await subtle.verify(how, pair.publicKey, await subtle.sign(how, again, data), data);
          const spki = await subtle.importKey('spki', await subtle.exportKey('spki', pair.publicKey), { name: 'ECDSA', namedCurve }, true, ['verify']);
          const raw = await subtle.importKey('raw', await subtle.exportKey('raw', pair.publicKey), { name: 'ECDSA', namedCurve }, true, ['verify']);
          seen['forms' + namedCurve] = await subtle.verify(how, spki, mark, data) && await subtle.verify(how, raw, mark, data);
          const [a, b] = [await subtle.generateKey({ name: 'ECDH', namedCurve }, true, ['deriveBits', 'deriveKey']), await subtle.generateKey({ name: 'ECDH', namedCurve }, true, ['deriveBits'])];
          const one = await subtle.deriveBits({ name: 'ECDH', public: b.publicKey }, a.privateKey, size * 8 - size * 8 % 8);
          const other = await subtle.deriveBits({ name: 'ECDH', public: a.publicKey }, b.privateKey, null);
          seen['ecdh' + namedCurve] = hex(one) === hex(other) && one.byteLength === size && a.publicKey.usages.length === 0;
        }
        const base = { modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' };
        for (const [name, how] of [['RSASSA-PKCS1-v1_5', 'RSASSA-PKCS1-v1_5'], ['RSA-PSS', { name: 'RSA-PSS', saltLength: 32 }]]) {
          const pair = await subtle.generateKey({ ...base, name }, true, ['sign', 'verify']);
          const mark = await subtle.sign(how, pair.privateKey, data);
          const jwk = await subtle.exportKey('jwk', pair.publicKey);
          const again = await subtle.importKey('jwk', jwk, { name, hash: 'SHA-256' }, true, ['verify']);
          seen[name] = await subtle.verify(how, again, mark, data) && !(await subtle.verify(how, again, mark, bytes('x')))
            && again.algorithm.modulusLength === 1024 && again.type === 'public' && pair.privateKey.usages.join() === 'sign';
        }
        const pair = await subtle.generateKey({ ...base, name: 'RSA-OAEP' }, true, ['encrypt', 'decrypt']);
        const secret = await subtle.encrypt({ name: 'RSA-OAEP', label: bytes('l') }, pair.publicKey, data);
        const pkcs8 = await subtle.importKey('pkcs8', await subtle.exportKey('pkcs8', pair.privateKey), { name: 'RSA-OAEP', hash: 'SHA-256' }, false, ['decrypt']);
        seen.oaep = text(await subtle.decrypt({ name: 'RSA-OAEP', label: bytes('l') }, pkcs8, secret)) === 'message';
        return seen;"#,
    );
}

#[test]
fn web_crypto_fails_by_the_standard_s_names() {
    async_checks(
        r#"
        const key = await subtle.generateKey({ name: 'AES-GCM', length: 128 }, false, ['encrypt']);
        const iv = new Uint8Array(12);
        return {
          algorithm: await fails(subtle.digest('MD5', iv)) === 'NotSupportedError',
          length: await fails(subtle.generateKey({ name: 'AES-CBC', length: 100 }, true, ['encrypt'])) === 'OperationError',
          usage: await fails(subtle.generateKey({ name: 'AES-CBC', length: 128 }, true, ['sign'])) === 'SyntaxError',
          nousage: await fails(subtle.generateKey({ name: 'AES-CBC', length: 128 }, true, [])) === 'SyntaxError',
          extract: await fails(subtle.exportKey('raw', key)) === 'InvalidAccessError',
          decrypt: await fails(subtle.decrypt({ name: 'AES-GCM', iv }, key, iv)) === 'InvalidAccessError',
          other: await fails(subtle.encrypt({ name: 'AES-CBC', iv }, key, iv)) === 'InvalidAccessError',
          iv: await fails(subtle.encrypt({ name: 'AES-GCM', iv: new Uint8Array(3) }, key, iv)) === 'NotSupportedError',
          data: await fails(subtle.importKey('raw', iv, 'AES-CBC', true, ['encrypt'])) === 'DataError',
          jwk: await fails(subtle.importKey('jwk', { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' }, { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify'])) === 'DataError',
          curve: await fails(subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-1' }, true, ['sign'])) === 'NotSupportedError',
          forged: await fails(subtle.encrypt({ name: 'AES-GCM', iv }, { ...key }, iv)) === 'TypeError',
        };"#,
    );
}

#[test]
fn what_openssl_signed_and_encrypted_is_understood() {
    let script = include_str!("../data/openssl_rsa.json");
    async_checks(&format!(
        r#"
        const made = {script};
        const raw = (text) => b64decode(text, 'std');
        const data = bytes('dchat');
        const key = (name, usage) => subtle.importKey(usage === 'decrypt' ? 'pkcs8' : 'spki', raw(usage === 'decrypt' ? made.pkcs8 : made.spki), {{ name, hash: 'SHA-256' }}, true, [usage]);
        return {{
          pkcs1: await subtle.verify('RSASSA-PKCS1-v1_5', await key('RSASSA-PKCS1-v1_5', 'verify'), raw(made.pkcs1), data),
          pss: await subtle.verify({{ name: 'RSA-PSS', saltLength: 20 }}, await key('RSA-PSS', 'verify'), raw(made.pss), data),
          oaep: text(await subtle.decrypt('RSA-OAEP', await key('RSA-OAEP', 'decrypt'), raw(made.oaep))) === 'dchat',
          export: b64encode(await subtle.exportKey('pkcs8', await key('RSA-OAEP', 'decrypt'))) === made.pkcs8,
        }};"#
    ));
}

const SECRETS: &str = r#"
    import secrets from 'k6/secrets';
    import { check } from 'k6';
    const fails = (promise) => promise.then(() => 'no failure', (e) => e.message);
    export default async function () {
      const value = await secrets.get('password');
      console.log(`it is ${value}!`);
      console.error('object', { value });
      const seen = {
        value: value === 'hun' + 'ter2',
        source: (await secrets.source('mock').get('user')) === 'bob',
        missing: (await fails(secrets.get('none'))) === 'no value',
        unknown: (await fails(secrets.source('x').get('a'))) === 'no secret source with name "x" is configured',
      };
      check(seen, Object.fromEntries(Object.keys(seen).map((key) => [key, (s) => s[key]])));
      throw new Error(`wrong ${value}`);
    }"#;

#[test]
fn secrets_are_given_to_scripts_and_kept_out_of_logs() {
    for format in ["text", "json", "raw"] {
        let source = ["--secret-source", "mock=password=hunter2,user=bob"];
        let ran = Script::new(SECRETS)
            .args(source)
            .args(["--log-format", format]);
        let ran = ran.run().expect(0);
        assert_eq!(ran.metric("checks")["fails"], 0, "{}", ran.finished.stderr);
        assert_eq!(ran.metric("checks")["passes"], 4);
        let stderr = &ran.finished.stderr;
        assert!(!stderr.contains("hunter2"), "{stderr}");
        assert!(stderr.contains("it is ***SECRET_REDACTED***!"), "{stderr}");
        assert!(stderr.contains("wrong ***SECRET_REDACTED***"), "{stderr}");
    }
}

#[test]
fn secrets_come_from_files_and_addresses() {
    let script = r#"
        import secrets from 'k6/secrets';
        import { check } from 'k6';
        export default async function () {
          const file = await secrets.source('file').get('a');
          const twice = [await secrets.get('k'), await secrets.get('k')];
          check(null, { file: () => file === '1=2', url: () => twice.join() === 'from /s/k,from /s/k' });
          console.log(file, twice[0]);
        }"#;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/s/{{key}}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        // The first answer is one that is asked again for.
        for status in ["503 Busy", "200 OK"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            reader.read_line(&mut line).unwrap();
            while !line.ends_with("\r\n\r\n") {
                reader.read_line(&mut line).unwrap();
            }
            assert!(line.to_lowercase().contains("x-token: t"), "{line}");
            let path = line.split(' ').nth(1).unwrap();
            let body = format!(r#"{{"data":{{"v":"from {path}"}}}}"#);
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    let address = format!(
        "url=default,urlTemplate={url},headers.X-Token=t,responsePath=data.v,retryBackoff=10ms"
    );
    let ran = Script::new(script)
        .file("s.txt", "a=1=2\nb=x\n")
        .args(["--secret-source", "file=s.txt", "--secret-source", &address])
        .run()
        .all_checks_pass();
    server.join().unwrap();
    assert!(
        !ran.finished.stderr.contains("from /s/k"),
        "{}",
        ran.finished.stderr
    );
}

#[test]
fn wrong_secret_sources_stop_the_run() {
    for (source, says) in [
        ("vault=x", "no secret source for type \"vault\""),
        ("mock=x", "parsing \"x\", needs ="),
        ("file=none.txt", "none.txt"),
        ("url=method=GET", "urlTemplate is required"),
    ] {
        let script = Script::new("export default function () {}");
        script
            .args(["--secret-source", source])
            .run()
            .expect(255)
            .says(&[says]);
    }
    let script =
        "import s from 'k6/secrets'; export default async function () { await s.get('a'); }";
    Script::new(script)
        .run()
        .expect(0)
        .says(&["no secret sources are configured"]);
}

#[test]
fn certificates_say_what_openssl_wrote_into_them() {
    let certificates = include_str!("../data/certificates.json");
    checks(
        &format!(
            "import x509, {{ parse, getAltNames, getIssuer, getSubject }} from 'k6/crypto/x509';
             import {{ hexEncode }} from 'k6/crypto';
             const made = {certificates};"
        ),
        r#"
        subject: () => { const s = getSubject(made.rsa); return s.commonName === 'excouncil.com' && s.country === 'ZZ' && s.postalCode === '99999'
          && s.stateOrProvinceName === 'Kopuncezis' && s.localityName === 'Ashtinok' && s.streetAddress === '1 Way'
          && s.organizationName === 'Exumbran' && s.organizationalUnitName.join() === 'Plants,Roots'; },
        names: () => { const n = getSubject(made.rsa).names; return n.length === 9 && n[0].type === '2.5.4.6' && n[0].value === 'ZZ'; },
        issuer: () => getIssuer(made.rsa).commonName === 'excouncil.com' && getIssuer(made.rsa).postalCode === undefined,
        alt: () => getAltNames(made.rsa).join() === 'excouncil.com,a@b.c,127.0.0.1,::1,https://x.y/z' && getAltNames(made.ec).length === 0,
        times: () => parse(made.rsa).notBefore === '2026-11-23T13:37:47Z' && parse(made.rsa).notAfter === '2036-11-20T13:37:47Z',
        print: () => hexEncode(parse(made.rsa).fingerPrint) === '02733563de6cedd9f1c817d67a4bd49ec9f0ea42',
        algorithm: () => parse(made.rsa).signatureAlgorithm === 'SHA256-RSA' && parse(made.ec).signatureAlgorithm === 'ECDSA-SHA256',
        rsa: () => { const { algorithm, key } = x509.parse(made.rsa).publicKey; return algorithm === 'RSA' && key.e === 65537 && key.n.toString(16).startsWith('c992498ba8b0'); },
        ec: () => { const { algorithm, key } = parse(made.ec).publicKey; return algorithm === 'ECDSA' && key.curve === 'P-256' && typeof key.x === 'bigint'; },
        nothing: () => thrown(() => parse('x')) === 'failed to decode certificate PEM file',
        broken: () => thrown(() => parse(made.rsa.replace('MII', 'AAA'))).startsWith('failed to parse certificate'),"#,
    );
}
