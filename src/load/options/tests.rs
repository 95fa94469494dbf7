//! Layers, shortcuts and problems, as data.

use super::*;

fn of(script: &str, environment: &[(&str, &str)], flags: Layer) -> Result<Consolidated, Invalid> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let exports = ["default".to_owned(), "other".to_owned()];
    let sources = Sources {
        script: Some(script),
        environment: environment.collect(),
        flags,
        ..Sources::default()
    };
    consolidate(sources, &exports)
}

fn executor(script: &str, environment: &[(&str, &str)], flags: Layer) -> Executor {
    let mut consolidated = of(script, environment, flags).expect("valid options");
    consolidated.options.scenarios.remove(0).executor
}

#[test]
fn shortcuts_become_the_scenario_that_k6_makes_of_them() {
    let ten_minutes = Scenario::MAX_DURATION_DEFAULT;
    let none = Layer::default;
    assert_eq!(
        executor("{}", &[], none()),
        Executor::PerVuIterations {
            vus: 1,
            iterations: 1,
            max_duration: ten_minutes
        }
    );
    assert_eq!(
        executor(r#"{"vus":"5"}"#, &[], none()),
        Executor::SharedIterations {
            vus: 5,
            iterations: 5,
            max_duration: ten_minutes
        }
    );
    let half_minute = Duration::from_secs(30);
    assert_eq!(
        executor(r#"{"vus":2,"iterations":9,"duration":"30s"}"#, &[], none()),
        Executor::SharedIterations {
            vus: 2,
            iterations: 9,
            max_duration: half_minute
        }
    );
    assert_eq!(
        executor(r#"{"vus":2,"duration":30000}"#, &[], none()),
        Executor::ConstantVus {
            vus: 2,
            duration: half_minute
        }
    );
    let Executor::RampingVus {
        start_vus, stages, ..
    } = executor(r#"{"stages":[{"duration":"1m","target":10}]}"#, &[], none())
    else {
        panic!("stages make ramping-vus");
    };
    assert_eq!((start_vus, stages[0].target), (1, 10));
}

#[test]
fn a_higher_layer_replaces_all_four_shapes() {
    let scenarios = r#"{"scenarios":{"a":{"executor":"constant-vus","duration":"5s"}}}"#;
    let flags = Layer {
        vus: Some(3),
        ..Layer::default()
    };
    let consolidated = of(scenarios, &[], flags).expect("valid");
    assert_eq!(consolidated.warnings.len(), 1);
    let expected = Executor::SharedIterations {
        vus: 3,
        iterations: 3,
        max_duration: Scenario::MAX_DURATION_DEFAULT,
    };
    assert_eq!(consolidated.options.scenarios[0].executor, expected);
    let stages = r#"{"vus":4,"stages":[{"duration":"1m","target":10}]}"#;
    let seven = Duration::from_secs(7);
    let from_environment = executor(stages, &[("K6_DURATION", "7s")], Layer::default());
    assert_eq!(
        from_environment,
        Executor::ConstantVus {
            vus: 4,
            duration: seven
        }
    );
    let flags = Layer {
        iterations: Some(8),
        ..Layer::default()
    };
    let from_flags = executor(stages, &[("K6_DURATION", "7s")], flags);
    assert!(matches!(
        from_flags,
        Executor::SharedIterations {
            vus: 4,
            iterations: 8,
            ..
        }
    ));
}

#[test]
fn all_problems_are_told_at_once_with_scenario_and_option() {
    let script = r#"{
        "vus": "many", "rps": "x", "nonsense": 1,
        "thresholds": {"checks": ["rate>"]},
        "scenarios": {
            "a": {"executor": "constant-vus", "vus": 0, "duration": "5x"},
            "b": {"executor": "per-vu-iterations", "loops": 3, "exec": "missing"},
            "c": {"executor": "ramping-arrival-rate"},
            "d e": {"executor": "constant-vus", "duration": "2s"},
            "f": {"executor": "externally-controlled"}
        }}"#;
    let Invalid(problems) =
        of(script, &[("K6_STAGES", "x")], Layer::default()).expect_err("invalid");
    for part in [
        "option 'vus' must be a whole number of at least 0, not \"many\"",
        "option 'rps' must be a whole number",
        "thresholds of 'checks': 'rate>'",
        "scenario 'a': option 'duration' must be a duration",
        "scenario 'b': option 'loops' does not exist",
        "scenario 'b': function 'missing' is not exported",
        "scenario 'c': option 'preAllocatedVUs' is missing",
        "scenario 'd e': its name may hold only",
        "scenario 'f': executor 'externally-controlled' was removed",
        "K6_* environment: option 'stages' must be",
    ] {
        assert!(
            problems.iter().any(|p| p.contains(part)),
            "{part} in {problems:#?}"
        );
    }
}

#[test]
fn unknown_top_level_keys_only_warn() {
    let consolidated = of(
        r#"{"nonsense":1,"localIPs":"::1","cloud":{}}"#,
        &[],
        Layer::default(),
    )
    .expect("valid");
    assert_eq!(consolidated.warnings.len(), 2);
}

#[test]
fn contradicting_shapes_of_one_layer_are_refused() {
    for script in [
        r#"{"iterations":5,"stages":[{"duration":"1s","target":1}]}"#,
        r#"{"duration":"5s","stages":[{"duration":"1s","target":1}]}"#,
        r#"{"duration":"5s","scenarios":{"a":{"executor":"per-vu-iterations"}}}"#,
    ] {
        let Invalid(problems) = of(script, &[], Layer::default()).expect_err(script);
        assert!(
            problems[0].contains("simultaneously is not allowed"),
            "{problems:?}"
        );
    }
}

#[test]
fn bad_values_of_executors_are_named() {
    for (script, part) in [
        (r#"{"vus":5,"iterations":3}"#, "less than its 5 VUs"),
        (r#"{"duration":"0s"}"#, "at least 1s"),
        (r#"{"vus":0}"#, "must be 1 to"),
        (
            r#"{"vus":0,"stages":[{"duration":"1s","target":0}]}"#,
            "must be over 0",
        ),
        (
            r#"{"stages":[{"duration":"1s"}]}"#,
            "list of {duration, target}",
        ),
    ] {
        let Invalid(problems) = of(script, &[], Layer::default()).expect_err(script);
        assert!(problems.iter().any(|p| p.contains(part)), "{problems:?}");
    }
}

#[test]
fn case_of_keys_does_not_matter() {
    let script = r#"{"scenarios":{"a":{"Executor":"ramping-vus","startvus":3,
        "stages":[{"Duration":"1s","TARGET":2}]}},"RPS":7,"NoSetup":true}"#;
    let consolidated = of(script, &[], Layer::default()).expect("valid");
    assert_eq!(consolidated.warnings, Vec::<String>::new());
    let options = consolidated.options;
    assert_eq!((options.rps, options.no_setup), (Some(7), true));
    let Executor::RampingVus {
        start_vus, stages, ..
    } = &options.scenarios[0].executor
    else {
        panic!("{options:?}");
    };
    assert_eq!((*start_vus, stages[0].target), (3, 2));
}

#[test]
fn tags_of_all_sources_can_be_merged() {
    let script = r#"{"tags":{"a":"script","b":"script"}}"#;
    let sources = |tags| Sources {
        script: Some(script),
        environment: vec![("K6_TAGS".to_owned(), "b=env".to_owned())],
        tags,
        ..Sources::default()
    };
    let exports = ["default".to_owned()];
    let of = |tags| {
        consolidate(sources(tags), &exports)
            .expect("valid")
            .options
            .tags
    };
    let text = |tags: &BTreeMap<String, String>, key: &str| tags.get(key).cloned();
    let strongest = of(TagSources::Strongest);
    assert_eq!((text(&strongest, "a"), strongest.len()), (None, 1));
    let merged = of(TagSources::Merged);
    assert_eq!(text(&merged, "a").as_deref(), Some("script"));
    assert_eq!(text(&merged, "b").as_deref(), Some("env"));
    assert_eq!(
        text(&merged, "k6_feature_merge_run_tags").as_deref(),
        Some("true")
    );
}
