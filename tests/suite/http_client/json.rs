//! `response.json()`: GJSON's paths, and bodies that are no JSON.

use super::script;
use crate::support::*;

#[test]
fn json_paths_are_gjsons() {
    let origin = Origin::saying(|_| {
        br#"{"name":{"first":"Tom","last":"Anderson"},"age":37,"children":["Sara","Alex","Jack"],
            "fav.movie":"Deer Hunter","friends":[
            {"first":"Dale","last":"Murphy","age":44,"nets":["ig","fb","tw"]},
            {"first":"Roger","last":"Craig","age":68,"nets":["fb","tw"]},
            {"first":"Jane","last":"Murphy","age":47,"nets":["ig","tw"]}],"none":null}"#
            .to_vec()
    });
    let cases = [
        ("name.last", r#""Anderson""#),
        ("age", "37"),
        ("children", r#"["Sara","Alex","Jack"]"#),
        ("children.#", "3"),
        ("children.1", r#""Alex""#),
        ("child*.2", r#""Jack""#),
        ("c?ildren.0", r#""Sara""#),
        (r"fav\.movie", r#""Deer Hunter""#),
        ("friends.#.first", r#"["Dale","Roger","Jane"]"#),
        ("friends.1.last", r#""Craig""#),
        (r#"friends.#(last=="Murphy").first"#, r#""Dale""#),
        (r#"friends.#(last=="Murphy")#.first"#, r#"["Dale","Jane"]"#),
        ("friends.#(age>45)#.last", r#"["Craig","Murphy"]"#),
        (r#"friends.#(first%"D*").last"#, r#""Murphy""#),
        (r#"friends.#(first!%"D*").last"#, r#""Craig""#),
        (r#"friends.#(nets.#(=="fb"))#.first"#, r#"["Dale","Roger"]"#),
        ("friends.#.nets|0", r#"["ig","fb","tw"]"#),
        ("friends.#.age|@reverse", "[47,68,44]"),
        ("children|@reverse|0", r#""Jack""#),
        ("name.@keys", r#"["first","last"]"#),
        (
            "{name.first,age,\"n\":children.#}",
            r#"{"first":"Tom","age":37,"n":3}"#,
        ),
        ("[age,name.first]", r#"[37,"Tom"]"#),
        ("none", "null"),
        ("children.9", "undefined"),
        ("length", "undefined"),
        ("children.length", "undefined"),
        ("name.nobody.else", "undefined"),
    ];
    let checks: String = cases
        .iter()
        .map(|(path, wanted)| {
            let (path, wanted) = (json!(path), json!(wanted));
            format!(
                "found = String(JSON.stringify(r.json({path})));\n\
                 check(found, {{ {path}: (f) => f === {wanted} }}) || console.log({path}, found);\n"
            )
        })
        .collect();
    script(
        &origin,
        &format!("export default function () {{ const r = http.get(U); let found;\n{checks} }}"),
    )
    .run()
    .all_checks_pass();
}

#[test]
fn what_is_no_json_says_where() {
    let origin = Origin::saying(|_| b"{\n  \"a\": oops\n}".to_vec());
    script(
        &origin,
        r#"
        export default function () {
          const r = http.get(U);
          const thrown = (of) => { try { of(); } catch (e) { return e.message; } };
          const none = http.get(U, { responseType: 'none' });
          check(r, {
            place: (r) => thrown(() => r.json()).startsWith('cannot parse json due to an error at line 2, character '),
            paths: (r) => r.json('a') === undefined,
            nothing: () => thrown(() => none.json()).startsWith("the body is null so we can't transform it to JSON"),
          });
        }"#,
    )
    .run()
    .all_checks_pass();
}
