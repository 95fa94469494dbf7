//! TypeScript to JavaScript: types go, everything else stays, and a source map leads back.
//!
//! No type is checked, as in k6. Knows nothing of modules or VMs; runs only while VU 0 loads.

use std::path::PathBuf;

use oxc::allocator::Allocator;
use oxc::codegen::{Codegen, CodegenOptions};
use oxc::diagnostics::Diagnostics;
use oxc::parser::Parser;
use oxc::semantic::SemanticBuilder;
use oxc::span::SourceType;
use oxc::transformer::{TransformOptions, Transformer};

use super::error::Location;

/// JavaScript with the source map that leads back to the TypeScript.
pub(crate) struct Stripped {
    pub(crate) text: String,
    pub(crate) map: String,
}

/// Where and why a text is not TypeScript.
#[derive(Debug)]
pub(crate) struct Invalid {
    pub(crate) at: Location,
    pub(crate) message: String,
}

/// Removes the types of `text`, the file `name`; imports that only types use go too.
///
/// # Errors
/// The first syntax error.
pub(crate) fn strip(text: &str, name: &str) -> Result<Stripped, Invalid> {
    let allocator = Allocator::default();
    let check = |found: Diagnostics| first_error(found, text, name);
    let parsed = Parser::new(&allocator, text, SourceType::ts()).parse();
    check(parsed.diagnostics)?;
    let mut program = parsed.program;
    let analysed = SemanticBuilder::new()
        .with_excess_capacity(2.0)
        .with_enum_eval(true)
        .build(&program);
    check(analysed.diagnostics)?;
    let scoping = analysed.semantic.into_scoping();
    let path = PathBuf::from(name);
    let transformed = Transformer::new(&allocator, &path, &TransformOptions::default())
        .build_with_scoping(scoping, &mut program);
    check(transformed.diagnostics)?;
    let options = CodegenOptions {
        source_map_path: Some(path),
        ..CodegenOptions::default()
    };
    let printed = Codegen::new().with_options(options).build(&program);
    let map = printed.map.map(|map| map.to_json_string());
    Ok(Stripped {
        text: printed.code,
        map: map.unwrap_or_default(),
    })
}

fn first_error(found: Diagnostics, text: &str, name: &str) -> Result<(), Invalid> {
    let Some(error) = found.errors().next() else {
        return Ok(());
    };
    let offset = error.labels.first().map_or(0, |label| label.offset());
    let before = text.get(..offset as usize).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Err(Invalid {
        at: Location {
            file: name.to_owned(),
            line: 1 + before.matches('\n').count() as u32,
            column: 1 + before[line_start..].chars().count() as u32,
        },
        message: error.message.clone().into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_and_code_stays() {
        let text = "import { Options } from 'k6/options';\n\
                    import http, { type Response } from 'k6/http';\n\
                    enum Level { Low = 1, High }\n\
                    export const options: Options = { vus: Level.High };\n\
                    export default function <T>(data: T): void { http.get('x')!; }\n";
        let stripped = strip(text, "/a/x.ts").expect("valid TypeScript");
        for gone in ["Options }", "k6/options", "Response", ": T", ": void"] {
            assert!(!stripped.text.contains(gone), "{gone}: {}", stripped.text);
        }
        assert!(stripped.text.contains("http.get"), "{}", stripped.text);
        assert!(stripped.map.contains("x.ts"), "{}", stripped.map);
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let error = strip("const a: number = 1;\nlet b: = 2;\n", "x.ts").err();
        let error = error.expect("an error");
        assert_eq!((error.at.line, error.at.file.as_str()), (2, "x.ts"));
    }
}
