//! Server-sent events out of bytes as they come (HTML Standard §9.2.6).

use std::collections::VecDeque;

/// One event; comments and events without data are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// `message` unless the server names it.
    pub(super) kind: String,
    pub(super) data: String,
    /// The last id that the server gave.
    pub(super) id: String,
}

/// An event or line grows beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

#[derive(Debug)]
pub(super) struct EventParser {
    bytes_max: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed belongs to it.
    after_return: bool,
    at_start: bool,
    kind: String,
    data: String,
    id: String,
    done: VecDeque<Event>,
}

impl EventParser {
    pub(super) fn new(bytes_max: usize) -> EventParser {
        EventParser {
            bytes_max,
            line: Vec::new(),
            after_return: false,
            at_start: true,
            kind: String::new(),
            data: String::new(),
            id: String::new(),
            done: VecDeque::new(),
        }
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        self.done.pop_front()
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        for &byte in bytes {
            let ends = byte == b'\r' || byte == b'\n';
            if byte == b'\n' && self.after_return {
                self.after_return = false;
                continue;
            }
            self.after_return = byte == b'\r';
            if ends {
                self.end_line();
            } else {
                self.line.push(byte);
            }
            if self.line.len() + self.data.len() > self.bytes_max {
                return Err(TooLong);
            }
        }
        Ok(())
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = match self.at_start {
            true => line.strip_prefix('\u{feff}').unwrap_or(&line),
            false => &line,
        };
        self.at_start = false;
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            // A comment, `retry`, or what nobody knows.
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let kind = std::mem::take(&mut self.kind);
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_none() {
            return;
        }
        self.done.push_back(Event {
            kind: if kind.is_empty() {
                "message".to_owned()
            } else {
                kind
            },
            data,
            id: self.id.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str, step: usize) -> Vec<(String, String, String)> {
        let mut parser = EventParser::new(1_000);
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            parser.feed(piece).expect("it is short");
            while let Some(event) = parser.next() {
                found.push((event.kind, event.data, event.id));
            }
        }
        found
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = "\u{feff}: hello\r\n\r\ndata: a\ndata:b\n\nevent: x\rid: 7\rdata\r\r\
                    retry: 5\n\nid\ndata:  c\n\ndata: cut off";
        let own = |kind: &str, data: &str, id: &str| (kind.into(), data.into(), id.into());
        let wanted = vec![
            own("message", "a\nb", ""),
            own("x", "", "7"),
            own("message", " c", ""),
        ];
        for step in 1..20 {
            assert_eq!(events(text, step), wanted, "in pieces of {step}");
        }
    }

    #[test]
    fn endless_events_are_refused() {
        let mut parser = EventParser::new(100);
        let line = format!("data: {}\n", "x".repeat(60));
        assert_eq!(parser.feed(line.as_bytes()), Ok(()));
        assert_eq!(parser.feed(line.as_bytes()), Err(TooLong));
    }
}
