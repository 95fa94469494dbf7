//! Ways from nodes of a page to others: children, parents, siblings, and until where.

use dom_query::Matcher;

use super::page::{Index, Page};
use super::select::{self, Distinct};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Children,
    /// Children of all kinds: texts and comments too.
    Contents,
    Parent,
    Parents,
    Next,
    NextAll,
    Prev,
    PrevAll,
    Siblings,
}

/// Where a walk along parents or siblings ends, before that node.
pub(super) enum Until {
    Never,
    Matches(Matcher),
    OneOf(Vec<Index>),
}

impl Way {
    pub(super) fn named(name: &str) -> Option<Way> {
        Some(match name {
            "children" => Way::Children,
            "contents" => Way::Contents,
            "parent" => Way::Parent,
            "parents" => Way::Parents,
            "next" => Way::Next,
            "nextAll" => Way::NextAll,
            "prev" => Way::Prev,
            "prevAll" => Way::PrevAll,
            "siblings" => Way::Siblings,
            _ => return None,
        })
    }
}

/// From each node in turn; what is reached twice counts once.
pub(super) fn walk(page: &Page, from: &[Index], way: Way, until: &Until) -> Vec<Index> {
    let mut reached = Distinct::default();
    for &start in from {
        let steps = match way {
            Way::Children | Way::Contents | Way::Siblings => {
                let parent = match way {
                    Way::Siblings => page.parent(start),
                    _ => Some(start),
                };
                let first = parent.and_then(|parent| page.first_child(parent));
                chain(first, |at| page.next(at))
            }
            Way::Parent | Way::Parents => chain(page.parent(start), |at| page.parent(at)),
            Way::Next | Way::NextAll => chain(page.next(start), |at| page.next(at)),
            Way::Prev | Way::PrevAll => chain(page.prev(start), |at| page.prev(at)),
        };
        let kept = steps
            .take_while(|&at| !until.stops(page, at))
            .filter(|&at| way == Way::Contents || page.is_element(at))
            .filter(|&at| way != Way::Siblings || at != start);
        match way {
            Way::Parent => {
                // Only the very next one, if it is an element.
                let parent = page.parent(start).filter(|&at| page.is_element(at));
                parent.into_iter().for_each(|at| reached.add(at));
            }
            Way::Next | Way::Prev => kept.take(1).for_each(|at| reached.add(at)),
            _ => kept.for_each(|at| reached.add(at)),
        }
    }
    reached.list
}

fn chain(first: Option<Index>, next: impl Fn(Index) -> Option<Index>) -> std::vec::IntoIter<Index> {
    // Collected, so that the ways have one type.
    let steps: Vec<Index> = std::iter::successors(first, |&at| next(at)).collect();
    steps.into_iter()
}

impl Until {
    fn stops(&self, page: &Page, at: Index) -> bool {
        match self {
            Until::Never => false,
            Until::Matches(matcher) => select::matches(page, at, matcher),
            Until::OneOf(nodes) => nodes.contains(&at),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn walked(way: &str, from: &str, until: Option<&str>) -> String {
        let page = Page::parse(
            "<div id=o><i id=a></i>text<i id=b></i><i id=c></i><i id=d></i></div>",
            &Rc::default(),
            || false,
        );
        let page = page.expect("not deep");
        let until = until.map_or(Until::Never, |selector| {
            Until::Matches(select::compile(selector).expect("a selector"))
        });
        let way = Way::named(way).expect("a way");
        let names = walk(&page, &select::find_all(&page, from), way, &until)
            .into_iter()
            .map(|at| {
                let node = page.node(at).expect("it was reached");
                let name = node.id_attr().or_else(|| node.node_name());
                name.map_or("#".to_owned(), |name| name.to_string())
            });
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ways_go_where_jquery_s_go() {
        assert_eq!(walked("children", "#o", None), "a b c d");
        assert_eq!(walked("contents", "#o", None), "a # b c d");
        assert_eq!(walked("next", "#a, #c", None), "b d");
        assert_eq!(walked("nextAll", "#a, #c", None), "b c d");
        assert_eq!(walked("nextAll", "#a", Some("#d")), "b c");
        assert_eq!(walked("prev", "#b", None), "a");
        assert_eq!(walked("prevAll", "#c", None), "b a");
        assert_eq!(walked("siblings", "#b", None), "a c d");
        assert_eq!(walked("parent", "#b, #c, html", None), "o");
        assert_eq!(walked("parents", "#b", None), "o body html");
        assert_eq!(walked("parents", "#b", Some("body")), "o");
    }
}
