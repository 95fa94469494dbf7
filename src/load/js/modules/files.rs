//! Host side of `k6/experimental/fs` and `k6/experimental/csv`: files by way of the library, so
//! that each is in memory once; rows as JSON, those of `parse` shared by all VUs.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use csv::{Reader, ReaderBuilder, StringRecord};
use rquickjs::{Array, ArrayBuffer, Ctx, Exception, Function, Object};

use super::set;
use crate::load::js::host::{Host, Phase};
use crate::load::js::library::Library;
use crate::load::js::loader::normalized;

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(bridge, "canOpen", move || vm.phase.get() == Phase::Init)?;
    let vm = host.clone();
    set(bridge, "open", move |ctx: Ctx<'js>, name: String| {
        open(&ctx, &vm.library, &name)
    })?;
    let vm = host.clone();
    let read = move |ctx: Ctx<'js>, path: String, at: usize, length: usize| {
        let bytes = content(&ctx, &vm.library, &path)?;
        let end = at.saturating_add(length).min(bytes.len());
        ArrayBuffer::new_copy(ctx, bytes.get(at..end).unwrap_or_default())
    };
    set(bridge, "read", read)?;
    let vm = host.clone();
    let parse = move |ctx: Ctx<'js>, name: String, path: String, at: usize, flat: Array<'js>| {
        if vm.library.array(&name).is_some() {
            return rquickjs::Result::Ok(());
        }
        let bytes = content(&ctx, &vm.library, &path)?;
        let rows = Rows::new(bytes, at, Options::read(&flat)?);
        let rows = rows.and_then(Iterator::collect);
        let rows: Vec<Box<str>> = rows.map_err(|text| Exception::throw_message(&ctx, &text))?;
        vm.library.add_array(&name, rows);
        Ok(())
    };
    set(bridge, "parse", parse)?;
    let vm = host.clone();
    let rows = move |ctx: Ctx<'js>, path: String, at: usize, flat: Array<'js>| {
        let bytes = content(&ctx, &vm.library, &path)?;
        let rows = Rows::new(bytes, at, Options::read(&flat)?);
        let rows = rows.map_err(|text| Exception::throw_message(&ctx, &text))?;
        let rows = std::cell::RefCell::new(rows);
        Function::new(ctx, move |ctx: Ctx<'js>| {
            let next = rows.borrow_mut().next().transpose();
            next.map(|row| row.map(String::from))
                .map_err(|text| Exception::throw_message(&ctx, &text))
        })
    };
    set(bridge, "rows", rows)
}

/// `{path, size}`, or `{error, message}` with the name of an error.
fn open<'js>(ctx: &Ctx<'js>, library: &Library, name: &str) -> rquickjs::Result<Object<'js>> {
    let path = absolute(library, name.strip_prefix("file://").unwrap_or(name));
    let shown = path.display().to_string();
    let answer = Object::new(ctx.clone())?;
    let failed = |error: &str, message: String| {
        answer.set("error", error)?;
        answer.set("message", message)
    };
    if library.is_directory(&path) {
        let text = format!("cannot open {shown:?}: opening a directory is not supported");
        failed("InvalidResourceError", text)?;
        return Ok(answer);
    }
    match library.open(&path) {
        Ok(bytes) => {
            answer.set("path", shown)?;
            answer.set("size", bytes.len())?;
        }
        // VUs get the answer that VU 0 got.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound || !path.exists() => {
            failed(
                "NotFoundError",
                format!("no such file or directory {shown:?}"),
            )?;
        }
        Err(error) => failed("Error", format!("open() failed; reason: {shown}: {error}"))?,
    }
    Ok(answer)
}

/// Relative paths start at the entry script, whoever asks.
fn absolute(library: &Library, name: &str) -> PathBuf {
    let base = Path::new(&library.main).parent().unwrap_or(Path::new(""));
    normalized(&base.join(name))
}

fn content(ctx: &Ctx<'_>, library: &Library, path: &str) -> rquickjs::Result<Arc<[u8]>> {
    library.open(Path::new(path)).map_err(|error| {
        let text = format!("{path:?} can't be read: {error}");
        Exception::throw_message(ctx, &text)
    })
}

/// As `optionsOf` of `csv.js` lists them.
struct Options {
    delimiter: u8,
    skip_first_line: bool,
    from_line: Option<u64>,
    to_line: Option<u64>,
    as_objects: bool,
}

impl Options {
    fn read(flat: &Array<'_>) -> rquickjs::Result<Options> {
        let delimiter: String = flat.get(0)?;
        let line = |index: usize| -> rquickjs::Result<Option<u64>> {
            Ok(flat.get::<Option<f64>>(index)?.map(|line| line as u64))
        };
        Ok(Options {
            delimiter: delimiter.bytes().next().unwrap_or(b','),
            skip_first_line: flat.get(1)?,
            from_line: line(2)?,
            to_line: line(3)?,
            as_objects: flat.get(4)?,
        })
    }
}

/// Rows as JSON: a list of texts, or an object by the names of the first line.
struct Rows {
    reader: Reader<Cursor<Arc<[u8]>>>,
    options: Options,
    names: Option<StringRecord>,
    /// Counts from 0, the first line included.
    line: u64,
}

impl Rows {
    fn new(bytes: Arc<[u8]>, at: usize, options: Options) -> Result<Rows, String> {
        let mut source = Cursor::new(bytes);
        source.set_position(at as u64);
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .delimiter(options.delimiter)
            .from_reader(source);
        let mut rows = Rows {
            reader,
            options,
            names: None,
            line: 0,
        };
        if rows.options.as_objects {
            rows.names = Some(rows.skip_line("read the first line")?);
        }
        let from = rows.options.from_line.unwrap_or(0);
        if rows.options.skip_first_line && from == 0 {
            rows.skip_line("skip the first line")?;
        }
        while rows.line < from {
            rows.skip_line(&format!("skip lines until line {from}"))?;
        }
        Ok(rows)
    }

    fn skip_line(&mut self, what: &str) -> Result<StringRecord, String> {
        let row = self
            .record()
            .map_err(|reason| format!("failed to {what}; reason: {reason}"))?;
        row.ok_or_else(|| format!("failed to {what}; reason: EOF"))
    }

    fn record(&mut self) -> Result<Option<StringRecord>, String> {
        let mut record = StringRecord::new();
        let read = self.reader.read_record(&mut record);
        self.line += 1;
        match read {
            Ok(true) => Ok(Some(record)),
            Ok(false) => Ok(None),
            Err(error) => Err(match error.kind() {
                csv::ErrorKind::UnequalLengths { pos, .. } => {
                    let line = pos.as_ref().map_or(0, csv::Position::line);
                    format!("record on line {line}: wrong number of fields")
                }
                _ => error.to_string(),
            }),
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Box<str>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let last = self.options.to_line.filter(|last| *last > 0);
        if last.is_some_and(|last| self.line > last) {
            return None;
        }
        let record = match self.record() {
            Ok(record) => record?,
            Err(text) => return Some(Err(text)),
        };
        let json = match &self.names {
            None => serde_json::to_string(&record.iter().collect::<Vec<_>>()),
            Some(names) => {
                let pairs = names.iter().zip(record.iter());
                let object: serde_json::Map<String, serde_json::Value> = pairs
                    .map(|(name, value)| (name.to_owned(), value.into()))
                    .collect();
                serde_json::to_string(&object)
            }
        };
        Some(
            json.map(String::into_boxed_str)
                .map_err(|error| error.to_string()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, options: Options) -> Result<Vec<String>, String> {
        let rows = Rows::new(text.as_bytes().into(), 0, options)?;
        rows.map(|row| row.map(String::from)).collect()
    }

    fn options() -> Options {
        Options {
            delimiter: b',',
            skip_first_line: false,
            from_line: None,
            to_line: None,
            as_objects: false,
        }
    }

    #[test]
    fn rows_are_chosen_by_their_lines() {
        let text = "a,b\n1,2\n3,\"4\n5\"\n6,7\n";
        let chosen = Options {
            from_line: Some(1),
            to_line: Some(2),
            ..options()
        };
        let expected = [r#"["1","2"]"#, r#"["3","4\n5"]"#];
        assert_eq!(rows(text, chosen).expect("rows"), expected);
        let named = Options {
            as_objects: true,
            ..options()
        };
        assert_eq!(rows(text, named).expect("rows")[0], r#"{"a":"1","b":"2"}"#);
        let uneven = rows("a,b\n1\n", options()).expect_err("a row is short");
        assert_eq!(uneven, "record on line 2: wrong number of fields");
    }
}
