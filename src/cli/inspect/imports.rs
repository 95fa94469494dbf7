//! Names that a script imports, read from its text without running it.
//!
//! Only for telling all missing modules at once: what really loads is seen by loading.

/// What stands after `from`, `import`, `import(` or `require(`, in order.
pub(super) fn of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => {
                for c in rest.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
            }
            '/' if rest.peek() == Some(&'*') => {
                let mut last = ' ';
                for c in rest.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
            }
            '\'' | '"' | '`' => {
                let literal = literal(&mut rest, c);
                if c != '`' && imports(&before) {
                    found.push(literal);
                }
                before.clear();
            }
            c if c.is_whitespace() => {}
            // A word ends where another begins; `import x from` keeps only `from`.
            c => {
                let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
                if word(c) {
                    before = take_word(c, &mut rest, word);
                } else if c == '(' {
                    before.push(c);
                } else {
                    before.clear();
                }
            }
        }
    }
    found
}

fn imports(before: &str) -> bool {
    matches!(before, "from" | "import" | "import(" | "require(")
}

fn take_word(
    first: char,
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    belongs: impl Fn(char) -> bool,
) -> String {
    let mut word = String::from(first);
    while let Some(c) = rest.next_if(|c| belongs(*c)) {
        word.push(c);
    }
    word
}

/// The content up to the closing quote; one without an end stops with its line.
fn literal(rest: &mut impl Iterator<Item = char>, quote: char) -> String {
    let mut content = String::new();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                rest.next();
            }
            c if c == quote => break,
            '\n' if quote != '`' => break,
            c => content.push(c),
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_and_other_texts_are_not() {
        let text = r#"
            import http from 'k6/http'; import { a,
              b } from "./x.js";
            import 'k6/browser';
            // import 'k6/x/one';
            /* import 'k6/x/two'; */
            const y = require("k6/x/three"), z = 'import';
            export * from 'k6/ws';
            call('k6/x/four'); const s = `import 'k6/x/five'`; const it = "it's from"; it.from('x');
        "#;
        let expected = ["k6/http", "./x.js", "k6/browser", "k6/x/three", "k6/ws"];
        assert_eq!(of(text), expected);
    }
}
