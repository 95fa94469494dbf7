//! Source maps: places in code that was compiled or bundled, back to what its author wrote.
//!
//! Filled while VU 0 loads; a map is parsed when the first stack names its file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sourcemap::SourceMap;

use super::error::Location;
use super::loader::normalized;

/// What introduces the address of a map in the code's last lines.
const MARK: &str = "//# sourceMappingURL=";

#[derive(Debug)]
struct Lazy {
    json: Box<[u8]>,
    parsed: OnceLock<Option<SourceMap>>,
}

/// Text of ours that stands in a line of a file: places behind it are moved by its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shift {
    pub(crate) line: u32,
    /// Where the text was inserted, in the file as it was.
    pub(crate) column: u32,
    pub(crate) length: u32,
}

/// What leads from a compiled file to what its author wrote.
#[derive(Debug, Default)]
struct Trail {
    map: Option<Lazy>,
    /// Ascending.
    shifts: Vec<Shift>,
}

/// The trails of a program's files, by file name.
#[derive(Debug, Default)]
pub(crate) struct Positions(Mutex<HashMap<String, Trail>>);

impl Positions {
    pub(crate) fn add(&self, file: &str, map: impl Into<Vec<u8>>) {
        let lazy = Lazy {
            json: map.into().into_boxed_slice(),
            parsed: OnceLock::new(),
        };
        let mut trails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trails.entry(file.to_owned()).or_default().map = Some(lazy);
    }

    #[cfg_attr(
        not(feature = "typescript"),
        expect(dead_code, reason = "only the parser of that feature finds awaits")
    )]
    pub(crate) fn shift(&self, file: &str, shifts: Vec<Shift>) {
        let mut trails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trails.entry(file.to_owned()).or_default().shifts = shifts;
    }

    /// Looks for a map that `text` names: inline, or a file beside it. One that can't be read only
    /// costs the better places.
    pub(crate) fn find(&self, file: &str, text: &str) {
        let Some(at) = text.rfind(MARK) else { return };
        let address = text[at + MARK.len()..].lines().next().unwrap_or("").trim();
        let map = match address.strip_prefix("data:") {
            Some(data) => data
                .split_once("base64,")
                .and_then(|(_, coded)| STANDARD.decode(coded).ok()),
            None if address.contains("://") || file.contains("://") => None,
            None => {
                let path = Path::new(file).parent().unwrap_or(Path::new(""));
                std::fs::read(path.join(address)).ok()
            }
        };
        match map {
            Some(map) => self.add(file, map),
            None => tracing::warn!(file, "the source map of the script can't be loaded"),
        }
    }

    /// A stack with the places of its author's files.
    pub(crate) fn restore<'a>(&self, stack: &'a str) -> Cow<'a, str> {
        let trails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if trails.is_empty() || !trails.keys().any(|file| stack.contains(file.as_str())) {
            return Cow::Borrowed(stack);
        }
        let lines = stack.lines().map(|line| {
            let Some((before, at, after)) = place(line) else {
                return line.to_owned();
            };
            match trails.get(&at.file).and_then(|trail| trail.original(&at)) {
                Some(original) => format!("{before}{original}{after}"),
                None => line.to_owned(),
            }
        });
        let mut restored = lines.collect::<Vec<String>>().join("\n");
        if stack.ends_with('\n') {
            restored.push('\n');
        }
        Cow::Owned(restored)
    }
}

impl Trail {
    fn original(&self, at: &Location) -> Option<Location> {
        let mut moved = 0;
        let mut column = at.column;
        for shift in self.shifts.iter().filter(|shift| shift.line == at.line) {
            let start = shift.column + moved;
            if at.column < start {
                break;
            }
            // A place within the inserted text is that of what stands behind it.
            column = shift
                .column
                .max(at.column.saturating_sub(moved + shift.length));
            moved += shift.length;
        }
        let at = Location {
            column,
            ..at.clone()
        };
        match &self.map {
            Some(map) => map.original(&at),
            None => Some(at),
        }
    }
}

impl Lazy {
    fn original(&self, at: &Location) -> Option<Location> {
        let parsed = self
            .parsed
            .get_or_init(|| SourceMap::from_slice(&self.json).ok());
        let (line, column) = (at.line.checked_sub(1)?, at.column.saturating_sub(1));
        let token = parsed.as_ref()?.lookup_token(line, column)?;
        let source = token.get_source()?;
        let file = if source.contains("://") || Path::new(source).is_absolute() {
            source.to_owned()
        } else {
            let directory = Path::new(&at.file).parent().unwrap_or(Path::new(""));
            normalized(&directory.join(source)).display().to_string()
        };
        Some(Location {
            file,
            line: token.get_src_line() + 1,
            column: token.get_src_col() + 1,
        })
    }
}

/// The place in a frame (`    at file:line:column` or `    at f (file:line:column)`) and what stands
/// before and after it.
pub(crate) fn place(frame: &str) -> Option<(&str, Location, &str)> {
    let (start, end) = match (frame.rfind('('), frame.rfind(')')) {
        (Some(open), Some(close)) if open < close => (open + 1, close),
        _ => {
            let start = frame.find("at ")? + 3;
            (start, frame.trim_end().len())
        }
    };
    let (rest, column) = frame.get(start..end)?.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    let at = Location {
        file: file.to_owned(),
        line: line.parse().ok()?,
        column: column.parse().ok()?,
    };
    Some((&frame[..start], at, &frame[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_with_a_map_are_restored_and_others_stay() {
        let positions = Positions::default();
        // Line 1, column 1 comes from line 3, column 5 of src/a.ts.
        positions.add(
            "/w/out.js",
            r#"{"version":3,"sources":["src/a.ts"],"names":[],"mappings":"AAEI"}"#,
        );
        let stack = "    at f (/w/out.js:1:1)\n    at /w/other.js:2:3\n    at native\n";
        assert_eq!(
            positions.restore(stack),
            "    at f (/w/src/a.ts:3:5)\n    at /w/other.js:2:3\n    at native\n"
        );
    }

    #[test]
    fn inserted_text_moves_no_place() {
        let positions = Positions::default();
        // `await f()` at column 3 with 4 letters before it and 2 before `f`.
        let shift = |column, length| Shift {
            line: 2,
            column,
            length,
        };
        positions.shift("/a.js", vec![shift(3, 4), shift(9, 2)]);
        let at = |column: u32| {
            let frame = format!("at /a.js:2:{column}");
            positions.restore(&frame).into_owned()
        };
        let columns = [(1, 1), (3, 3), (7, 3), (8, 4), (13, 9), (15, 9), (16, 10)];
        for (out, original) in columns {
            assert_eq!(at(out), format!("at /a.js:2:{original}"), "{out}");
        }
    }

    #[test]
    fn inline_maps_are_found() {
        let positions = Positions::default();
        let json = r#"{"version":3,"sources":["webpack://x/a.js"],"names":[],"mappings":"AAEI"}"#;
        let text = format!(
            "f();\n{MARK}data:application/json;base64,{}\n",
            STANDARD.encode(json)
        );
        positions.find("/w/b.js", &text);
        assert_eq!(
            positions.restore("at /w/b.js:1:2"),
            "at webpack://x/a.js:3:5"
        );
    }

    #[test]
    fn places_are_read_from_frames() {
        let read = |frame| place(frame).map(|(_, at, _)| at.to_string());
        assert_eq!(
            read("    at f (/a b/x.js:3:14)").as_deref(),
            Some("/a b/x.js:3:14")
        );
        assert_eq!(read("    at /a/y.js:1:1").as_deref(), Some("/a/y.js:1:1"));
        assert_eq!(read("    at native"), None);
    }
}
