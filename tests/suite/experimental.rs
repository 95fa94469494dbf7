//! `k6/experimental/{fs,csv,streams}` as k6 documents them.

use crate::support::script::{Ran, Script};
use crate::support::*;

const CSV: &str = "name,age\nada,36\ngrace,\"8\n5\"\nalan,41\n";

/// Runs one iteration of two VUs whose checks must all pass.
#[track_caller]
fn all_pass(text: &str) -> Ran {
    let ran = Script::new(text)
        .file("people.csv", CSV)
        .args(["-u", "2", "-i", "2"])
        .run()
        .expect(0);
    let checks = ran.metric("checks");
    check(checks["fails"] == 0 && checks["passes"] != 0, || {
        format!("{}\n{}", ran.finished.stdout, ran.finished.stderr)
    });
    check(!ran.finished.stderr.contains("level=error"), || {
        ran.finished.stderr.clone()
    });
    ran
}

#[test]
fn files_are_read_and_sought_piece_by_piece() {
    all_pass(
        r#"
        import { open, SeekMode } from 'k6/experimental/fs';
        import { check } from 'k6';
        const file = await open('./people.csv');
        const refused = async (promise) => { try { await promise; } catch (e) { return `${e.name}: ${e.message}`; } };
        const none = await refused(open('nowhere.txt'));
        const folder = await refused(open('.'));
        const text = (bytes) => String.fromCharCode(...bytes);
        export default async function () {
          check(none, { missing: (t) => t.startsWith('NotFoundError: no such file or directory') });
          check(folder, { folder: (t) => t.startsWith('InvalidResourceError: cannot open') });
          check(await file.stat(), { stat: (s) => s.name === 'people.csv' && s.size === 36 });
          await file.seek(0, SeekMode.Start);
          const buffer = new Uint8Array(9);
          check([await file.read(buffer), text(buffer)], { head: ([n, t]) => n === 9 && t === 'name,age\n' });
          check(await file.seek(3, SeekMode.Current), { current: (at) => at === 12 });
          check(await file.seek(-2, SeekMode.End), { end: (at) => at === 33 });
          check([await file.read(buffer), text(buffer.subarray(0, 3))], { rest: ([n, t]) => n === 3 && t === '41\n' });
          check(await file.read(buffer), { eof: (n) => n === null });
          check(await refused(file.seek(-1, SeekMode.Start)), { negative: (t) => t === 'TypeError: offset cannot be negative when using SeekModeStart' });
          check(await refused(file.seek(99, SeekMode.Start)), { beyond: (t) => t === 'TypeError: seeking beyond end of file' });
          check(await refused(file.read('x')), { into: (t) => t.includes('must be a Uint8Array') });
          check(await refused(open('people.csv')), { late: (t) => t.startsWith('ForbiddenError: open() failed') });
        }"#,
    );
}

#[test]
fn rows_are_parsed_at_once_or_one_by_one() {
    all_pass(
        r#"
        import { open } from 'k6/experimental/fs';
        import csv, { Parser } from 'k6/experimental/csv';
        import { check } from 'k6';
        const file = await open('people.csv');
        const all = await csv.parse(file, { skipFirstLine: true });
        const some = await csv.parse(file, { fromLine: 1, toLine: 2 });
        const named = await csv.parse(file, { asObjects: true });
        const parser = new Parser(file, { asObjects: true });
        let refused;
        try { await csv.parse(file, { asObjects: true, skipFirstLine: true }); } catch (e) { refused = e.message; }
        export default async function () {
          check(all, { all: (a) => a.length === 3 && a[0].join() === 'ada,36' && a[1][1] === '8\n5' });
          check(some, { some: (a) => a.length === 2 && a[0][0] === 'ada' && a[1][0] === 'grace' });
          check(named, { named: (a) => a.length === 3 && a[2].name === 'alan' && a[2].age === '41' });
          const rows = [];
          for (let row = await parser.next(); !row.done; row = await parser.next()) rows.push(row.value.name);
          if (__ITER === 0) check(rows, { parser: (r) => r.join() === 'ada,grace,alan' });
          check(await parser.next(), { done: (r) => r.done && r.value.length === 0 });
          check(refused, { options: (t) => t.includes("the 'header' option cannot be enabled when 'skipFirstLine' is true") });
        }"#,
    );
}

#[test]
fn readable_streams_pull_as_much_as_they_want() {
    all_pass(
        r#"
        import { ReadableStream, CountQueuingStrategy } from 'k6/experimental/streams';
        import { Blob } from 'k6/websockets';
        import { check } from 'k6';
        const refused = async (promise) => { try { await promise; } catch (e) { return `${e.name ?? ''}${e.message ?? e}`; } };
        export default async function () {
          let next = 0;
          const numbers = new ReadableStream({
            start(controller) { controller.enqueue('first'); },
            async pull(controller) {
              await new Promise((done) => setTimeout(done, 1));
              if (next === 3) controller.close(); else controller.enqueue(next++);
            },
          }, new CountQueuingStrategy({ highWaterMark: 2 }));
          const reader = numbers.getReader();
          check(numbers, { locked: (s) => s.locked });
          const got = [];
          for (let part = await reader.read(); !part.done; part = await reader.read()) got.push(part.value);
          check(got, { got: (g) => g.join() === 'first,0,1,2' });
          await reader.closed;
          reader.releaseLock();
          check(numbers.locked, { released: (l) => l === false });
          let cancelled;
          const endless = new ReadableStream({ pull(c) { c.enqueue(1); }, cancel(reason) { cancelled = reason; } });
          await endless.cancel('enough');
          check(cancelled, { cancelled: (c) => c === 'enough' });
          const broken = new ReadableStream({ pull() { throw new Error('no water'); } }).getReader();
          check(await refused(broken.read()), { broken: (t) => t === 'Errorno water' });
          check(await refused(broken.closed), { closed: (t) => t === 'Errorno water' });
          const blob = new Blob(['ab', 'cd']).stream().getReader();
          check((await blob.read()).value, { blob: (v) => v.length === 4 });
          check((await blob.read()).done, { end: (d) => d });
        }"#,
    );
}

#[test]
fn writable_streams_write_in_order_and_tell_of_room() {
    all_pass(
        r#"
        import { WritableStream } from 'k6/experimental/streams';
        import { check } from 'k6';
        const refused = async (promise) => { try { await promise; return 'fine'; } catch (e) { return e.message ?? e; } };
        export default async function () {
          const got = [];
          const stream = new WritableStream({
            start() { got.push('start'); },
            async write(chunk) { await new Promise((done) => setTimeout(done, 2)); got.push(chunk); },
            close() { got.push('close'); },
          });
          const writer = stream.getWriter();
          check(writer, { room: (w) => w.desiredSize === 1 });
          writer.write('a');
          check(writer, { full: (w) => w.desiredSize === 0 });
          await writer.ready;
          await writer.write('b');
          await writer.close();
          await writer.closed;
          check(got, { order: (g) => g.join() === 'start,a,b,close' });
          check(await refused(writer.write('c')), { late: (t) => t.includes('clos') });
          let aborted;
          const other = new WritableStream({ abort(reason) { aborted = reason; } });
          const second = other.getWriter();
          await second.ready;
          await second.abort('stop');
          check(aborted, { aborted: (r) => r === 'stop' });
          check(await refused(second.closed), { closed: (t) => t === 'stop' });
          const failing = new WritableStream({ write() { throw new Error('no room'); } }).getWriter();
          check(await refused(failing.write(1)), { failed: (t) => t === 'no room' });
          check(await refused(failing.closed), { errored: (t) => t === 'no room' });
        }"#,
    );
}
