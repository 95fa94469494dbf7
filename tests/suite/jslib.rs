//! The libraries of jslib.k6.io that the binary carries: no script here needs a network.

use crate::support::script::Ran;
use crate::support::*;

/// A script whose checks must all pass.
#[track_caller]
fn all_pass(imports: &str, body: &str) -> Ran {
    let script = format!(
        "import {{ check }} from 'k6';\n{imports}\nexport default function () {{\n{body}\n}}"
    );
    let ran = Script::new(&script).run().expect(0);
    ran.checks_hold();
    ran
}

#[test]
fn k6_utils_of_any_version_are_there() {
    for version in ["1.0.0", "1.1.0", "1.4.0", "1.6.0", "9.9.9"] {
        Script::new(&format!(
            "import {{ randomItem }} from 'https://jslib.k6.io/k6-utils/{version}/index.js';\n\
             export default () => {{ if (randomItem([1]) !== 1) throw new Error('no'); }};"
        ))
        .run()
        .expect(0);
    }
    all_pass(
        "import { uuidv4, randomIntBetween, randomItem, randomString, findBetween, normalDistributionStages }
           from 'https://jslib.k6.io/k6-utils/1.4.0/index.js';",
        r#"
        const dice = Array.from({ length: 200 }, () => randomIntBetween(1, 6));
        const html = '<b>one</b><b>two</b>';
        const stages = normalDistributionStages(10, 20, 5);
        check(null, {
          uuid: () => /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(uuidv4()),
          'both ends': () => Math.min(...dice) === 1 && Math.max(...dice) === 6 && dice.every(Number.isInteger),
          item: () => [1, 2].includes(randomItem([1, 2])),
          string: () => /^[a-z]{8}$/.test(randomString(8)) && /^[xy]{3}$/.test(randomString(3, 'xy')),
          between: () => findBetween(html, '<b>', '</b>') === 'one' && findBetween(html, '<i>', '</i>') === '',
          'all between': () => findBetween(html, '<b>', '</b>', true).join() === 'one,two',
          bell: () => Math.max(...stages.map((s) => s.target)) === 10 && stages[stages.length - 1].target === 0,
        });"#,
    );
}
