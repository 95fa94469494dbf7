//! `await` that comes back into its group: a small rewriting of scripts that have both.
//!
//! QuickJS tells nobody when an async function goes on. So `await x` becomes a call that notes the
//! group before and sets it again after; every insertion is known, so that places stay true.

use oxc::allocator::Allocator;
use oxc::ast::ast::AwaitExpression;
use oxc::ast_visit::{Visit, walk};
use oxc::parser::{ParseOptions, Parser};
use oxc::span::{GetSpan, SourceType};

use super::positions::Shift;

/// The global that rewritten code calls; `dchat:resuming` makes it.
const BEFORE: &str = "__dchat.resume(__dchat.group(),";
const AROUND: &str = "__dchat.settle(";
const AFTER: &str = "))";

/// A rewritten text with what was inserted.
pub(crate) struct Rewritten {
    pub(crate) text: String,
    pub(crate) shifts: Vec<Shift>,
}

/// Rewrites every `await`; `None` where there is none, or the text can't be parsed.
pub(crate) fn rewrite(text: &str) -> Option<Rewritten> {
    let allocator = Allocator::default();
    let options = ParseOptions {
        // CommonJS files may return.
        allow_return_outside_function: true,
        ..ParseOptions::default()
    };
    let parsed = Parser::new(&allocator, text, SourceType::unambiguous())
        .with_options(options)
        .parse();
    if parsed.diagnostics.has_errors() {
        return None;
    }
    let mut found = Awaits::default();
    found.visit_program(&parsed.program);
    if found.0.is_empty() {
        return None;
    }
    // Outer ones were found first, and stay before inner ones at the same place.
    found.0.sort_by_key(|(at, _)| *at);
    Some(insert(text, &found.0))
}

/// What is inserted where, in bytes from the start.
#[derive(Default)]
struct Awaits(Vec<(usize, &'static str)>);

impl<'a> Visit<'a> for Awaits {
    fn visit_await_expression(&mut self, it: &AwaitExpression<'a>) {
        let argument = it.argument.span();
        self.0.push((it.span.start as usize, BEFORE));
        self.0.push((argument.start as usize, AROUND));
        self.0.push((it.span.end as usize, AFTER));
        walk::walk_await_expression(self, it);
    }
}

fn insert(text: &str, insertions: &[(usize, &'static str)]) -> Rewritten {
    let mut rewritten = String::with_capacity(text.len() + insertions.len() * BEFORE.len());
    let mut shifts = Vec::with_capacity(insertions.len());
    let (mut done, mut line, mut line_start) = (0, 1, 0);
    for (at, inserted) in insertions {
        let piece = &text[done..*at];
        if let Some(last) = piece.rfind('\n') {
            line += piece.matches('\n').count() as u32;
            line_start = done + last + 1;
        }
        rewritten.push_str(piece);
        rewritten.push_str(inserted);
        shifts.push(Shift {
            line,
            column: 1 + text[line_start..*at].chars().count() as u32,
            length: inserted.len() as u32,
        });
        done = *at;
    }
    rewritten.push_str(&text[done..]);
    Rewritten {
        text: rewritten,
        shifts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awaits_are_wrapped_also_within_each_other() {
        let rewritten = rewrite("async () => { await f(await g); };").expect("two awaits");
        assert_eq!(
            rewritten.text,
            "async () => { __dchat.resume(__dchat.group(),await __dchat.settle(f(\
             __dchat.resume(__dchat.group(),await __dchat.settle(g))))); };"
        );
        assert!(rewrite("const a = 1;").is_none());
        assert!(rewrite("async () => { for await (const x of y) {} };").is_none());
    }
}
