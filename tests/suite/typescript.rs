//! Scripts in TypeScript, and source maps in errors.

use crate::support::*;

#[test]
fn typescript_runs_with_its_own_lines_in_errors() {
    let ran = Script::named(
        "script.ts",
        "import { check } from 'k6';\n\
         import { Options } from 'k6/options';\n\
         import { parse, Level, type Shape } from './lib/shape.ts';\n\
         import { plain } from './lib/plain.js';\n\
         export const options: Options = { iterations: 2 };\n\
         interface Data { n: number }\n\
         export function setup(): Data { return { n: 1 }; }\n\
         export default function (data: Data): void {\n\
           const shape = parse(data.n as number) satisfies Shape;\n\
           check<Shape>(shape, { level: (s) => s.level === Level.High, plain: () => plain === 1 });\n\
           parse(9);\n\
         }\n",
    )
    .file(
        "lib/shape.ts",
        "export enum Level { Low, High = 5 }\n\
         export type Shape = { level: Level };\n\
         export class Base<T> { constructor(public readonly value: T) {} }\n\
         \n\
         export function parse(n: number): Shape {\n\
         \x20 if (n > 5) throw new Error(`too big`);\n\
         \x20 return { level: new Base<Level>(Level.High).value };\n\
         }\n",
    )
    .file("lib/plain.js", "export const plain = 1;")
    .run()
    .expect(0)
    .says(&["Error: too big", "lib/shape.ts:6:", "script.ts:11:"]);
    ran.checks_hold();
    assert_eq!(ran.metric("iterations")["count"], 2);
}

#[test]
fn typescript_from_stdin_is_recognised() {
    let text = "export const options: { iterations: number } = { iterations: 1 };\n\
                export default (): void => { console.log('typed' as string); };";
    dchat(["run", "--report-to", "none", "-"])
        .stdin(text)
        .run()
        .expect(0)
        .says(&["typed"]);
}

#[test]
fn syntax_errors_of_typescript_have_their_place() {
    Script::named(
        "script.ts",
        "const a: number = 1;\nconst b: = 2;\nexport default () => {};",
    )
    .run()
    .expect(107)
    .says(&["SyntaxError", "script.ts:2:"]);
    // Types in a JavaScript file are a syntax error, as in k6.
    Script::new("const a: number = 1;\nexport default () => {};")
        .run()
        .expect(107)
        .says(&["SyntaxError", "script.js:1:"]);
}

#[test]
fn bundled_scripts_show_the_lines_of_their_sources() {
    // The second line of the bundle is line 7 of src/main.ts.
    let map = r#"{"version":3,"sources":["src/main.ts"],"names":[],"mappings":";AAMA"}"#;
    let code = "exports.default = () => {\nthrow new Error('mapped');\n};\n";
    let external = format!("{code}//# sourceMappingURL=script.js.map\n");
    Script::new(&external)
        .file("script.js.map", map)
        .run()
        .expect(0)
        .says(&["Error: mapped", "src/main.ts:7:"]);
    let inline = format!(
        "{code}//# sourceMappingURL=data:application/json;base64,{}\n",
        "eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbIndlYnBhY2s6Ly9hL3NyYy9iLnRzIl0sIm5hbWVzIjpbXSwibWFwcGluZ3MiOiI7QUFNQSJ9"
    );
    Script::new(&inline)
        .run()
        .expect(0)
        .says(&["Error: mapped", "webpack://a/src/b.ts:7:"]);
}
