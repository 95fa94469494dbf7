//! A parsed page: dom_query's tree with its nodes numbered in document order.
//!
//! Scripts name nodes by these numbers; 0 is the document itself. All of it is flat, so no depth
//! of nesting costs stack.

use std::cell::Cell;
use std::rc::Rc;

use dom_query::{Document, NodeId, NodeRef};
use html5ever::ParseOpts;
use html5ever::tendril::{StrTendril, TendrilSink};

/// No such node.
const NONE: u32 = u32::MAX;
/// Bytes that are parsed at a time.
const PIECE_BYTES: usize = 4 << 10;
/// Deepest nesting, as in k6: the parser's work grows with depth and length multiplied.
const DEPTH_MAX: usize = 512;
/// Estimate of what a node takes beside its text, in dom_query's tree and here.
const NODE_BYTES: usize = 200;

/// A node's number in its page.
pub(super) type Index = u32;

/// A node's relations.
struct Place {
    id: NodeId,
    parent: Index,
    prev: Index,
    next: Index,
    first: Index,
    last: Index,
    /// One past the last of its descendants.
    end: Index,
}

pub(super) struct Page {
    document: Document,
    places: Vec<Place>,
    bytes: usize,
    /// What all pages of the VU take.
    held: Rc<Cell<usize>>,
}

/// Why a page is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refusal {
    #[error("html: open stack of elements exceeds {DEPTH_MAX} nodes")]
    TooDeep,
    #[error("the virtual user was interrupted")]
    Interrupted,
}

impl Page {
    /// Calls `pause` between pieces; it says whether to stop.
    pub(super) fn parse(
        source: &str,
        held: &Rc<Cell<usize>>,
        mut pause: impl FnMut() -> bool,
    ) -> Result<Page, Refusal> {
        let mut parser = html5ever::parse_document(Document::default(), ParseOpts::default());
        let mut rest = source;
        while !rest.is_empty() {
            let piece = rest.floor_char_boundary(PIECE_BYTES);
            parser.process(StrTendril::from_slice(&rest[..piece]));
            rest = &rest[piece..];
            let root = parser.tokenizer.sink.sink.root();
            let open = std::iter::successors(Some(root), |node| node.last_child());
            // The document itself is no element.
            if open.skip(1).filter(|node| node.is_element()).count() > DEPTH_MAX {
                return Err(Refusal::TooDeep);
            }
            if pause() {
                return Err(Refusal::Interrupted);
            }
        }
        Ok(Page::of(parser.finish(), source.len(), held))
    }

    fn of(document: Document, source_bytes: usize, held: &Rc<Cell<usize>>) -> Page {
        let places = number(&document);
        let bytes = source_bytes + places.len() * NODE_BYTES;
        held.set(held.get() + bytes);
        Page {
            document,
            places,
            bytes,
            held: held.clone(),
        }
    }

    /// `None`: a number that was never given out.
    pub(super) fn node(&self, index: Index) -> Option<NodeRef<'_>> {
        let place = self.place(index)?;
        self.document.tree.get(&place.id)
    }

    fn place(&self, index: Index) -> Option<&Place> {
        self.places.get(index as usize)
    }

    fn related(&self, index: Index, which: fn(&Place) -> Index) -> Option<Index> {
        let found = which(self.place(index)?);
        (found != NONE).then_some(found)
    }

    pub(super) fn parent(&self, index: Index) -> Option<Index> {
        self.related(index, |place| place.parent)
    }

    pub(super) fn prev(&self, index: Index) -> Option<Index> {
        self.related(index, |place| place.prev)
    }

    pub(super) fn next(&self, index: Index) -> Option<Index> {
        self.related(index, |place| place.next)
    }

    pub(super) fn first_child(&self, index: Index) -> Option<Index> {
        self.related(index, |place| place.first)
    }

    pub(super) fn last_child(&self, index: Index) -> Option<Index> {
        self.related(index, |place| place.last)
    }

    /// Numbers of all descendants.
    pub(super) fn inside(&self, index: Index) -> std::ops::Range<Index> {
        match self.place(index) {
            Some(place) => index + 1..place.end,
            None => 0..0,
        }
    }

    pub(super) fn is_element(&self, index: Index) -> bool {
        self.node(index).is_some_and(|node| node.is_element())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.held.set(self.held.get() - self.bytes);
    }
}

/// Walks the tree in document order without recursion.
fn number(document: &Document) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(document.tree.len());
    let mut open: Vec<Index> = Vec::new();
    let mut at = document.root();
    loop {
        let index = Index::try_from(places.len()).unwrap_or(NONE);
        let parent = open.last().copied().unwrap_or(NONE);
        let mut prev = NONE;
        if let Some(above) = places.get_mut(parent as usize) {
            prev = std::mem::replace(&mut above.last, index);
            if prev == NONE {
                above.first = index;
            }
        }
        if let Some(before) = places.get_mut(prev as usize) {
            before.next = index;
        }
        places.push(Place {
            id: at.id,
            parent,
            prev,
            next: NONE,
            first: NONE,
            last: NONE,
            end: index + 1,
        });
        if let Some(child) = at.first_child() {
            open.push(index);
            at = child;
            continue;
        }
        loop {
            if let Some(sibling) = at.next_sibling().filter(|_| !open.is_empty()) {
                at = sibling;
                break;
            }
            let end = Index::try_from(places.len()).unwrap_or(NONE);
            let Some(done) = open.pop() else {
                return places;
            };
            places[done as usize].end = end;
            match at.parent() {
                Some(above) => at = above,
                None => return places,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(source: &str) -> Page {
        Page::parse(source, &Rc::default(), || false).expect("not deep")
    }

    #[test]
    fn nodes_are_numbered_in_document_order() {
        let page = page("<p id=a>x<b>y</b></p><p id=b></p>");
        let names: Vec<String> = page
            .inside(0)
            .map(|at| page.node(at).expect("it was numbered"))
            .map(|node| node.node_name().map_or("#".into(), |name| name.to_string()))
            .collect();
        assert_eq!(names.join(" "), "html head body p # b # p");
        assert_eq!(page.inside(4), 5..8, "the first paragraph");
        assert_eq!(page.next(4), Some(8));
        assert_eq!(page.prev(8), Some(4));
        assert_eq!(page.first_child(4), Some(5));
        assert_eq!(page.last_child(4), Some(6));
        assert_eq!(page.parent(8), Some(3));
        assert_eq!(page.parent(0), None);
        assert!(page.node(99).is_none());
    }

    #[test]
    fn pages_are_parsed_in_pieces_and_not_deeper_than_k6_s() {
        let long = "<p>ä</p>".repeat(2_000);
        assert_eq!(page(&long).places.len(), 2_000 * 2 + 4);
        let parse = |source: &str, stop| {
            let parsed = Page::parse(source, &Rc::default(), || stop);
            parsed.map(|_| ())
        };
        assert_eq!(parse(&"<div>".repeat(510), false), Ok(()));
        let deep = "<div>".repeat(1_000_000);
        assert_eq!(parse(&deep, false), Err(Refusal::TooDeep));
        assert_eq!(parse(&long, true), Err(Refusal::Interrupted));
    }

    #[test]
    fn pages_give_their_memory_back() {
        let held = Rc::new(Cell::new(0));
        let page = Page::parse("<p>x", &held, || false).expect("not deep");
        assert!(held.get() > 0);
        drop(page);
        assert_eq!(held.get(), 0);
    }
}
