//! CSS selectors over a page: those of dom_query, and what k6's own (cascadia) has beyond CSS.
//!
//! A selector that can't be read matches nothing, as in k6.

use std::ops::Range;

use dom_query::Matcher;

use super::page::{Index, Page};

/// Longest selector.
const SELECTOR_BYTES_MAX: usize = 64 << 10;
/// Deepest nesting of brackets: parsing and matching recurse.
const DEPTH_MAX: usize = 64;

pub(super) fn compile(selector: &str) -> Option<Matcher> {
    if selector.len() > SELECTOR_BYTES_MAX {
        return None;
    }
    let selector = standard(selector)?;
    Matcher::new(&selector).ok()
}

/// A search among the descendants of some nodes that can be broken off and gone on with.
pub(super) struct Search {
    matcher: Matcher,
    ranges: Vec<Range<Index>>,
    found: Distinct,
    first_only: bool,
}

/// Nodes that are looked at in one step: matching one may look at all its siblings.
const STEP_NODES: usize = 200;

impl Search {
    pub(super) fn new(page: &Page, roots: &[Index], matcher: Matcher) -> Search {
        Search {
            matcher,
            ranges: roots.iter().rev().map(|&root| page.inside(root)).collect(),
            found: Distinct::default(),
            first_only: false,
        }
    }

    pub(super) fn first_only(self, first_only: bool) -> Search {
        Search { first_only, ..self }
    }

    /// Goes on for a while; returns whether there is more to do.
    pub(super) fn step(&mut self, page: &Page) -> bool {
        for _ in 0..STEP_NODES {
            let Some(range) = self.ranges.last_mut() else {
                return false;
            };
            match range.next() {
                None => {
                    self.ranges.pop();
                }
                Some(at) if matches(page, at, &self.matcher) => {
                    self.found.add(at);
                    if self.first_only {
                        return false;
                    }
                }
                Some(_) => {}
            }
        }
        true
    }

    /// In the order of the page below each root, each once.
    pub(super) fn found(self) -> Vec<Index> {
        self.found.list
    }
}

pub(super) fn matches(page: &Page, index: Index, matcher: &Matcher) -> bool {
    let node = page.node(index);
    node.is_some_and(|node| node.is_element() && node.is_match(matcher))
}

#[cfg(test)]
pub(super) fn find_all(page: &Page, selector: &str) -> Vec<Index> {
    let Some(matcher) = compile(selector) else {
        return Vec::new();
    };
    let mut search = Search::new(page, &[0], matcher);
    while search.step(page) {}
    search.found()
}

/// Nodes in the order of their finding, each once.
#[derive(Default)]
pub(super) struct Distinct {
    pub(super) list: Vec<Index>,
    seen: std::collections::HashSet<Index>,
}

impl Distinct {
    pub(super) fn add(&mut self, index: Index) {
        if self.seen.insert(index) {
            self.list.push(index);
        }
    }
}

/// The selector in the words of dom_query: `[a!=b]`, `:input`, `:haschild(x)`, `:contains(x)`
/// without quotes. `None`: brackets don't pair or are too deep.
fn standard(selector: &str) -> Option<String> {
    let mut out = String::with_capacity(selector.len() + 16);
    let mut depth = 0_usize;
    let mut bracket = None;
    let mut rest = selector;
    while let Some(c) = rest.chars().next() {
        let (mut taken, mut put) = (c.len_utf8(), None);
        match c {
            '\\' => taken += rest[1..].chars().next().map_or(0, char::len_utf8),
            '"' | '\'' => taken = quoted(rest, c)?,
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            '[' => bracket = Some(out.len()),
            ']' => bracket = None,
            '!' if rest.starts_with("!=") => {
                // The whole bracket is turned into its opposite.
                let end = bracket_end(rest)?;
                let begin = bracket.take()?;
                out.insert_str(begin, ":not(");
                put = Some(format!("{})", &rest[1..end]));
                taken = end;
            }
            ':' if bracket.is_none() => {
                if let Some((words, length)) = beyond_css(rest) {
                    taken = length;
                    depth += usize::from(words.ends_with('(') || words.ends_with("(>"));
                    put = Some(words);
                }
            }
            _ => {}
        }
        if depth > DEPTH_MAX {
            return None;
        }
        out.push_str(put.as_deref().unwrap_or(&rest[..taken]));
        rest = &rest[taken..];
    }
    (depth == 0).then_some(out)
}

/// Length of a text in quotes, with them.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Length up to and with the `]` that closes.
fn bracket_end(rest: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = rest[at..].chars().next() {
        match c {
            ']' => return Some(at + 1),
            '"' | '\'' => at += quoted(&rest[at..], c)?,
            _ => at += c.len_utf8(),
        }
    }
    None
}

/// A pseudo-class that CSS doesn't have: what stands for it, and its length.
fn beyond_css(rest: &str) -> Option<(String, usize)> {
    let name = rest[1..]
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .next()?;
    let length = 1 + name.len();
    let after = &rest[length..];
    match name.to_ascii_lowercase().as_str() {
        "input" if !after.starts_with('(') => {
            Some((":is(input,select,textarea,button)".to_owned(), length))
        }
        "haschild" if after.starts_with('(') => Some((":has(>".to_owned(), length + 1)),
        "contains" if after.starts_with('(') => {
            let argument = after[1..].trim_start();
            if argument.starts_with(['"', '\'']) {
                return None;
            }
            let end = after.find(')')?;
            let text = after[1..end].trim().replace('"', "\\\"");
            Some((format!(":contains(\"{text}\")"), length + end + 1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn count(selector: &str) -> usize {
        let page = Page::parse(
            "<form><input name=a><select name=b><option>one</select><button>x</button></form>
             <p class='x y'>hello <b>wor)ld</b></p><p>bye</p>",
            &Rc::default(),
            || false,
        );
        find_all(&page.expect("not deep"), selector).len()
    }

    #[test]
    fn selectors_of_css_and_of_cascadia_match() {
        assert_eq!(count("p.x.y > b"), 1);
        assert_eq!(count("p:nth-child(2), option"), 2);
        assert_eq!(count(":input"), 3);
        assert_eq!(count("form [name!=a]"), 3, "option and button have no name");
        assert_eq!(count("form [name!='a']"), 3);
        assert_eq!(count("p:contains(hello)"), 1);
        assert_eq!(count("p:contains('wor)ld')"), 1);
        assert_eq!(count("p:haschild(b)"), 1);
        assert_eq!(count("p:has(b)"), 1);
        assert_eq!(count("p:not(.x)"), 1);
    }

    #[test]
    fn selectors_that_cannot_be_read_match_nothing() {
        assert_eq!(count("p["), 0);
        assert_eq!(count("p:first"), 0);
        assert_eq!(count(""), 0);
        assert_eq!(count(&":not(".repeat(100_000)), 0);
        let deep = format!("{}p{}", ":not(".repeat(65), ")".repeat(65));
        assert_eq!(count(&deep), 0);
        assert_eq!(count(&"p,".repeat(100_000)), 0);
    }
}
