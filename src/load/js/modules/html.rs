//! Host side of the module `k6/html`: pages are parsed and searched here; `html.js` makes jQuery's
//! methods of it.
//!
//! A page lives as long as the JavaScript objects that refer to it, and counts towards a limit of
//! its own, because it is not on the VM's heap. Work whose depth depends on page or selector runs
//! on the worker's stack.

mod page;
mod select;
mod walk;

use std::cell::Cell;
use std::rc::Rc;

use dom_query::NodeData;
use rquickjs::convert::List;
use rquickjs::{ArrayBuffer, Ctx, Exception, IntoJs, Object, Value};

use self::page::{Index, Page};
use self::select::Search;
use self::walk::{Until, Way, walk};
use super::set;
use crate::load::js::VmSettings;
use crate::load::js::ffi::{Opaque, buffer_bytes};
use crate::load::js::host::Host;

pub(super) fn install<'js>(part: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let held = Rc::new(Cell::new(0));
    let vm = host.clone();
    set(part, "parse", move |ctx: Ctx<'js>, source: String| {
        refuse_too_much(&ctx, &vm, &held, source.len())?;
        let page = Page::parse(&source, &held, || vm.suspender.checkpoint());
        let page = page.map_err(|why| Exception::throw_message(&ctx, &why.to_string()))?;
        Opaque::wrap(&ctx, Rc::new(page))
    })?;
    set(part, "decoded", |bytes: ArrayBuffer<'js>| {
        String::from_utf8_lossy(&buffer_bytes(&bytes)).into_owned()
    })?;
    let vm = host.clone();
    let find = move |page: Value<'js>, roots: Vec<Index>, selector: String, first: bool| {
        let matcher = vm.suspender.on_large_stack(|| select::compile(&selector));
        let Some(matcher) = matcher else {
            return Ok(Vec::new());
        };
        let page = lent(&page)?;
        let mut search = Search::new(&page, &roots, matcher).first_only(first);
        while vm.suspender.on_large_stack(|| search.step(&page)) {
            // A large page takes long enough for others to want their turn.
            if vm.suspender.checkpoint() {
                break;
            }
        }
        Ok::<_, rquickjs::Error>(search.found())
    };
    set(part, "find", find)?;
    let vm = host.clone();
    let filter = move |page: Value<'js>, nodes: Vec<Index>, selector: String| {
        on(&vm, &page, |page| match select::compile(&selector) {
            Some(matcher) => keep(nodes, |at| select::matches(page, at, &matcher)),
            None => Vec::new(),
        })
    };
    set(part, "filter", filter)?;
    // Of the nodes, those within one of the others.
    let vm = host.clone();
    let within = move |page: Value<'js>, outer: Vec<Index>, nodes: Vec<Index>| {
        on(&vm, &page, |page| {
            let outer: Vec<_> = outer.iter().map(|&at| page.inside(at)).collect();
            keep(nodes, |at| outer.iter().any(|inside| inside.contains(&at)))
        })
    };
    set(part, "within", within)?;
    let vm = host.clone();
    let walk = move |page: Value<'js>, from: Vec<Index>, way: String, until: Value<'js>| {
        let way = Way::named(&way).expect("html.js knows the ways");
        let until = read_until(&until)?;
        on(&vm, &page, |page| walk(page, &from, way, &until))
    };
    set(part, "walk", walk)?;
    reads(part, host)
}

/// What one node, or a list of them, has to say.
fn reads<'js>(part: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(part, "text", move |page: Value<'js>, nodes: Vec<Index>| {
        on(&vm, &page, |page| text(page, &nodes))
    })?;
    let vm = host.clone();
    set(part, "html", move |page: Value<'js>, node: Index| {
        on(&vm, &page, |page| {
            let node = page.node(node)?;
            Some(node.inner_html().to_string())
        })
    })?;
    let vm = host.clone();
    set(
        part,
        "attr",
        move |page: Value<'js>, node: Index, name: String| {
            on(&vm, &page, |page| {
                Some(page.node(node)?.attr(&name)?.to_string())
            })
        },
    )?;
    let vm = host.clone();
    set(part, "value", move |page: Value<'js>, node: Index| {
        on(&vm, &page, |page| value(page, node))
    })?;
    // Names and values alternate.
    let vm = host.clone();
    set(part, "attrs", move |page: Value<'js>, node: Index| {
        on(&vm, &page, |page| {
            let attrs = page.node(node).map(|node| node.attrs()).unwrap_or_default();
            let flat = attrs
                .iter()
                .flat_map(|attr| [attr.name.local.to_string(), attr.value.to_string()]);
            flat.collect::<Vec<String>>()
        })
    })?;
    let vm = host.clone();
    set(
        part,
        "kind",
        move |ctx: Ctx<'js>, page: Value<'js>, node: Index| {
            let (kind, name, space) = on(&vm, &page, |page| kind(page, node))?;
            List((kind, name, space)).into_js(&ctx)
        },
    )?;
    // [parent, previous, next, first child, last child], -1 for none.
    let vm = host.clone();
    set(part, "around", move |page: Value<'js>, node: Index| {
        let around = on(&vm, &page, |page| {
            [
                page.parent(node),
                page.prev(node),
                page.next(node),
                page.first_child(node),
                page.last_child(node),
            ]
        })?;
        let numbers = around.map(|one| one.map_or(-1, i64::from));
        Ok::<_, rquickjs::Error>(numbers.to_vec())
    })
}

/// Runs on a stack that is large enough for any page.
fn on<R>(host: &Host, page: &Value<'_>, work: impl FnOnce(&Page) -> R) -> rquickjs::Result<R> {
    let page = lent(page)?;
    Ok(host.suspender.on_large_stack(|| work(&page)))
}

fn lent(page: &Value<'_>) -> rquickjs::Result<Rc<Page>> {
    Opaque::lend(page, Rc::clone)
}

fn keep(nodes: Vec<Index>, keep: impl Fn(Index) -> bool) -> Vec<Index> {
    nodes.into_iter().filter(|&at| keep(at)).collect()
}

/// A selector, a list of nodes, or nothing.
fn read_until(given: &Value<'_>) -> rquickjs::Result<Until> {
    if let Some(selector) = given.as_string() {
        // One that can't be read stops nothing.
        let matcher = select::compile(&selector.to_string()?);
        return Ok(matcher.map_or(Until::Never, Until::Matches));
    }
    Ok(given
        .get::<Option<Vec<Index>>>()?
        .filter(|nodes| !nodes.is_empty())
        .map_or(Until::Never, Until::OneOf))
}

fn text(page: &Page, nodes: &[Index]) -> String {
    let mut all = String::new();
    for &at in nodes {
        if let Some(node) = page.node(at) {
            all.push_str(&node.text());
        }
    }
    all
}

/// Of texts and comments.
fn value(page: &Page, at: Index) -> Option<String> {
    page.node(at)?.query(|node| match &node.data {
        NodeData::Text { contents } | NodeData::Comment { contents } => Some(contents.to_string()),
        _ => None,
    })?
}

/// The DOM's number of the kind of node, its name, and its namespace if that is not HTML's.
fn kind(page: &Page, at: Index) -> (u8, String, &'static str) {
    let Some(node) = page.node(at) else {
        return (0, String::new(), "");
    };
    if node.is_text() {
        (3, "#text".to_owned(), "")
    } else if node.is_comment() {
        (8, "#comment".to_owned(), "")
    } else if node.is_document() {
        (9, "#document".to_owned(), "")
    } else if node.is_doctype() {
        let name = node.query(|tree| match &tree.data {
            NodeData::Doctype { name, .. } => name.to_string(),
            _ => String::new(),
        });
        (10, name.unwrap_or_default(), "")
    } else {
        let name = node
            .node_name()
            .map_or(String::new(), |name| name.to_string());
        let space = node.qual_name_ref().map_or("", |name| match &*name.ns {
            "http://www.w3.org/2000/svg" => "svg",
            "http://www.w3.org/1998/Math/MathML" => "math",
            _ => "",
        });
        (1, name, space)
    }
}

/// Pages are not on the VM's heap: together they may take as much again.
fn refuse_too_much(
    ctx: &Ctx<'_>,
    host: &Host,
    held: &Cell<usize>,
    more: usize,
) -> rquickjs::Result<()> {
    let max = match &host.run {
        Some(run) => run.shared.settings.vm.memory_bytes_max,
        None => VmSettings::MEMORY_BYTES_DEFAULT,
    };
    if held.get() + more * 2 <= max {
        return Ok(());
    }
    // Pages in cycles of garbage.
    ctx.run_gc();
    if held.get() + more * 2 <= max {
        return Ok(());
    }
    let text = format!("the parsed pages of this VU would take more than {max} bytes");
    Err(Exception::throw_range(ctx, &text))
}
